"""The nearest things that a client may do instead of what it was denied.

Taken from the rules that give the client something, and each is decided before it is suggested: nothing is named that
the client's own rules do not name or reach, and nothing that a deny takes.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING

from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.explain import printable, resource
from k8s_mcp_server.policy.scopes import ClusterScope, NamespaceLabels, NamespaceNames, Operator, Reach, reach
from k8s_mcp_server.policy.sensitive import COLLECTION_READS
from k8s_mcp_server.policy.virtual import ARGOCD_GROUP, VIRTUAL_GROUPS, scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from k8s_mcp_server.policy.case import Case
    from k8s_mcp_server.policy.patterns import Glob
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.rules import Rule
    from k8s_mcp_server.policy.scopes import NamespaceScope, RuleScope
    from k8s_mcp_server.policy.snapshot import Snapshot

MAX_SUGGESTIONS = 3
_MAX_TRIED = 6  # each costs a decision
_MAX_PLACES = 2  # of one rule
_MAX_LOOKED_AT = 8  # namespaces, to find those places
_ARGOCD_VERBS = ("get", "sync", "update", "create")
_VERBS = ("get", "list", "watch", "patch", "create")


def nearest(case: Case, *, allows: Callable[[RequestInfo], bool]) -> tuple[str, ...]:
    """Up to three things near the request that ``allows`` confirms, nearest first."""
    if case.question is None:
        return ()
    found: list[str] = []
    for candidate in islice(_distinct(_candidates(case), case.request), _MAX_TRIED):
        if allows(candidate):
            found.append(describe(candidate))
        if len(found) == MAX_SUGGESTIONS:
            break
    return tuple(found)


def describe(request: RequestInfo) -> str:
    """A request as a suggestion, such as ``get pods in team-a``."""
    name = f" {printable(request.name)}" if request.name else ""
    where = f" in {request.namespace}" if request.namespace and request.resource != "namespaces" else ""
    return f"{request.verb} {resource(request)}{name}{where}"


def _distinct(candidates: Iterator[RequestInfo], asked: RequestInfo) -> Iterator[RequestInfo]:
    seen = {asked}
    for candidate in candidates:
        if candidate not in seen:
            seen.add(candidate)
            yield candidate


def _candidates(case: Case) -> Iterator[RequestInfo]:
    """The same elsewhere; another verb on it here, then elsewhere; another resource here."""
    request = replace(case.request, upgrade=False)
    rules = [rule for _, rule in case.rules()]
    sensitive = case.question is not None and case.question.sensitive
    about = [rule for rule in rules if rule.has_resource(request) and (rule.names_literally(request) or not sensitive)]
    for rule in about:
        if rule.has_verb(request.verb):
            yield from _elsewhere(rule, request, case)
    for rule in about:
        if is_here(rule.scope, case):
            yield from (with_name(rule, replace(request, verb=verb)) for verb in _other_verbs(rule, request.verb))
    for rule in about:
        for verb in islice(_other_verbs(rule, request.verb), 1):
            yield from _elsewhere(rule, replace(request, verb=verb), case)
    for rule in rules:
        if is_here(rule.scope, case):
            yield from islice(_other_resources(rule, request, case), 1)


def is_here(scope: RuleScope, case: Case) -> bool:
    """Whether the scope reaches the place of the request."""
    namespace, snapshot = case.request.namespace, case.context.snapshot
    if not isinstance(scope, NamespaceNames | NamespaceLabels) or not namespace:
        return isinstance(scope, ClusterScope) and not namespace
    return reach(scope, namespace, known=snapshot.namespaces, environment=case.context.environment) is Reach.INSIDE


def _other_verbs(rule: Rule, asked: str) -> Iterator[str]:
    known = _ARGOCD_VERBS if ARGOCD_GROUP in rule.groups else _VERBS
    return (verb for verb in known if verb != asked and rule.has_verb(verb))


def _other_resources(rule: Rule, request: RequestInfo, case: Case) -> Iterator[RequestInfo]:
    """What a rule names, in the scope of the request, and for its CLI: a virtual group stands by itself."""
    verb = request.verb if rule.has_verb(request.verb) else next(_other_verbs(rule, request.verb), "")
    own = {request.api_group} & VIRTUAL_GROUPS
    for group in sorted(own & rule.groups if own else rule.groups - VIRTUAL_GROUPS):
        for plural in sorted(rule.resources):
            scope = scope_of(case.context.catalog, group=group, resource=plural)
            if verb and scope is (Scope.NAMESPACED if request.namespace else Scope.CLUSTER):
                other = replace(request, verb=verb, api_group=group, resource=plural, subresource="", name="")
                yield with_name(rule, other)


def _elsewhere(rule: Rule, request: RequestInfo, case: Case) -> Iterator[RequestInfo]:
    if isinstance(rule.scope, ClusterScope):
        yield with_name(rule, request)
    elif isinstance(rule.scope, NamespaceNames | NamespaceLabels):
        for namespace in islice(namespaces_of(rule.scope, case), _MAX_PLACES):
            yield with_name(rule, replace(request, namespace=namespace, name=""))


def namespaces_of(scope: NamespaceScope, case: Case) -> Iterator[str]:
    """Some namespaces that the scope reaches, found without going through all."""
    snapshot, environment = case.context.snapshot, case.context.environment
    if isinstance(scope, NamespaceNames):
        globs = (_globbed(glob, snapshot) for glob in scope.names.globs)
        names: Iterator[str] = chain(sorted(scope.names.literals), *globs)
    else:
        names = _labelled(scope, snapshot)
    for name in islice(names, _MAX_LOOKED_AT):
        if reach(scope, name, known=snapshot.namespaces, environment=environment) is Reach.INSIDE:
            yield name


def _globbed(glob: Glob, snapshot: Snapshot) -> Iterator[str]:
    names = snapshot.namespace_names
    for name in names[(start := bisect_left(names, glob.prefix)) : start + _MAX_LOOKED_AT]:
        if glob.matches(name):
            yield name


def _labelled(scope: NamespaceLabels, snapshot: Snapshot) -> Iterator[str]:
    for requirement in scope.requirements:
        if requirement.operator is Operator.IN:
            for value in sorted(requirement.values):
                yield from snapshot.namespaces_labelled(requirement.key, value)
            return
    yield from snapshot.namespace_names


def with_name(rule: Rule, request: RequestInfo) -> RequestInfo:
    """The request with a name that the rule gives, or without one where the rule does not ask for it."""
    names = rule.resource_names
    if names is None:
        return request if not request.name or request.verb not in COLLECTION_READS else replace(request, name="")
    if request.name and names.matches(request.name):
        return request
    return replace(request, name=min(names.literals) if names.literals else names.globs[0].text)
