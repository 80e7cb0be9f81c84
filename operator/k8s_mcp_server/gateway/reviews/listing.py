"""Everything that a client may do in a namespace: what discovery serves and rules name, decided one by one.

A list of rules cut with another would be shorter, and wrong: wildcards of a policy stop before what is sensitive,
denies take from the middle, Pod Security decides about workloads. So every action is decided as its request would be.
Shape: SubjectRulesReviewStatus (k8s.io/api/authorization/v1/types.go).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.reviews.actions import VERBS, Action, path_request
from k8s_mcp_server.gateway.reviews.coverage import gives, gives_path, rules_about
from k8s_mcp_server.gateway.reviews.wire import NonResourceAttributes, NonResourceRule, ResourceRule
from k8s_mcp_server.policy.case import Case
from k8s_mcp_server.policy.decide import allows
from k8s_mcp_server.policy.scopes import Urls
from k8s_mcp_server.policy.sensitive import REVIEWS_ABOUT_ONESELF

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8s_mcp_server.gateway.reviews.wire import RulesStatus
    from k8s_mcp_server.policy.catalog import ApiResource, Scope
    from k8s_mcp_server.policy.decide import DecisionContext
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.rules import Rule

_DISCOVERY: Final = (
    "/api", "/api/*", "/apis", "/apis/*", "/openapi/v2", "/openapi/v3", "/openapi/v3/*", "/version",
)  # fmt: skip

_NEED_NO_RULE: Final = {("", "namespaces"), *REVIEWS_ABOUT_ONESELF}  # whoever has some rule may have some of these


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One resource or subresource, in the namespace that is asked about."""

    group: str
    resource: str
    subresource: str
    namespace: str
    scope: Scope
    served: frozenset[str]

    def requests(self, verb: str, name: str) -> tuple[RequestInfo, ...]:
        return Action(
            verb=verb,
            group=self.group,
            resource=self.resource,
            subresource=self.subresource,
            namespace=self.namespace,
            name=name,
        ).requests(self.scope)


class Listing:
    """The actions that the policies allow and the API server's own rules give.

    Args:
        context: the client, and what decisions are made from.
        namespace: for namespaced resources.
        rbac: the API server's rules for the account that requests are made as.
    """

    def __init__(self, context: DecisionContext, *, namespace: str, rbac: RulesStatus) -> None:
        self._context = context
        self._namespace = namespace
        self._rbac = rbac
        case = Case.of(path_request(NonResourceAttributes()), context)
        self._rules = tuple(rule for _, rule in case.rules())

    @property
    def leaves_out_own_rights(self) -> bool:
        """Whether a rule gives what the client's own RBAC gives, which is asked about one action at a time."""
        return any(rule.from_rbac for rule in self._rules)

    def resource_rules(self) -> Iterator[tuple[ResourceRule, ...]]:
        """The rules for one resource after the other, also where there are none, so that others get a turn."""
        for resource in self._context.catalog:
            for subresource, verbs in (("", resource.verbs), *resource.subresources):
                yield tuple(self._rules_for(self._place(resource, subresource, verbs)))

    def path_rules(self) -> Iterator[NonResourceRule]:
        """The rules for paths."""
        asked: dict[str, set[str]] = {path: {"get"} for path in _DISCOVERY}
        for rule in self._rules:
            if isinstance(rule.scope, Urls):
                for path in rule.scope.paths.texts:
                    asked.setdefault(path, set()).update(rule.verbs)
        for path, verbs in asked.items():
            if allowed := tuple(verb for verb in sorted(verbs) if self._allows_path(path, verb)):
                yield NonResourceRule(verbs=allowed, urls=(path,))

    def _place(self, resource: ApiResource, subresource: str, verbs: frozenset[str]) -> _Place:
        return _Place(
            group=resource.group,
            resource=resource.resource,
            subresource=subresource,
            namespace=self._namespace,
            scope=resource.scope,
            served=verbs,
        )

    def _rules_for(self, place: _Place) -> Iterator[ResourceRule]:
        rbac = tuple(
            rules_about(
                self._rbac.resource_rules or (),
                group=place.group,
                resource=place.resource,
                subresource=place.subresource,
            )
        )
        about = tuple(rule for rule in self._rules if rule.has_resource(place.requests("get", "")[0]))
        if not rbac or not (about or (place.group, place.resource) in _NEED_NO_RULE):
            return
        verbs = _ordered(place.served.union(*(rule.verbs for rule in about)) - {"*"})
        everywhere = self._allowed(place, verbs, rbac, name="")
        if everywhere:
            yield _rule(place, everywhere)
        left = tuple(verb for verb in verbs if verb not in everywhere)
        for name in _names(about, rbac) if left else ():
            if named := self._allowed(place, left, rbac, name=name):
                yield _rule(place, named, name)

    def _allowed(
        self, place: _Place, verbs: tuple[str, ...], rbac: tuple[ResourceRule, ...], *, name: str
    ) -> tuple[str, ...]:
        return tuple(
            verb
            for verb in verbs
            if gives(rbac, verb=verb, name=name)
            and all(allows(request, context=self._context) for request in place.requests(verb, name))
        )

    def _allows_path(self, path: str, verb: str) -> bool:
        request = path_request(NonResourceAttributes(path=path, verb=verb))
        return gives_path(self._rbac.non_resource_rules or (), verb=verb, path=path) and allows(
            request, context=self._context
        )


def _ordered(verbs: Iterable[str]) -> tuple[str, ...]:
    rank = {verb: place for place, verb in enumerate(VERBS)}
    return tuple(sorted(verbs, key=lambda verb: (rank.get(verb, len(rank)), verb)))


def _names(about: Iterable[Rule], rbac: Iterable[ResourceRule]) -> list[str]:
    """The names, and globs as they are written, that either side's rules are about."""
    ours = (rule.resource_names.texts for rule in about if rule.resource_names is not None)
    return sorted(set(chain(*ours, *(rule.resource_names for rule in rbac))))


def _rule(place: _Place, verbs: tuple[str, ...], *names: str) -> ResourceRule:
    full = f"{place.resource}/{place.subresource}" if place.subresource else place.resource
    return ResourceRule(verbs=verbs, api_groups=(place.group,), resources=(full,), resource_names=names)
