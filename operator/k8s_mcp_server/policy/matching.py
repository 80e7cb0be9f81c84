"""How one rule or deny stands to one request.

Rules and denies are read differently on purpose. A rule gives only what it says for certain: wildcards stop before
sensitive resources and virtual groups, globs and selectors before protected namespaces, names before requests that
carry none. A deny takes whatever it may be about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from k8s_mcp_server.policy.argocd import is_collection_get, is_of_argocd
from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.scopes import (
    ClusterScope,
    Namespace,
    NamespaceLabels,
    NamespaceNames,
    Reach,
    RuleScope,
    deny_reaches,
    is_everywhere,
    reach,
)
from k8s_mcp_server.policy.sensitive import (
    COLLECTION_READS,
    NAMELESS_VERBS,
    SENSITIVE_VERBS,
    enforces_pod_security,
    is_sensitive,
    is_workload_write,
)
from k8s_mcp_server.policy.virtual import is_given_whole

if TYPE_CHECKING:
    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.rules import Rule


class Fit(Enum):
    """A rule or deny matches: the request as a whole, or part of a list."""

    WHOLE = "whole"
    PART = "part"


Match: TypeAlias = Fit | Reason | None  # a Reason is a near miss, worth telling; None is no match

_NEAR_MISS = {Reach.PROTECTED: Reason.PROTECTED_NAMESPACE, Reach.UNKNOWN: Reason.UNKNOWN_NAMESPACE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A resource request with what matching needs to know about it.

    Args:
        in_rbac: whether the cluster's RBAC gives it to the client; None when that was not looked up.
    """

    request: RequestInfo
    scope: Scope
    known: Mapping[str, Namespace]
    environment: Environment
    sensitive: bool
    workload: bool
    in_rbac: bool | None = None

    @classmethod
    def of(
        cls,
        request: RequestInfo,
        *,
        scope: Scope,
        known: Mapping[str, Namespace],
        environment: Environment,
        in_rbac: bool | None = None,
    ) -> Question:
        """Prepare a request for matching."""
        return cls(
            request=request,
            scope=scope,
            known=known,
            environment=environment,
            sensitive=is_sensitive(request),
            workload=is_workload_write(request),
            in_rbac=in_rbac,
        )

    @property
    def is_collection_read(self) -> bool:
        """Whether the answer is a list or a stream of objects, which can be cut."""
        return self.request.verb in COLLECTION_READS or is_collection_get(self.request)

    @property
    def is_about_namespaces(self) -> bool:
        """Whether the object asked for is a namespace, or a part of one."""
        return self.request.resource == "namespaces" and not self.request.api_group

    @property
    def is_namespace_list(self) -> bool:
        """Whether namespaces themselves are listed or watched."""
        return self.is_collection_read and self.is_about_namespaces and not self.request.subresource


def rule_gives(rule: Rule, question: Question) -> Match:
    """Whether an allowing rule gives the request: `Fit.PART` means that the answer must be cut to the rule."""
    if not rule.may_give(question.request):
        return None
    names = _rule_names(rule, question)
    place = _rule_place(rule.scope, question) if names else None
    if place is None or isinstance(place, Reason):
        return place
    if question.sensitive and not _is_named(rule, question.request):
        return Reason.SENSITIVE_NOT_NAMED
    if question.workload and not (rule.allow_privileged_workloads or _enforces(question)):
        return Reason.PRIVILEGED_WORKLOAD
    if rule.from_rbac and not question.in_rbac:
        return Reason.RBAC_UNAVAILABLE if question.in_rbac is None else Reason.NOT_IN_RBAC
    return Fit.PART if Fit.PART in (names, place) else Fit.WHOLE


def deny_takes(deny: Rule, question: Question) -> Fit | None:
    """Whether a deny takes the request: `Fit.PART` means that it takes something out of a list."""
    if not deny.is_about(question.request):
        return None
    names = _deny_names(deny, question)
    place = _deny_place(deny.scope, question) if names else None
    if names is None or place is None:
        return None
    return Fit.PART if Fit.PART in (names, place) else Fit.WHOLE


def narrows_namespace(deny: Rule, name: str, question: Question) -> bool:
    """Whether a deny that takes part of the list of namespaces takes this one."""
    if deny.resource_names is not None and not deny.resource_names.matches(name):
        return False
    scope = deny.scope
    if isinstance(scope, NamespaceNames | NamespaceLabels):
        return deny_reaches(scope, name, known=question.known)
    return True


def rule_in_namespace(
    rules: Iterable[Rule], namespace: str, *, known: Mapping[str, Namespace], environment: Environment
) -> Rule | None:
    """The first of the rules that holds in a namespace, whatever it gives there; what RBAC gives is not known here."""
    for rule in rules:
        scope = rule.scope
        if rule.from_rbac or not isinstance(scope, NamespaceNames | NamespaceLabels):
            continue
        if reach(scope, namespace, known=known, environment=environment) is Reach.INSIDE:
            return rule
    return None


def _is_named(rule: Rule, request: RequestInfo) -> bool:
    if rule.is_derived:
        return False
    verb_is_named = request.verb in rule.verbs or request.verb not in SENSITIVE_VERBS
    return verb_is_named and rule.names_literally(request)


def _enforces(question: Question) -> bool:
    namespace = question.known.get(question.request.namespace)
    return namespace is not None and enforces_pod_security(namespace.labels)


def _rule_names(rule: Rule, question: Question) -> Fit | None:
    request, names = question.request, rule.resource_names
    if names is None:
        return Fit.WHOLE
    if is_given_whole(request) or (request.verb in NAMELESS_VERBS and not is_of_argocd(request)):
        return None
    if request.name and not names.matches(request.name):
        return None
    if question.is_collection_read:
        return Fit.PART
    return Fit.WHOLE if request.name else None


def _rule_place(scope: RuleScope, question: Question) -> Match:
    request = question.request
    if question.scope is Scope.CLUSTER:
        return Fit.WHOLE if isinstance(scope, ClusterScope) else None
    if not isinstance(scope, NamespaceNames | NamespaceLabels):
        return None
    if not request.namespace:
        return Fit.PART if question.is_collection_read else None
    found = reach(scope, request.namespace, known=question.known, environment=question.environment)
    return Fit.WHOLE if found is Reach.INSIDE else _NEAR_MISS.get(found)


def _deny_names(deny: Rule, question: Question) -> Fit | None:
    request, names = question.request, deny.resource_names
    if names is None or names.everything:
        return Fit.WHOLE
    if request.name:
        return Fit.WHOLE if names.matches(request.name) else None
    if request.verb == "create":
        return None
    return Fit.PART if question.is_collection_read and not is_given_whole(request) else Fit.WHOLE


def _deny_place(scope: RuleScope, question: Question) -> Fit | None:
    request = question.request
    if isinstance(scope, ClusterScope):
        return Fit.WHOLE if question.scope is Scope.CLUSTER else None
    if not isinstance(scope, NamespaceNames | NamespaceLabels):
        return None
    if question.scope is Scope.CLUSTER and not question.is_about_namespaces:
        return None
    namespace = request.namespace or (request.name if question.is_about_namespaces else "")
    if namespace:
        return Fit.WHOLE if deny_reaches(scope, namespace, known=question.known) else None
    if is_everywhere(scope) or request.verb not in {*COLLECTION_READS, "create"}:
        return Fit.WHOLE
    return Fit.PART if question.is_collection_read else None
