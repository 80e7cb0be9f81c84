"""What is probably a mistake in one rule or deny: names that nothing has, and parts that never match."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.authoring.resources import ResourceName, Served
from k8s_mcp_server.authoring.rights import STANDARD_VERBS
from k8s_mcp_server.authoring.world import resource_scope
from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.scopes import NamespaceNames, Urls
from k8s_mcp_server.policy.sensitive import NAMELESS_VERBS, SENSITIVE_VERBS
from k8s_mcp_server.policy.virtual import ARGOCD_GROUP, VIRTUAL_RESOURCES

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.documents import FieldPath
    from k8s_mcp_server.authoring.inputs import Inputs
    from k8s_mcp_server.policy.rules import Rule
    from k8s_mcp_server.policy.snapshot import Namespace

_URL_VERBS: Final = frozenset({"get", "head", "post", "put", "patch", "delete", "options"})
_RESOURCE_VERBS: Final = frozenset({*STANDARD_VERBS, *SENSITIVE_VERBS, "impersonate", "use", "attest", "grant"})
_ARGOCD_ACTIONS: Final = frozenset({"sync", "override"})  # beside RBAC's words, and those with a path behind them
_HABITS: Final = {"read": "get, list, watch", "view": "get", "write": "update, patch", "edit": "update, patch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing that looks wrong.

    Args:
        is_certain: something else was surely meant; else it may be right in some cluster.
        path: the field below the rule.
    """

    reason: str
    is_certain: bool
    path: FieldPath
    message: str


def lint_rule(rule: Rule, *, served: Served, inputs: Inputs) -> Iterator[Mistake]:
    """Everything that looks wrong in a rule or deny.

    Args:
        served: the known resources.
        inputs: when they describe no namespace, nothing is known about namespaces.
    """
    yield from _lint_verbs(rule)
    yield from _lint_places(rule, namespaces=inputs.namespaces)
    yield from _lint_role(rule, roles=inputs.cluster.roles)
    if isinstance(rule.scope, Urls):
        return
    for item in sorted(rule.resources):
        yield from _lint_resource(rule, item, served=served)
    if rule.resource_names and NAMELESS_VERBS.issuperset(rule.verbs):
        message = "never matches create and deletecollection, so this rule gives nothing"
        yield Mistake(reason="NeverMatches", is_certain=True, path=("resourceNames",), message=message)


def _lint_verbs(rule: Rule) -> Iterator[Mistake]:
    known = _URL_VERBS if isinstance(rule.scope, Urls) else _RESOURCE_VERBS
    verbs = rule.verbs - known - {"*"}
    if rule.groups == {ARGOCD_GROUP}:
        verbs = frozenset(verb for verb in verbs - _ARGOCD_ACTIONS if "/" not in verb)
    for verb in sorted(verbs):
        near = difflib.get_close_matches(verb, known, n=1)
        meant = _HABITS.get(verb) or "".join(near)
        advice = f"; did you mean {meant}?" if meant else ""
        yield Mistake(
            reason="UnknownVerb", is_certain=bool(meant), path=("verbs",), message=f"{verb} is no verb of RBAC{advice}"
        )


def _lint_places(rule: Rule, *, namespaces: Mapping[str, Namespace]) -> Iterator[Mistake]:
    if not isinstance(rule.scope, NamespaceNames):
        return
    names = rule.scope.names
    own = Environment().own_namespace
    if own in names.literals:
        yield Mistake(
            reason="NeverMatches",
            is_certain=False,
            path=("namespaces",),
            message=f"{own} is this service's own namespace, which nobody reaches (unless it is installed elsewhere)",
        )
    for name in sorted(names.literals - {*namespaces, own}) if namespaces else ():
        near = difflib.get_close_matches(name, namespaces, n=1)
        advice = f"; did you mean {near[0]}?" if near else ""
        message = f"no file has a Namespace {name}{advice}"
        yield Mistake(reason="UnknownNamespace", is_certain=False, path=("namespaces",), message=message)


def _lint_role(rule: Rule, *, roles: Collection[str]) -> Iterator[Mistake]:
    if not rule.role or rule.role in roles:
        return
    near = difflib.get_close_matches(rule.role, roles, n=1)
    advice = f"; did you mean {near[0]}?" if near else ""
    message = f"no file has a ClusterRole {rule.role}, so what this rule gives is not known here{advice}"
    yield Mistake(reason="UnknownRole", is_certain=False, path=("roleRef", "name"), message=message)


def _lint_resource(rule: Rule, item: str, *, served: Served) -> Iterator[Mistake]:
    resource, _, subresource = item.partition("/")
    if resource == "*":
        return
    groups = sorted(served.groups) if "*" in rule.groups else sorted(rule.groups)
    found = [name for group in groups if served.scope(name := ResourceName(group=group, resource=resource))]
    if not found:
        yield from _unknown(rule, resource, served=served)
        return
    wanted = resource_scope(rule.scope)
    if not any(served.scope(name) is wanted for name in found):
        yield _misplaced(resource, wanted=wanted)
    parts = {name.subresource for name in served if name.resource == resource and name.group in groups}
    parts |= {
        part
        for each in VIRTUAL_RESOURCES
        if each.group in groups and each.resource == resource
        for part, _ in each.subresources
    }
    if subresource not in {"", "*", *parts}:
        near = difflib.get_close_matches(subresource, parts - {""}, n=1)
        advice = f"; did you mean {resource}/{near[0]}?" if near else ""
        message = f"{resource} has no subresource {subresource}{advice}"
        yield Mistake(reason="UnknownResource", is_certain=bool(near), path=("resources",), message=message)


def _unknown(rule: Rule, resource: str, *, served: Served) -> Iterator[Mistake]:
    where = ", ".join(f'"{group}"' for group in sorted(rule.groups))
    same = served.named(resource)
    if same and resource == same[0].resource:
        message = f'{resource} is in apiGroup "{same[0].group}", not in {where}'
    elif same:
        message = f"{resource} is no resource; did you mean {same[0].resource}?"
    else:
        near = difflib.get_close_matches(resource, {name.resource for name in served if not name.subresource}, n=1)
        if near and rule.groups <= served.groups | {"*"}:
            message = f"{resource} is no resource; did you mean {near[0]}?"
        else:
            message = f"nothing here says that {where} has {resource}; add its CRD to the files"
            yield Mistake(reason="UnknownResource", is_certain=False, path=("resources",), message=message)
            return
    is_certain = rule.groups <= served.groups | {"*"}
    yield Mistake(reason="UnknownResource", is_certain=is_certain, path=("resources",), message=message)


def _misplaced(resource: str, *, wanted: Scope | None) -> Mistake:
    if wanted is Scope.NAMESPACED:
        message = f"{resource} belong to no namespace, so this rule never matches them: they need clusterScoped: true"
        if resource == "namespaces":
            message = "namespaces need clusterScoped: true; those that a client has a rule in it may read without one"
    else:
        message = f"{resource} belong to namespaces, so this rule never matches them: they need namespaces"
    return Mistake(reason="NeverMatches", is_certain=False, path=("resources",), message=message)
