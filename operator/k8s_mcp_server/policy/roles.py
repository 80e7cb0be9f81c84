"""ClusterRoles as policies follow them: what a role gives becomes rules of the policy, without the sensitive set.

A role's rules keep RBAC's own meaning, which knows fewer wildcards than a policy does: see ``RuleAllows`` in
k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from k8s_mcp_server.policy.patterns import Names

if TYPE_CHECKING:
    from k8s_mcp_server.policy.compile import CompiledPolicy
    from k8s_mcp_server.policy.rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRule:
    """One rule of a role that is about resources."""

    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str]
    verbs: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRole:
    """A role as the API server has it; of an aggregated one, the rules that were filled in."""

    name: str
    rules: tuple[RoleRule, ...]


def read_role(body: Mapping[str, Any]) -> ClusterRole:
    """Read a ClusterRole. What of it cannot be read gives nothing."""
    listed = body.get("rules")
    entries = listed if isinstance(listed, list) else []
    rules = (_read_rule(entry) for entry in entries if isinstance(entry, Mapping))
    return ClusterRole(name=str(body["metadata"]["name"]), rules=tuple(rule for rule in rules if rule is not None))


def follow(policy: CompiledPolicy, roles: Mapping[str, ClusterRole]) -> CompiledPolicy:
    """The policy with the rules of its roles in their place; a role that does not exist gives none."""
    if not policy.follows_roles:
        return policy
    rules: list[Rule] = []
    missing = list(policy.missing_roles)
    for rule in policy.rules:
        given = rules_by_role(rule, roles)
        if given is None:
            missing.append((rule.name, rule.role))
        else:
            rules += given
    return replace(policy, rules=tuple(rules), missing_roles=tuple(missing))


def rules_by_role(rule: Rule, roles: Mapping[str, ClusterRole]) -> tuple[Rule, ...] | None:
    """What stands in a rule's place: itself, or what its role gives; None when that does not exist."""
    if not rule.role or rule.verbs:
        return (rule,)
    role = roles.get(rule.role)
    return tuple(_as_rule(rule, given) for given in role.rules) if role is not None else None


def _as_rule(rule: Rule, given: RoleRule) -> Rule:
    return replace(
        rule,
        groups=given.groups,
        resources=given.resources,
        subresource_wildcards=frozenset(
            item.removeprefix("*/") for item in given.resources if item.startswith("*/") and item != "*/*"
        ),
        resource_names=Names(literals=given.names) if given.names else None,
        verbs=given.verbs,
    )


def _read_rule(entry: Mapping[str, Any]) -> RoleRule | None:
    """A rule about resources; None for one about paths, and for what is none."""
    fields = {key: _texts(entry.get(key)) for key in ("apiGroups", "resources", "resourceNames", "verbs")}
    groups, resources, names, verbs = fields.values()
    if not (groups and resources and verbs) or names is None:
        return None
    return RoleRule(groups=groups, resources=resources, names=names, verbs=verbs)


def _texts(value: object) -> frozenset[str] | None:
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return frozenset(value)
