"""The parts that plans are made of: finding pods, reading a proxy, reaching istiod, the mesh's settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.istioctl.operands import Target, read_target
from k8s_mcp_server.gateway.plan import CommandPlan, Opening
from k8s_mcp_server.policy.patterns import Names
from k8s_mcp_server.policy.virtual import istioctl_right

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8s_mcp_server.commands.istioctl.invocation import Invocation
    from k8s_mcp_server.policy.request import RequestInfo

READ: Final = frozenset({"get"})
LIST: Final = frozenset({"list", "watch"})
CREATE: Final = frozenset({"create"})
MESH: Final = istioctl_right("get", "meshes")
ISTIOD: Final = Names.of(["istiod*"])
_ADMIN: Final = 15000  # of a proxy
_MONITORING: Final = 15014  # of istiod
_WEBHOOK_GROUP: Final = "admissionregistration.k8s.io"
_OBJECTS: Final[dict[tuple[str, ...], str]] = {
    ("experimental", "describe", kind): f"{kind}s" for kind in ("pod", "service")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a plan depends on beside the command.

    Args:
        namespace: of commands that state none.
        istio_namespace: where istiod is.
    """

    namespace: str
    istio_namespace: str


def targets_of(invocation: Invocation, around: Surroundings) -> tuple[Target, ...]:
    """The pods, and what stands for pods, that the operands name."""
    namespace = invocation.value("namespace", around.namespace)
    only = _OBJECTS.get(invocation.path, "")
    return tuple(read_target(operand, namespace=namespace, only=only) for operand in invocation.operands)


def of_proxies(
    invocation: Invocation, around: Surroundings, *, right: str, requests: Iterable[str], verb: str = "get"
) -> CommandPlan:
    """Reading the proxies that the operands name, or those that a label selector finds in one namespace."""
    rights: list[RequestInfo] = []
    openings: list[Opening] = []
    for target in targets_of(invocation, around):
        needed = proxy_right(right, target, verb=verb)
        rights.append(needed)
        openings += finding(target, needed)
        names = Names.of([target.name]) if target.is_pod else Names.of(["*"])
        openings += proxy(target.namespace, right=needed, requests=requests, names=names, by_name=True)
    if "selector" in invocation.flags:
        namespace = invocation.value("namespace", around.namespace)
        needed = istioctl_right(verb, right, namespace=namespace)
        rights.append(needed)
        openings.append(pods(namespace, needed))
        openings += proxy(namespace, right=needed, requests=requests, names=Names.of(["*"]), by_name=True)
    return CommandPlan(rights=tuple(rights), openings=tuple(openings))


def proxy_right(resource: str, target: Target, *, verb: str = "get") -> RequestInfo:
    """The right to something of the target's proxies."""
    return istioctl_right(verb, resource, namespace=target.namespace, name=pod_name(target))


def pod_name(target: Target) -> str:
    """The pod's name where it is known already: a rule that names pods cannot give others'."""
    return target.name if target.is_pod else ""


def finding(target: Target, right: RequestInfo) -> tuple[Opening, ...]:
    """Reading the object that stands for pods, and listing these."""
    if target.is_pod:
        return (pods(target.namespace, right, names=Names.of([target.name])),)
    read = Opening(
        verbs=READ,
        group=target.group,
        resource=target.resource,
        namespace=target.namespace,
        names=Names.of([target.name]),
        right=right,
    )
    return (read, pods(target.namespace, right))


def pods(namespace: str, right: RequestInfo, *, names: Names | None = None) -> Opening:
    """Listing the pods of a namespace, all or those of some names."""
    return Opening(
        verbs=LIST, group="", resource="pods", namespace=namespace, names=names or Names.of(["*"]), right=right
    )


def proxy(
    namespace: str, *, right: RequestInfo, requests: Iterable[str], names: Names, by_name: bool
) -> tuple[Opening, ...]:
    """A port-forward to a pod's proxy, for these requests; istioctl looks at the pod first."""
    read = Opening(
        verbs=READ, group="", resource="pods", namespace=namespace, names=names, right=right, right_is_by_name=by_name
    )
    forward = Opening(
        verbs=CREATE,
        group="",
        resource="pods/portforward",
        namespace=namespace,
        names=names,
        right=right,
        right_is_by_name=by_name,
        ports={_ADMIN: frozenset(requests)},
    )
    return read, forward


def of_mesh(around: Surroundings, *, requests: Iterable[str]) -> CommandPlan:
    """Asking istiod's monitoring port about the mesh as a whole."""
    return CommandPlan(
        rights=(MESH,), openings=istiod(around, right=MESH, port=_MONITORING, requests=frozenset(requests))
    )


def istiod(
    around: Surroundings, *, right: RequestInfo, port: int, requests: frozenset[str] | None
) -> tuple[Opening, ...]:
    """Finding istiod's pods (the webhooks say which revision is the default), and a port-forward to them."""
    where = around.istio_namespace
    return (
        webhooks(right),
        pods(where, right),
        Opening(verbs=READ, group="", resource="pods", namespace=where, names=ISTIOD, right=right),
        Opening(
            verbs=CREATE,
            group="",
            resource="pods/portforward",
            namespace=where,
            names=ISTIOD,
            right=right,
            ports={port: requests},
        ),
    )


def webhooks(right: RequestInfo) -> Opening:
    """The injection webhooks: which revision is the default, and what is injected."""
    return Opening(verbs=LIST, group=_WEBHOOK_GROUP, resource="mutatingwebhookconfigurations", right=right)


def namespace_object(name: str, right: RequestInfo) -> Opening:
    """Reading a namespace: whether it is there, and its labels."""
    return Opening(verbs=READ, group="", resource="namespaces", names=Names.of([name]), right=right)


def mesh_config(right: RequestInfo, around: Surroundings) -> Opening:
    """The mesh's settings, of any revision."""
    names = Names.of(["istio", "istio-*"])
    return Opening(
        verbs=READ, group="", resource="configmaps", namespace=around.istio_namespace, names=names, right=right
    )


def mesh_basics(right: RequestInfo, around: Surroundings) -> tuple[Opening, ...]:
    """The mesh's settings, and which kinds there are, as discovery says, too."""
    kinds = Opening(verbs=LIST, group="apiextensions.k8s.io", resource="customresourcedefinitions", right=right)
    return mesh_config(right, around), kinds
