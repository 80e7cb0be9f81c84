"""Decides what an operation of helm's would do, request by request, with the function that decides all requests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from k8s_mcp_server.authoring.resources import ResourceName
from k8s_mcp_server.errors import CommandDenied
from k8s_mcp_server.policy.catalog import Catalog, Scope
from k8s_mcp_server.policy.decide import decide
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.explain import quoted, resource
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.policy.virtual import HELM_GROUP
from k8s_mcp_server.serving.finding import MOST_SHOWN, find
from k8s_mcp_server.serving.helm.plan import ReleaseStep, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.policy.catalog import ApiResource
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.serving.helm.manifests import ChartObject
    from k8s_mcp_server.serving.helm.plan import Operation

Asked: TypeAlias = "list[tuple[RequestInfo, Decision]]"
_MOST_NAMES: Final = 5
_NAMESPACE_FIRST: Final = (
    "what may be done in a namespace depends on its labels, so nothing is decided before it is there: "
    "`kubectl create namespace {}` first, then the same without --create-namespace"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose operation it is, and on which release in which namespace."""

    client: Client
    namespace: str
    release: str


async def check(operation: Operation, place: Place, *, authorizer: Authorizer) -> None:
    """Let the operation begin.

    Raises:
        CommandDenied: something of it is denied, or is nothing that can be decided; says all that is missing.
    """
    steps = operation.steps()
    wanted = {(step.item.group, step.item.kind) for step in steps if isinstance(step, Step)}
    served = await authorizer.find_kinds(wanted)
    own = _own_kinds(operation, served)
    asked: Asked = []
    problems: dict[str, Reason] = {}
    for step in steps:
        problem = _problem(step, {**own, **served})
        if problem:
            problems.setdefault(*problem)
            continue
        request = _request(step, {**own, **served}, place=place)
        assumed = isinstance(step, Step) and (step.item.group, step.item.kind) in own
        decision = (
            _decide_assumed(request, own, place=place, authorizer=authorizer)
            if assumed
            else await authorizer.authorize([request], client=place.client, tool=Tool.HELM)
        )
        asked.append((request, decision))
    if problems or not all(decision.allowed for _, decision in asked):
        raise _denial(asked, problems=problems, operation=operation)


def _own_kinds(
    operation: Operation, served: Mapping[tuple[str, str], ApiResource]
) -> dict[tuple[str, str], ApiResource]:
    """What the API server will serve once it has the chart's own CustomResourceDefinitions."""
    defined = (item.defines for item in (*operation.crds, *operation.target))
    own = {(each.group, each.kind): each for each in defined if each is not None}
    return {kind: each for kind, each in own.items() if kind not in served}


def _problem(step: Step | ReleaseStep, known: Mapping[tuple[str, str], ApiResource]) -> tuple[str, Reason] | None:
    if isinstance(step, ReleaseStep):
        return None
    item = step.item
    kind = f"{quoted(item.kind)} of apiGroup {quoted(item.group)}"
    if (item.group, item.kind) not in known:
        why = "the API server does not serve this kind, and no CustomResourceDefinition of the chart makes it"
        return f"{kind}: {why}.", Reason.UNKNOWN_RESOURCE
    if not item.name and step.verb == "patch":
        why = "it has no name, which server-side apply needs; `--server-side=false` lets the API server make one"
        return f"{kind}: {why}.", Reason.MALFORMED_REQUEST
    return None


def _request(step: Step | ReleaseStep, known: Mapping[tuple[str, str], ApiResource], *, place: Place) -> RequestInfo:
    if isinstance(step, ReleaseStep):
        name = ResourceName(group=HELM_GROUP, resource="releases", subresource=step.subresource)
        return name.request(step.verb, namespace=place.namespace, name="" if step.verb == "create" else place.release)
    served = known[step.item.group, step.item.kind]
    return ResourceName(group=served.group, resource=served.resource).request(
        step.verb,
        namespace=step.item.namespace if served.scope is Scope.NAMESPACED else "",
        name="" if step.verb in {"list", "watch"} else step.item.name,
    )


def _decide_assumed(
    request: RequestInfo,
    own: Mapping[tuple[str, str], ApiResource],
    *,
    place: Place,
    authorizer: Authorizer,
) -> Decision:
    """As the decision would be were the chart's CustomResourceDefinitions there already; what is served wins."""
    context = authorizer.context(client=place.client, tool=Tool.HELM)
    return decide(request, replace(context, catalog=Catalog((*own.values(), *context.catalog))))


def _denial(asked: Asked, *, problems: Mapping[str, Reason], operation: Operation) -> CommandDenied:
    finding = find(asked)
    denied = [(request, decision) for request, decision in asked if not decision.allowed]
    told = (*problems, *_sentences(denied))
    reasons = {*problems.values(), *(decision.reason for _, decision in denied)}
    hint = f"these rules of a policy would allow what is missing:\n{finding.rules}" if finding.rules else ""
    if operation.namespace is not None and Reason.UNKNOWN_NAMESPACE in reasons:
        hint = f"{_NAMESPACE_FIRST.format(operation.namespace.name)}\n{hint}"
    return CommandDenied(
        reasons.pop().value if len(reasons) == 1 else "PolicyDenied",
        f"`helm {operation.name}` was not begun, and nothing was changed: {len(denied) + len(problems)} of "
        f"{len(asked) + len(problems)} things that it needs are denied",
        hint=hint.rstrip(),
        denials=tuple(_shortened(told)),
        next_command=finding.next_command,
    )


def _sentences(denied: Asked) -> Iterator[str]:
    """What no rule gives in one line for each resource and namespace; any other denial in its own words, once each."""
    verbs: dict[tuple[str, str], list[str]] = {}
    names: dict[tuple[str, str], list[str]] = {}
    others: dict[tuple[str, str, Reason], str] = {}
    for request, decision in denied:
        place = (resource(request), request.namespace)
        if decision.reason is Reason.NOT_ALLOWED:
            verbs.setdefault(place, []).append(request.verb)
            names.setdefault(place, []).append(request.name)
        else:
            others.setdefault((*place, decision.reason), decision.message)
    for (what, namespace), found in verbs.items():
        known = [quoted(name) for name in dict.fromkeys(names[what, namespace]) if name]
        more = f" and {len(known) - _MOST_NAMES} more" if len(known) > _MOST_NAMES else ""
        where = f" in namespace {quoted(namespace)}" if namespace and what != "namespaces" else ""
        yield f"no rule allows {', '.join(dict.fromkeys(found))} {what} {', '.join(known[:_MOST_NAMES])}{more}{where}"
    yield from others.values()


def _shortened(told: tuple[str, ...]) -> Iterator[str]:
    yield from told[:MOST_SHOWN]
    if len(told) > MOST_SHOWN:
        yield f"and {len(told) - MOST_SHOWN} more"


def with_namespace(items: tuple[ChartObject, ...], namespace: str) -> tuple[ChartObject, ...]:
    """The objects, with the release's namespace where they state none."""
    return tuple(item if item.namespace else replace(item, namespace=namespace) for item in items)
