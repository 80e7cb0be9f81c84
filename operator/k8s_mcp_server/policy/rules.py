"""A compiled rule, and which requests it is about, in the words of RBAC.

What RBAC matches: k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go. Where a rule gives less: ``matching``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8s_mcp_server.policy.model import DenyRuleModel, RuleModel, ScopedModel
from k8s_mcp_server.policy.patterns import Names
from k8s_mcp_server.policy.scopes import ClusterScope, NamespaceNames, RuleScope, Urls, select
from k8s_mcp_server.policy.virtual import VIRTUAL_GROUPS

if TYPE_CHECKING:
    from k8s_mcp_server.policy.request import RequestInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule or deny, ready to be matched.

    Args:
        name: as the policy wrote it, else its place, such as ``rules[2]`` or ``deny[0]``.
        scope: where it holds.
        groups, resources, verbs: RBAC's fields; ``*`` in them is everything.
        parent_wildcards: resources whose every subresource is meant (``pods/*``).
        subresource_wildcards: subresources meant of every resource (``*/scale``).
        resource_names: None when every name is meant.
        allow_privileged_workloads: workload writes also where Pod Security does not enforce.
        role: the ClusterRole that it gives what it gives by; empty for a rule of the policy's own words. A rule with a
            role and no verbs is one whose role was not looked up.
        from_rbac: gives of all this only what the cluster's RBAC gives the client.
    """

    name: str
    scope: RuleScope
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    parent_wildcards: frozenset[str] = frozenset()
    subresource_wildcards: frozenset[str] = frozenset()
    resource_names: Names | None = None
    verbs: frozenset[str]
    allow_privileged_workloads: bool = False
    role: str = ""
    from_rbac: bool = False

    @property
    def is_derived(self) -> bool:
        """Whether somebody else than the policy's author says what it gives: never anything sensitive."""
        return self.from_rbac or bool(self.role)

    def is_about(self, request: RequestInfo) -> bool:
        """Whether verb, group and resource match, by RBAC's wildcards (and ``pods/*``) alone."""
        return self.has_verb(request.verb) and self.has_resource(request)

    def has_verb(self, verb: str) -> bool:
        """Whether the verb matches: literally, by ``*``, or by a glob about one of Argo CD's verbs of several words."""
        if verb in self.verbs or "*" in self.verbs:
            return True
        return "/" in verb and Names.of(self.verbs).matches_glob(verb)

    def has_resource(self, request: RequestInfo) -> bool:
        """Whether group and resource match."""
        if request.api_group not in self.groups and "*" not in self.groups:
            return False
        if "*" in self.resources or request.full_resource in self.resources:
            return True
        if not request.subresource:
            return False
        return (
            request.resource in self.parent_wildcards
            or request.subresource in self.subresource_wildcards
            or "*" in self.parent_wildcards
        )

    def names_literally(self, request: RequestInfo) -> bool:
        """Whether group and resource (with its subresource) are written out, no wildcard in either."""
        return request.api_group in self.groups and request.full_resource in self.resources

    def may_give(self, request: RequestInfo) -> bool:
        """`is_about`, as an allowing rule reads it: wildcards do not reach virtual groups."""
        is_virtual = request.api_group in VIRTUAL_GROUPS
        return self.is_about(request) and (not is_virtual or self.names_literally(request))

    def is_about_path(self, request: RequestInfo) -> bool:
        """Whether verb and path of a non-resource request match."""
        return self.has_verb(request.verb) and isinstance(self.scope, Urls) and self.scope.paths.matches(request.path)


def compile_rule(model: DenyRuleModel | RuleModel, *, place: str) -> Rule:
    """A rule from what the CRD's reader read; ``place`` names it when the policy gave it no name."""
    from_rbac = isinstance(model, RuleModel) and model.from_rbac is not None
    unstated = ("*",) if from_rbac else ()
    resources = frozenset(model.resources or unstated)
    split = [tuple(item.split("/")) for item in resources if "/" in item]
    names = Names.of(model.resource_names or ())
    return Rule(
        name=model.name or place,
        scope=_compile_scope(model),
        groups=frozenset(model.api_groups or unstated),
        resources=resources,
        parent_wildcards=frozenset(parent for parent, child in split if child == "*"),
        subresource_wildcards=frozenset(child for parent, child in split if parent == "*" and child != "*"),
        resource_names=names or None,
        verbs=frozenset(model.verbs or unstated),
        from_rbac=from_rbac,
        allow_privileged_workloads=isinstance(model, RuleModel) and model.allow_privileged_workloads,
        role=model.role_ref.name if isinstance(model, RuleModel) and model.role_ref is not None else "",
    )


def _compile_scope(model: ScopedModel) -> RuleScope:
    if model.namespaces is not None:
        return NamespaceNames(names=Names.of(model.namespaces))
    if model.namespace_selector is not None:
        return select(model.namespace_selector)
    if model.non_resource_urls is not None:
        return Urls(paths=Names.of(model.non_resource_urls))
    return ClusterScope()
