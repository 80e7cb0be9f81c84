"""`policy suggest`: from what clients asked for, the least policies that allow it.

What a suggestion holds is named, never a wildcard. Every request is decided again with it, and what it would still not
allow is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.authoring.clients import subject_fields
from k8s_mcp_server.authoring.cluster_state import read_cluster_state
from k8s_mcp_server.authoring.documents import Document
from k8s_mcp_server.authoring.inputs import KIND, compile_document
from k8s_mcp_server.authoring.needs import needed
from k8s_mcp_server.authoring.resources import ResourceName, Served
from k8s_mcp_server.authoring.rules import Need, rules_for
from k8s_mcp_server.authoring.world import World
from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.compile import API_VERSION, CompiledPolicy
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.explain import what
from k8s_mcp_server.policy.sensitive import (
    COLLECTION_READS,
    NAMELESS_VERBS,
    POD_SECURITY_LABEL,
    is_sensitive,
    why_never,
)
from k8s_mcp_server.policy.snapshot import Namespace
from k8s_mcp_server.policy.subjects import Subject, SubjectKind
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.audit_lines import AuditedRequest
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo

_ENVIRONMENT: Final = Environment()


@dataclass(slots=True, kw_only=True)
class Suggestion:
    """The least policy for one client.

    Args:
        body: the policy; without rules when nothing can be given.
        notes: what its author should know, such as requests that no policy allows.
    """

    client: str
    body: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def suggest(lines: Iterable[AuditedRequest], *, served: Served, names: bool, now: datetime) -> Iterator[Suggestion]:
    """A policy for each client, in the order of their names.

    Args:
        served: what says whether a resource is namespaced; what it does not know is judged by its requests.
        names: whether rules are held to the names that were asked for; sensitive ones always are.
    """
    by_client: dict[Client, list[AuditedRequest]] = {}
    for line in lines:
        by_client.setdefault(line.client, []).append(line)
    for client in sorted(by_client, key=lambda item: item.username):
        yield _Suggesting(client, by_client[client], served=served, names=names).suggestion(now=now)


class _Suggesting:
    """One client's suggestion in the making."""

    def __init__(self, client: Client, lines: list[AuditedRequest], *, served: Served, names: bool) -> None:
        self._client = client
        self._served = served
        self._names = names
        self._notes: dict[str, None] = {}
        self._tools = tuple(sorted({line.tool for line in lines}))
        asked = (
            each
            for line in lines
            if self._can_be_allowed(line)
            for each in needed(line.request, method=line.method, target=line.target)
        )
        self._asked = [item for item in dict.fromkeys(asked) if self._can_be_given(item)]
        self._places = {item.namespace for item in self._asked if item.namespace and not _is_namespace(item)}
        self._namespaced = {_resource(item) for item in self._asked if item.namespace}
        unlabelled = {line.request.namespace for line in lines if line.reason is Reason.PRIVILEGED_WORKLOAD}
        for namespace in sorted(unlabelled):
            self._note(
                f"workloads in {namespace} need its label {POD_SECURITY_LABEL} to be baseline or restricted, or "
                "allowPrivilegedWorkloads: true in the rule"
            )

    def suggestion(self, *, now: datetime) -> Suggestion:
        """The policy, checked against what was asked."""
        needs = [need for item in self._asked for need in self._needs(item)]
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": _policy_name(self._client.username)},
            "spec": {
                "description": "Suggested from the audit log; say here whom to ask about it",
                "subjects": [subject_fields(_subject(self._client))],
                "tools": [tool.value for tool in self._tools],
                "rules": list(rules_for(needs)),
            },
        }
        self._check(body, now=now)
        return Suggestion(client=self._client.username, body=body, notes=list(self._notes))

    def _can_be_allowed(self, line: AuditedRequest) -> bool:
        if line.reason is not Reason.DENIED_BY_RULE:
            return True
        self._note(f"{what(line.request)} was denied by a deny, and what a deny takes no rule gives")
        return False

    def _can_be_given(self, request: RequestInfo) -> bool:
        if not request.is_resource_request:
            return not request.path.startswith(("/api", "/openapi", "/version"))
        why = why_never(request, _ENVIRONMENT)
        if request.namespace == _ENVIRONMENT.own_namespace:
            why = "this service's own namespace is out of reach for everyone"
        if why:
            self._note(f"{what(request)} cannot be given: {why}")
        return not why

    def _needs(self, request: RequestInfo) -> Iterator[Need]:
        if not request.is_resource_request:
            yield Need(verb=request.verb, path=request.path)
            return
        if _is_namespace(request) and request.verb == "get" and request.name in self._places:
            return  # readable where the client has any rule
        is_held = request.name and (self._names or is_sensitive(request)) and request.verb not in NAMELESS_VERBS
        names = (request.name,) if is_held else ()
        verb, resource = request.verb, _resource(request)
        if not self._is_namespaced(resource):
            yield Need(verb=verb, resource=resource, names=names)
        elif request.namespace:
            yield Need(verb=verb, resource=resource, namespace=request.namespace, names=names)
        else:
            yield from self._everywhere(verb, resource)

    def _everywhere(self, verb: str, resource: ResourceName) -> Iterator[Need]:
        """A list of all namespaces is cut to those that rules name."""
        places = sorted({item.namespace for item in self._asked if item.namespace and _resource(item) == resource})
        for namespace in places:
            yield Need(verb=verb, resource=resource, namespace=namespace)
        where = f"is given for {', '.join(places)}" if places else "is not in the rules: state the namespaces"
        self._note(f"{verb} {resource} was asked for in all namespaces; it {where}")

    def _is_namespaced(self, resource: ResourceName) -> bool:
        scope = self._served.scope(resource)
        return resource in self._namespaced if scope is None else scope is Scope.NAMESPACED

    def _check(self, body: Mapping[str, Any], *, now: datetime) -> None:
        policy = compile_document(Document(source="suggestion", body=body), now=now)
        if not isinstance(policy, CompiledPolicy):
            self._notes |= dict.fromkeys(f"the policy is not valid yet: {error}" for error in policy.errors)
            return
        labels = {POD_SECURITY_LABEL: "baseline"}
        world = World.build(
            (policy,),
            namespaces={name: Namespace(name=name, labels=labels) for name in self._places},
            served=self._served,
            now=now,
            cluster=read_cluster_state(()),
        )
        for request in self._asked:
            decision = world.decide(request, client=self._client, tool=Tool(self._tools[0]))
            if not decision.allowed and not (request.verb in COLLECTION_READS and not request.namespace):
                self._note(f"not covered: {what(request)} ({decision.reason})")

    def _note(self, text: str) -> None:
        self._notes[text] = None


def _resource(request: RequestInfo) -> ResourceName:
    return ResourceName(group=request.api_group, resource=request.resource, subresource=request.subresource)


def _is_namespace(request: RequestInfo) -> bool:
    return (request.api_group, request.resource) == ("", "namespaces")


def _subject(client: Client) -> Subject:
    if client.service_account is not None:
        namespace, name = client.service_account
        return Subject(kind=SubjectKind.SERVICE_ACCOUNT, namespace=namespace, name=name)
    return Subject(kind=SubjectKind.USER, name=client.username)


def _policy_name(username: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", username.removeprefix("system:serviceaccount:").lower()).strip("-")
    return f"suggested-{words}"[:63].rstrip("-")
