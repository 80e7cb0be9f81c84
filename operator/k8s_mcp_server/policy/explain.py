"""The words of a decision: who may not do what, what is missing, and whom to ask.

A message is made from the request, the client and the policies that name the client. It never says anything about other
objects or policies of the cluster, and whether a namespace exists only to those who have a rule that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from k8s_mcp_server.policy.compile import CompiledPolicy, Policy
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.sensitive import POD_SECURITY_LABEL

if TYPE_CHECKING:
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.tools import Tool

_MAX_LISTED = 5
_MAX_TEXT = 253


def printable(text: str) -> str:
    """Text of the request, fit for one line: cut, and with unprintable characters escaped."""
    cut = text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return cut


def quoted(text: str) -> str:
    """As `printable`, in quotation marks."""
    return f'"{printable(text)}"'


def what(request: RequestInfo) -> str:
    """The request in words, as in ``delete pods "web-0" in namespace "team-a"``."""
    if not request.is_resource_request:
        return f"{request.verb} path {quoted(request.path)}"
    name = f" {quoted(request.name)}" if request.name else ""
    return f"{request.verb} {resource(request)}{name}{_where(request)}"


def resource(request: RequestInfo) -> str:
    """The resource as kubectl spells it, such as ``deployments.apps/scale``."""
    group = f".{request.api_group}" if request.api_group else ""
    subresource = f"/{request.subresource}" if request.subresource else ""
    return printable(f"{request.resource}{group}{subresource}")


def missing(request: RequestInfo) -> str:
    """What a rule would have to say to allow the request, in the fields of a policy."""
    if not request.is_resource_request:
        return f"verb {quoted(request.verb)} on nonResourceURLs {quoted(request.path)}"
    fields = f"verb {quoted(request.verb)} on {quoted(request.full_resource)} in apiGroup {quoted(request.api_group)}"
    return f"{fields}{_where(request)}"


def whom(policies: Iterable[Policy]) -> str:
    """The policies by name, each with its description, which says whom to ask."""
    policies = tuple(policies)
    listed = [
        f"{policy.name} ({policy.description})" if policy.description else policy.name
        for policy in policies[:_MAX_LISTED]
    ]
    more = len(policies) - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more > 0 else "")


def no_policy(client: Client) -> str:
    """No policy names the client."""
    groups = sorted(client.groups)[: _MAX_LISTED * 2]
    member = f" (groups: {', '.join(quoted(group) for group in groups)})" if groups else ""
    return f"No access policy names {quoted(client.username)}{member}, so nothing is allowed."


def stale(seconds: float, *, limit: float) -> str:
    """The snapshot is too old."""
    known = "never been read completely" if seconds == float("inf") else "not been confirmed recently"
    return f"Policies and namespaces have {known} (limit: {limit:g} s), so nothing is allowed. Try again in a moment."


def refusing(client: Client, policies: Iterable[Policy], *, reason: Reason) -> str:
    """Policies refuse the client everything."""
    why = "is blocked by" if reason is Reason.BLOCKED else "is refused until someone mends the invalid"
    return f"{quoted(client.username)} {why} policy {whom(policies)}."


def denied(client: Client, request: RequestInfo, policy: Policy, *, rule: str) -> str:
    """A deny takes the request."""
    return f"{_may_not(client, request)}: denied by {rule} of policy {whom([policy])}."


def withheld(client: Client, request: RequestInfo) -> str:
    """A deny takes a part of what a command needs as a whole."""
    return f"{_may_not(client, request)}: a deny of your policies takes part of it."


def never(client: Client, request: RequestInfo, *, why: str) -> str:
    """No policy can give this."""
    return f"{_may_not(client, request)}: {why}."


def inactive(client: Client, policies: Sequence[Policy], *, reason: Reason, tool: Tool, now: datetime) -> str:
    """Policies name the client, but the rules of none of them count for this command."""
    state = {
        Reason.POLICY_INVALID: "is invalid and gives nothing",
        Reason.POLICY_SUSPENDED: "is suspended",
        Reason.POLICY_EXPIRED: f"has expired{_expiry(policies, now=now)}",
        Reason.TOOL_NOT_ALLOWED: f"does not allow the tool {tool}",
    }[reason]
    return f"{quoted(client.username)} may do nothing with {tool} now: policy {whom(policies)} {state}."


def near_miss(client: Client, request: RequestInfo, policies: Iterable[Policy], *, reason: Reason) -> str:
    """A rule nearly gives the request."""
    named = f"{quoted(request.full_resource)} of apiGroup {quoted(request.api_group)}"
    namespace = quoted(request.namespace)
    why = {
        Reason.SENSITIVE_NOT_NAMED: (
            f"it is sensitive, and neither a wildcard nor a role gives it: a rule must name {named} itself"
        ),
        Reason.PROTECTED_NAMESPACE: (
            f"namespace {namespace} is protected: a rule must name it itself, globs and selectors do not match it"
        ),
        Reason.PRIVILEGED_WORKLOAD: (
            f"workloads are written only in namespaces labelled {POD_SECURITY_LABEL}=baseline or restricted, "
            "unless the rule says allowPrivilegedWorkloads: true"
        ),
        Reason.NOT_IN_RBAC: "a rule gives what your own RBAC in the cluster gives, and that does not allow it",
        Reason.RBAC_UNAVAILABLE: "your own RBAC in the cluster could not be looked up; try again in a moment",
        Reason.UNKNOWN_NAMESPACE: (f"namespace {namespace} is not known; if it was created a moment ago, try again"),
    }[reason]
    return f"{_may_not(client, request)}: {why}. Policy: {whom(policies)}."


def would_allow(
    client: Client, request: RequestInfo, policy: CompiledPolicy, *, reason: Reason, tool: Tool, now: datetime
) -> str:
    """A policy whose rules do not count now has a rule that would allow the request."""
    state = {
        Reason.POLICY_SUSPENDED: "but is suspended",
        Reason.POLICY_EXPIRED: f"but has expired{_expiry([policy], now=now)}",
        Reason.TOOL_NOT_ALLOWED: f"but not with {tool}",
    }[reason]
    return f"{_may_not(client, request)}: policy {whom([policy])} would allow it, {state}."


def not_allowed(client: Client, request: RequestInfo, policies: Iterable[Policy]) -> str:
    """No rule comes near."""
    return f"{_may_not(client, request)}: no rule allows it. Missing: {missing(request)}. Policy: {whom(policies)}."


def unknown_resource(client: Client, request: RequestInfo) -> str:
    """Discovery does not list the resource."""
    return f"{_may_not(client, request)}: the API server does not serve this resource."


def malformed(client: Client, request: RequestInfo) -> str:
    """The request has no meaning that a rule could be about."""
    return f"{_may_not(client, request)}: the API has no such request."


def no_dry_run(client: Client, request: RequestInfo, policy: Policy) -> str:
    """A policy makes it a dry run, and the API has none for it."""
    return f"{_may_not(client, request)}: policy {whom([policy])} allows only dry runs, and this has none."


def uncuttable(client: Client, request: RequestInfo) -> str:
    """The answer would have to be cut, but comes over an upgraded connection."""
    return f"{_may_not(client, request)}: over an upgraded connection the answer cannot be cut to the policy."


def _may_not(client: Client, request: RequestInfo) -> str:
    return f"{quoted(client.username)} may not {what(request)}"


def _where(request: RequestInfo) -> str:
    is_object = request.resource == "namespaces" and not request.api_group
    return f" in namespace {quoted(request.namespace)}" if request.namespace and not is_object else ""


def _expiry(policies: Sequence[Policy], *, now: datetime) -> str:
    times = [
        policy.expires_at
        for policy in policies
        if isinstance(policy, CompiledPolicy) and policy.expires_at is not None and policy.expires_at <= now
    ]
    return f" at {max(times).isoformat()}" if times else ""
