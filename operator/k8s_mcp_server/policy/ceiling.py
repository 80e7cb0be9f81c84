"""What the server itself must be allowed for a rule to give what it says: its RBAC is the ceiling of all policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.scopes import ClusterScope, Urls
from k8s_mcp_server.policy.sensitive import (
    COLLECTION_READS,
    NAMELESS_VERBS,
    SENSITIVE_VERBS,
    is_sensitive,
    why_never,
)
from k8s_mcp_server.policy.virtual import VIRTUAL_GROUPS

if TYPE_CHECKING:
    from k8s_mcp_server.policy.catalog import ApiResource, Catalog
    from k8s_mcp_server.policy.rules import Rule

_EVERYTHING: Final = "*"
_ENVIRONMENT: Final = Environment()


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One right, in the fields of a SelfSubjectAccessReview.

    Args:
        verb, group, resource, subresource: as in RBAC; ``*`` is asked for as such.
        names: the only objects that it is needed for; none for every object.
        path: of a right on a path that is no resource; the other fields but the verb are empty then.
        exact: it holds no wildcard: who does not hold it lacks something. Of one with a wildcard the server may hold a
            part, and give that.
    """

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    names: tuple[str, ...] = ()
    path: str = ""
    exact: bool = field(default=True, compare=False)

    def __str__(self) -> str:
        if self.path:
            return f"{self.verb} {self.path}"
        part = f"/{self.subresource}" if self.subresource else ""
        group = f".{self.group}" if self.group else ""
        return f"{self.verb} {self.resource}{group}{part}"


def needs(rule: Rule, catalog: Catalog) -> Iterator[Need]:
    """The rights that the server needs for a rule, in the places where it holds.

    What the API server does not serve there, and what the rule does not give whatever it says, needs none.
    """
    if isinstance(rule.scope, Urls):
        for path, verb in product(rule.scope.paths.texts, sorted(rule.verbs)):
            yield Need(verb=verb, path=path, exact=_EVERYTHING not in path + verb)
        return
    scope = Scope.CLUSTER if isinstance(rule.scope, ClusterScope) else Scope.NAMESPACED
    for group, item in product(sorted(rule.groups), sorted(rule.resources)):
        resource, _, subresource = item.partition("/")
        if _EVERYTHING in group + item or group in VIRTUAL_GROUPS:
            yield from (
                Need(verb=verb, group=group, resource=resource, subresource=subresource, exact=False)
                for verb in sorted(rule.verbs)
            )
        elif (served := catalog.find(group=group, resource=resource)) is not None and served.scope is scope:
            yield from _of_resource(rule, served, subresource)


def _of_resource(rule: Rule, served: ApiResource, subresource: str) -> Iterator[Need]:
    answered = dict(served.subresources).get(subresource) if subresource else served.verbs
    if answered is None:
        return
    for verb in sorted(rule.verbs):
        if verb not in answered | SENSITIVE_VERBS | {_EVERYTHING}:
            continue
        request = RequestInfo(
            is_resource_request=True,
            path="",
            verb=verb,
            api_group=served.group,
            resource=served.resource,
            subresource=subresource,
            audiences=(),
        )
        if why_never(request, _ENVIRONMENT) or (rule.is_derived and is_sensitive(request)):
            continue
        if rule.resource_names is None or verb not in NAMELESS_VERBS:
            yield _named(rule, request)


def _named(rule: Rule, request: RequestInfo) -> Need:
    """Lists are asked for in full, and cut here: their right must be one to every object."""
    names = rule.resource_names
    is_open = names is None or request.verb in COLLECTION_READS
    return Need(
        verb=request.verb,
        group=request.api_group,
        resource=request.resource,
        subresource=request.subresource,
        names=() if is_open or names is None or names.globs else tuple(sorted(names.literals)),
        exact=request.verb != _EVERYTHING and (is_open or names is None or not names.globs),
    )
