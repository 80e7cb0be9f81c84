"""One command that works now, for a client that was denied another: ready to be sent as it stands.

Made from the rules that give the client something, and decided before it is suggested, as `nearest` does. It only
reads: what a client may change instead, it has to decide itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.nearest import is_here, namespaces_of
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.scopes import ClusterScope, NamespaceLabels, NamespaceNames
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.policy.virtual import (
    ARGOCD_GROUP,
    HELM_GROUP,
    ISTIOCTL_GROUP,
    VIRTUAL_GROUPS,
    istioctl_right,
    scope_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_mcp_server.policy.case import Case
    from k8s_mcp_server.policy.rules import Rule

_MAX_TRIED: Final = 12  # each costs a decision
_MAX_OF_RULE: Final = 3
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:@_-]{0,252}")
_CHANGES_AN_OBJECT: Final = frozenset({"update", "patch", "delete"})
_EVERYTHING: Final = "*"
_COMMON: Final = (("", "pods"), ("apps", "deployments"), ("", "services"), ("", "configmaps"), ("", "nodes"))
_VIRTUAL_READS: Final[Mapping[tuple[Tool, str, str, str], str]] = {
    (Tool.HELM, HELM_GROUP, "releases", "list"): "helm list",
    (Tool.ISTIOCTL, ISTIOCTL_GROUP, "proxystatuses", "list"): "istioctl proxy-status",
    (Tool.ISTIOCTL, ISTIOCTL_GROUP, "analyses", "list"): "istioctl analyze",
    (Tool.ISTIOCTL, ISTIOCTL_GROUP, "meshes", "get"): "istioctl version",
    (Tool.ARGOCD, ARGOCD_GROUP, "applications", "get"): "argocd app list",
    (Tool.ARGOCD, ARGOCD_GROUP, "projects", "get"): "argocd proj list",
    (Tool.ARGOCD, ARGOCD_GROUP, "repositories", "get"): "argocd repo list",
    (Tool.ARGOCD, ARGOCD_GROUP, "clusters", "get"): "argocd cluster list",
}


def next_command(case: Case, *, allows: Callable[[RequestInfo], bool]) -> str:
    """The nearest command that ``allows`` confirms; empty when the tool has none."""
    if not case.giving or case.policies.refusing:
        return ""
    tool = case.context.tool
    for candidate in islice(_distinct(_candidates(case)), _MAX_TRIED):
        command = as_command(candidate, tool=tool)
        if command and allows(candidate) and all(map(allows, _also_needed(candidate, case))):
            return command
    return "kubectl auth can-i --list" if tool is Tool.KUBECTL else ""


def as_command(request: RequestInfo, *, tool: Tool) -> str:
    """A read as a command line of the tool; empty when there is none that makes just this request."""
    if tool is not Tool.KUBECTL:
        if request.name:
            return ""
        found = _VIRTUAL_READS.get((tool, request.api_group, request.resource, request.verb), "")
        return f"{found} -n {request.namespace}" if found and request.namespace else found
    if request.api_group in VIRTUAL_GROUPS or request.subresource or request.verb not in ("get", "list"):
        return ""
    if request.verb == "get" and not _WORD.fullmatch(request.name):
        return ""
    group = f".{request.api_group}" if request.api_group else ""
    name = f" {request.name}" if request.verb == "get" else ""
    is_namespace = request.resource == "namespaces" and not request.api_group
    where = f" -n {request.namespace}" if request.namespace and not is_namespace else ""
    return f"kubectl get {request.resource}{group}{name}{where}"


def _also_needed(request: RequestInfo, case: Case) -> Iterator[RequestInfo]:
    """What a command needs beside the request that it is named by: istiod tells of proxies only who shows a token."""
    if (request.api_group, request.resource) == (ISTIOCTL_GROUP, "proxystatuses"):
        yield istioctl_right("create", "tokens", namespace=case.context.environment.istio_namespace)


def _distinct(candidates: Iterator[RequestInfo]) -> Iterator[RequestInfo]:
    seen = set()
    for candidate in candidates:
        if candidate not in seen:
            seen.add(candidate)
            yield candidate


def _candidates(case: Case) -> Iterator[RequestInfo]:
    """The object itself, its kind here, its kind elsewhere, something else here, anything."""
    asked = replace(case.request, upgrade=False, audiences=None, path="", subresource="")
    rules = [rule for _, rule in case.rules()]
    if asked.is_resource_request:
        if asked.name and (case.request.verb in _CHANGES_AN_OBJECT or case.request.subresource):
            yield replace(asked, verb="get")
        yield _list(asked, namespace=asked.namespace)
        about = [rule for rule in rules if rule.has_resource(asked)]
        for rule in about:
            yield from _everywhere(rule, asked, case)
        for rule in rules:
            if is_here(rule.scope, case):
                for each in islice(_kinds(rule, case), _MAX_OF_RULE):
                    yield from _in(rule, each, namespaces=[asked.namespace])
    for rule in rules:
        for each in islice(_kinds(rule, case), _MAX_OF_RULE):
            yield from _everywhere(rule, each, case)


def _everywhere(rule: Rule, asked: RequestInfo, case: Case) -> Iterator[RequestInfo]:
    if isinstance(rule.scope, ClusterScope):
        yield from _in(rule, asked, namespaces=[""])
    elif isinstance(rule.scope, NamespaceNames | NamespaceLabels):
        yield from _in(rule, asked, namespaces=islice(namespaces_of(rule.scope, case), _MAX_OF_RULE))


def _in(rule: Rule, asked: RequestInfo, *, namespaces: Iterator[str] | list[str]) -> Iterator[RequestInfo]:
    """The list, or else an object that the rule names."""
    names = rule.resource_names
    for namespace in namespaces:
        yield _list(asked, namespace=namespace)
        if names is not None and names.literals:
            yield replace(asked, verb="get", namespace=namespace, name=min(names.literals))


def _list(asked: RequestInfo, *, namespace: str) -> RequestInfo:
    by_get = asked.api_group == ARGOCD_GROUP or (asked.api_group, asked.resource) == (ISTIOCTL_GROUP, "meshes")
    return replace(asked, verb="get" if by_get else "list", namespace=namespace, name="")


def _kinds(rule: Rule, case: Case) -> Iterator[RequestInfo]:
    """What the rule is about and exists where it looks for it, the most common first."""
    wanted = Scope.CLUSTER if isinstance(rule.scope, ClusterScope) else Scope.NAMESPACED
    named = ((group, plural) for group in sorted(rule.groups) for plural in sorted(rule.resources))
    for group, plural in (*_COMMON, *named):
        request = RequestInfo(is_resource_request=True, path="", verb="list", api_group=group, resource=plural)
        found = _EVERYTHING not in (group, plural) and "/" not in plural and rule.has_resource(request)
        if found and scope_of(case.context.catalog, group=group, resource=plural) is wanted:
            yield request
