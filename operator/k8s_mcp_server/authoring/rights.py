"""What one rule gives, written out: every verb on every resource that is known, as the policy core reads the rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.authoring.world import assumed_names, resource_scope
from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.matching import Fit, Question, rule_gives
from k8s_mcp_server.policy.scopes import ClusterScope
from k8s_mcp_server.policy.sensitive import (
    NAMELESS_VERBS,
    READING_VERBS,
    SENSITIVE_VERBS,
    is_sensitive,
    is_workload_write,
    is_writing,
    why_never,
)

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.resources import ResourceName, Served
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.rules import Rule

STANDARD_VERBS: Final = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
_ENVIRONMENT: Final = Environment()


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A verb on a resource."""

    verb: str
    resource: ResourceName

    @property
    def request(self) -> RequestInfo:
        """A request that needs it."""
        return self.resource.request(self.verb)

    @property
    def is_sensitive(self) -> bool:
        """Whether only a rule that names the resource literally gives it."""
        return is_sensitive(self.request)

    @property
    def is_workload_write(self) -> bool:
        """Whether it writes a pod or a pod template."""
        return is_workload_write(self.request)

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return is_writing(self.verb)

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def rights(rule: Rule, *, served: Served) -> Iterator[Right]:
    """Everything that an allowing rule gives in the places where it holds, Pod Security and the clients' RBAC aside.

    A rule by a role gives nothing: `rules_by_role` says what stands in its place.
    """
    everywhere = replace(rule, scope=ClusterScope(), resource_names=None, allow_privileged_workloads=True)
    for name in known_names(rule, served=served):
        for verb in _verbs(rule, served.verbs(name)):
            request = name.request(verb)
            question = Question.of(request, scope=Scope.CLUSTER, known={}, environment=_ENVIRONMENT, in_rbac=True)
            if isinstance(rule_gives(everywhere, question), Fit) and not why_never(request, _ENVIRONMENT):
                yield Right(verb=verb, resource=name)


def known_names(rule: Rule, *, served: Served) -> Iterator[ResourceName]:
    """The resources and subresources that a rule or deny is about, in its scope."""
    scope = resource_scope(rule.scope)
    if scope is None:
        return
    for name in served:
        if served.scope(name) is scope and rule.has_resource(name.request("get")):
            yield name
    yield from assumed_names(rule, served=served)


def _verbs(rule: Rule, served: frozenset[str]) -> Iterator[str]:
    for verb in STANDARD_VERBS:
        is_nameless = rule.resource_names is not None and verb in NAMELESS_VERBS
        if rule.has_verb(verb) and verb in (served or STANDARD_VERBS) and not is_nameless:
            yield verb
    yield from sorted(rule.verbs & SENSITIVE_VERBS)


def is_reading(rule: Rule) -> bool:
    """Whether a rule only reads."""
    return READING_VERBS.issuperset(rule.verbs)
