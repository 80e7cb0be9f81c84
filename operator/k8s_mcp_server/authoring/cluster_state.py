"""What files say of a cluster's RBAC: the roles that policies follow, and who holds which rights of their own.

Kubernetes' own ClusterRoles are known without any file: ``data/clusterroles.json`` is written by
``devtools/kubernetes_snapshot.py`` from a real API server, and a test compares it with one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.policy.roles import ClusterRole, RoleRule, read_role
from k8s_mcp_server.policy.scopes import NamespaceLabels, Operator, Requirement

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.documents import Document
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo

RBAC_GROUP: Final = "rbac.authorization.k8s.io"
_EVERYWHERE: Final = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Who holds the rights of a role, and where; ``namespace`` is empty for everywhere."""

    namespace: str
    rules: tuple[RoleRule, ...]
    users: frozenset[str]
    groups: frozenset[str]

    def gives(self, request: RequestInfo, *, client: Client) -> bool:
        """Whether it gives the client the request."""
        if self.namespace not in (_EVERYWHERE, request.namespace):
            return False
        if client.username not in self.users and not self.groups & client.groups:
            return False
        return any(_allows(rule, request) for rule in self.rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """The RBAC of a cluster, as far as it is known.

    Args:
        roles: ClusterRoles by name, what aggregation gives them among it.
        stated: the names of those that a file describes; the others are Kubernetes' own.
        bindings: None when no file has any, so that nobody's own rights are known.
    """

    roles: Mapping[str, ClusterRole]
    stated: frozenset[str] = frozenset()
    bindings: tuple[Binding, ...] | None = None

    def allows(self, request: RequestInfo, *, client: Client) -> bool | None:
        """Whether RBAC gives the client the request; None when nobody's own rights are known."""
        if self.bindings is None:
            return None
        return any(binding.gives(request, client=client) for binding in self.bindings)


@dataclass(slots=True, kw_only=True)
class _Objects:
    """The objects of some files by what they are; of two with one name the later counts."""

    cluster_roles: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    roles: dict[tuple[str, str], ClusterRole] = field(default_factory=dict)
    bindings: dict[tuple[str, str, str], Mapping[str, Any]] = field(default_factory=dict)


def read_cluster_state(documents: Iterable[Document]) -> ClusterState:
    """The RBAC that some objects describe, beside Kubernetes' own roles. What is no RBAC object is passed over.

    Raises:
        UnusableInput: one has another form.
    """
    found = _Objects()
    for item in documents:
        if item.group != RBAC_GROUP or not item.name:
            continue
        namespace = _text(item.body["metadata"].get("namespace"))
        if item.kind == "ClusterRole":
            found.cluster_roles[item.name] = item.body
        elif item.kind == "Role":
            found.roles[namespace, item.name] = read_role(item.body)
        elif item.kind in {"RoleBinding", "ClusterRoleBinding"}:
            found.bindings[item.kind, namespace, item.name] = item.body
    try:
        roles = _aggregated({**kubernetes_own_roles(), **found.cluster_roles})
        bindings = tuple(_read_binding(body, roles=roles, local=found.roles) for body in found.bindings.values())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnusableInput(f"a role or binding in the files cannot be read: {error!r}") from error
    return ClusterState(roles=roles, stated=frozenset(found.cluster_roles), bindings=bindings or None)


@cache
def kubernetes_own_roles() -> Mapping[str, Mapping[str, Any]]:
    """Kubernetes' own ClusterRoles by name; aggregated ones without what aggregation gives them."""
    return {item["metadata"]["name"]: item for item in _snapshot()["items"]}


def kubernetes_version() -> str:
    """The version that `kubernetes_own_roles` are of, such as ``v1.37.2``."""
    return str(_snapshot()["gitVersion"])


@cache
def _snapshot() -> Mapping[str, Any]:
    text = resources.files("k8s_mcp_server.authoring").joinpath("data", "clusterroles.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _aggregated(bodies: Mapping[str, Mapping[str, Any]]) -> dict[str, ClusterRole]:
    """The roles with what aggregation gives them.

    The controller (k8s.io/kubernetes/pkg/controller/clusterroleaggregation) replaces an aggregated role's rules by
    those of its parts. Rules that a file has for one are kept beside them: it may hold the role and not the parts. A
    part that is aggregated itself is followed, as the controller does by coming again.
    """
    plain = {name: read_role(body) for name, body in bodies.items()}
    parts = {name: _parts(name, bodies) for name, body in bodies.items() if body.get("aggregationRule")}
    found: dict[str, ClusterRole] = dict(plain)
    for name in parts:
        members = _closure(name, parts)
        rules = (rule for member in sorted(members) for rule in plain[member].rules)
        found[name] = ClusterRole(name=name, rules=tuple(dict.fromkeys(rules)))
    return found


def _parts(name: str, bodies: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    rule = bodies[name]["aggregationRule"]
    listed = rule.get("clusterRoleSelectors") if isinstance(rule, Mapping) else None
    selectors = [_selector(item) for item in listed or () if isinstance(item, Mapping)]
    return frozenset(
        other
        for other, body in bodies.items()
        if other != name and any(selector.matches(_labels(body)) for selector in selectors)
    )


def _closure(name: str, parts: Mapping[str, frozenset[str]]) -> frozenset[str]:
    found, waiting = {name}, [name]
    while waiting:
        new = parts.get(waiting.pop(), frozenset()) - found
        found |= new
        waiting += new
    return frozenset(found)


def _selector(body: Mapping[str, Any]) -> NamespaceLabels:
    """A label selector; the terms of selectors for namespaces are those of every other."""
    equal = (
        Requirement(key=key, operator=Operator.IN, values=frozenset({value}))
        for key, value in (body.get("matchLabels") or {}).items()
    )
    expressions = (
        Requirement(key=item["key"], operator=Operator(item["operator"]), values=frozenset(item.get("values") or ()))
        for item in body.get("matchExpressions") or ()
    )
    return NamespaceLabels(requirements=(*equal, *expressions))


def _read_binding(
    body: Mapping[str, Any], *, roles: Mapping[str, ClusterRole], local: Mapping[tuple[str, str], ClusterRole]
) -> Binding:
    """A binding; a role that no file has gives nothing.

    Whom it names: ``appliesToUser`` in k8s.io/kubernetes/pkg/registry/rbac/validation/rule.go.
    """
    namespace = _text(body["metadata"].get("namespace")) if body["kind"] == "RoleBinding" else _EVERYWHERE
    reference = body.get("roleRef")
    kind, name = (_text(reference.get(key)) for key in ("kind", "name")) if isinstance(reference, Mapping) else ("", "")
    role = roles.get(name) if kind == "ClusterRole" else local.get((namespace, name))
    subjects = [item for item in body.get("subjects") or () if isinstance(item, Mapping)]
    return Binding(
        namespace=namespace,
        rules=role.rules if role else (),
        users=frozenset(name for item in subjects for name in _usernames(item, namespace=namespace)),
        groups=frozenset(_text(item.get("name")) for item in subjects if item.get("kind") == "Group"),
    )


def _usernames(subject: Mapping[str, Any], *, namespace: str) -> Iterator[str]:
    name = _text(subject.get("name"))
    if subject.get("kind") == "User":
        yield name
    elif subject.get("kind") == "ServiceAccount" and (home := _text(subject.get("namespace")) or namespace):
        yield f"system:serviceaccount:{home}:{name}"


def _allows(rule: RoleRule, request: RequestInfo) -> bool:
    """``RuleAllows`` in k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go."""
    return (
        _has(rule.verbs, request.verb)
        and _has(rule.groups, request.api_group)
        and (
            _has(rule.resources, request.full_resource)
            or bool(request.subresource and f"*/{request.subresource}" in rule.resources)
        )
        and (not rule.names or request.name in rule.names)
    )


def _has(values: frozenset[str], value: str) -> bool:
    return value in values or "*" in values


def _labels(body: Mapping[str, Any]) -> Mapping[str, str]:
    labels = body["metadata"].get("labels")
    return labels if isinstance(labels, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
