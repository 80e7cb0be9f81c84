"""Where a client may do one kind of thing now: for help texts, which say so beside each subcommand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.access import reached_namespaces
from k8s_mcp_server.policy.case import Case, DecisionContext
from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.decide import allows
from k8s_mcp_server.policy.nearest import with_name
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.scopes import ClusterScope
from k8s_mcp_server.policy.virtual import ARGOCD_GROUP, scope_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8s_mcp_server.policy.rules import Rule

_MAX_TRIED: Final = 20  # namespaces of one rule; each costs a decision
_EVERYTHING: Final = "*"
CLUSTER: Final = "the cluster"
ANY_NAME: Final = "any name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A verb on a resource.

    Args:
        verb: of Argo CD's verbs of several words, ``action/*`` is any that begins so.
        resource: spelled as in ``pods/exec`` and ``deployments.apps/scale``; ``*`` means any.
        namespace: the one where it counts; empty for any.
    """

    verb: str
    resource: str
    namespace: str = ""

    def __str__(self) -> str:
        what = "the resource" if self.resource == _EVERYTHING else self.resource
        return f"{self.verb} on {what}{f' in {self.namespace}' if self.namespace else ''}"

    def request(self) -> RequestInfo:
        """The request that needs it, without a place."""
        whole, _, subresource = self.resource.partition("/")
        resource, _, group = whole.partition(".")
        return RequestInfo(
            is_resource_request=True,
            path="",
            verb=self.verb,
            api_group=group,
            resource=resource,
            subresource=subresource,
        )


def places(right: Right, context: DecisionContext) -> tuple[str, ...]:
    """Where the client has the right; sorted, and empty when it has it nowhere.

    Namespaces, or `CLUSTER`; of Argo CD's resources the names of the rules that give it, or `ANY_NAME`.
    """
    case = Case.of(right.request(), context)
    return tuple(sorted({place for _, rule in case.rules() for place in _of_rule(rule, right, context)}))


def _of_rule(rule: Rule, right: Right, context: DecisionContext) -> Iterator[str]:
    verb = next(verbs_given(rule, right), "")
    if not verb:
        return
    right = replace(right, verb=verb)
    in_cluster = isinstance(rule.scope, ClusterScope)
    namespaces = [""] if in_cluster else list(islice(reached_namespaces([rule], context), _MAX_TRIED))
    if right.namespace and not in_cluster:
        namespaces = [right.namespace] if right.namespace in namespaces else []
    if right.resource == _EVERYTHING:
        yield from ([CLUSTER] if in_cluster and rule.resources else namespaces if rule.resources else [])
        return
    asked = right.request()
    scope = scope_of(context.catalog, group=asked.api_group, resource=asked.resource)
    if not rule.has_resource(asked) or (scope is Scope.CLUSTER) is not in_cluster:
        return
    for namespace in namespaces:
        if allows(with_name(rule, replace(asked, namespace=namespace, name="example")), context=context):
            yield from _named(rule) if asked.api_group == ARGOCD_GROUP else [namespace or CLUSTER]


def _named(rule: Rule) -> tuple[str, ...]:
    return (ANY_NAME,) if rule.resource_names is None else rule.resource_names.texts


def verbs_given(rule: Rule, right: Right) -> Iterator[str]:
    """The verbs that the rule gives, of those that the right means; stars of its own are filled in."""
    prefix, star, _ = right.verb.partition("*")
    if not star:
        yield from [right.verb] if rule.has_verb(right.verb) else []
        return
    yield from (verb.replace(_EVERYTHING, "example") for verb in sorted(rule.verbs) if verb.startswith(prefix))
    if _EVERYTHING in rule.verbs:
        yield f"{prefix}example"


def visible_namespaces(context: DecisionContext) -> tuple[str, ...]:
    """The namespaces that the client's rules reach now, sorted."""
    case = Case.of(RequestInfo(is_resource_request=False, path="", verb="get"), context)
    return reached_namespaces([rule for _, rule in case.rules()], context)


def named_kinds(context: DecisionContext) -> tuple[str, ...]:
    """The resources that the client's rules are about, of those that are served, as kubectl spells them; sorted."""
    case = Case.of(RequestInfo(is_resource_request=False, path="", verb="get"), context)
    rules = [rule for _, rule in case.rules()]
    found = set()
    for served in context.catalog:
        request = RequestInfo(
            is_resource_request=True, path="", verb="list", api_group=served.group, resource=served.resource
        )
        if any(rule.has_resource(request) for rule in rules):
            found.add(f"{served.resource}.{served.group}" if served.group else served.resource)
    return tuple(sorted(found))
