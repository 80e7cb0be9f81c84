"""What each subcommand may ask for: by which rights, which requests, and what through which port-forward.

Found by running every subcommand against a real istiod and a real Envoy and reading the API server's audit log
(``devtools/istio``), and from istioctl's source: ``pkg/kube/client.go``, ``istioctl/pkg/multixds/gather.go`` and the
package of each subcommand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.istioctl.parts import (
    CREATE,
    ISTIOD,
    LIST,
    MESH,
    READ,
    finding,
    istiod,
    mesh_basics,
    mesh_config,
    namespace_object,
    of_mesh,
    of_proxies,
    pod_name,
    proxy,
    proxy_right,
    targets_of,
    webhooks,
)
from k8s_mcp_server.gateway.plan import CommandPlan, Opening
from k8s_mcp_server.policy.patterns import Names
from k8s_mcp_server.policy.virtual import istioctl_right

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from k8s_mcp_server.commands.istioctl.invocation import Invocation
    from k8s_mcp_server.commands.istioctl.parts import Surroundings
    from k8s_mcp_server.policy.request import RequestInfo

_SECURE_XDS, _WEBHOOKS = 15012, 15017  # ports of istiod
_TOKEN_ACCOUNT: Final = "default"  # noqa: S105 - a ServiceAccount's name (multixds/gather.go)
_TOKEN_AUDIENCE: Final = frozenset({"istio-ca"})
_LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical", "off")
_SHORT_LEVELS: Final = {"warn": "warning"}

# What each part of proxy-config reads (istioctl/pkg/proxyconfig/proxyconfig.go).
_DUMP: Final = "GET /config_dump"
_CONFIG: Final = {
    "bootstrap": (f"{_DUMP}?mask=bootstrap",),
    "cluster": (f"{_DUMP}?mask=dynamic_active_clusters,dynamic_warming_clusters,static_clusters",),
    "ecds": (f"{_DUMP}?include_eds=true",),
    "endpoint": ("GET /clusters?format=json", f"{_DUMP}?include_eds=true"),
    "listener": (f"{_DUMP}?mask=dynamic_listeners,static_listeners",),
    "route": (f"{_DUMP}?mask=dynamic_route_configs,static_route_configs",),
}
_SECRETS: Final = f"{_DUMP}?mask=dynamic_active_secrets,dynamic_warming_secrets"
_STATS: Final = (
    "GET /stats", "GET /stats?format=json", "GET /stats/prometheus", "GET /clusters", "GET /clusters?format=json",
)  # fmt: skip


def plan_of(invocation: Invocation, around: Surroundings) -> CommandPlan:
    """The plan of one command.

    Raises:
        CommandRefused: an operand names no pod.
    """
    maker = _PLANS.get(invocation.path)
    if maker is None or invocation.wants_help:
        return CommandPlan()
    return maker(invocation, around)


def forwards_ports(plan: CommandPlan) -> bool:
    """Whether the command listens on a local port."""
    return any(opening.resource == "pods/portforward" for opening in plan.openings)


def _proxy_config(invocation: Invocation, around: Surroundings) -> CommandPlan:
    if "file" in invocation.flags:
        return CommandPlan()
    part = invocation.path[-1]
    return of_proxies(invocation, around, right="proxyconfigs", requests=_CONFIG[part])


def _proxy_secret(invocation: Invocation, around: Surroundings) -> CommandPlan:
    if "file" in invocation.flags:
        return CommandPlan()
    return of_proxies(invocation, around, right="proxysecrets", requests=(_SECRETS,))


def _proxy_all(invocation: Invocation, around: Surroundings) -> CommandPlan:
    """All there is in a proxy, the certificates included: two rights."""
    if "file" in invocation.flags:
        return CommandPlan()
    plan = of_proxies(invocation, around, right="proxysecrets", requests=(f"{_DUMP}?include_eds=true",))
    configs = (proxy_right("proxyconfigs", target) for target in targets_of(invocation, around))
    return CommandPlan(rights=(*plan.rights, *configs), openings=plan.openings)


def _proxy_log(invocation: Invocation, around: Surroundings) -> CommandPlan:
    requests = ["POST /logging"]
    verb = "update" if "level" in invocation.flags or "reset" in invocation.flags else "get"
    requests += [f"POST /logging?{each}" for each in _level_changes(invocation)]
    plan = of_proxies(invocation, around, right="proxyloglevels", requests=requests, verb=verb)
    defaults = Opening(
        verbs=READ,
        group="",
        resource="configmaps",
        namespace=around.istio_namespace,
        names=Names.of(["istio-sidecar-injector"]),
        right=plan.rights[0],
    )
    return CommandPlan(rights=plan.rights, openings=(*plan.openings, defaults))


def _level_changes(invocation: Invocation) -> Iterable[str]:
    if invocation.is_on("reset"):
        yield from (f"level={level}" for level in _LEVELS)
    for part in filter(None, invocation.value("level").split(",")):
        logger, _, level = part.replace(":", "=").rpartition("=")
        yield f"{logger or 'level'}={_SHORT_LEVELS.get(level, level)}"


def _authz_check(invocation: Invocation, around: Surroundings) -> CommandPlan:
    return of_proxies(invocation, around, right="proxyconfigs", requests=(_DUMP,))


def _envoy_stats(invocation: Invocation, around: Surroundings) -> CommandPlan:
    return of_proxies(invocation, around, right="proxyconfigs", requests=_STATS)


def _proxy_status(invocation: Invocation, around: Surroundings) -> CommandPlan:
    token = istioctl_right("create", "tokens", namespace=around.istio_namespace)
    if invocation.operands:
        plan = of_proxies(invocation, around, right="proxystatuses", requests=(_DUMP,))
        right = plan.rights[0]
    else:
        namespace = invocation.value("namespace")
        right = istioctl_right("list", "proxystatuses", namespace=namespace) if namespace else MESH
        plan = CommandPlan(rights=(right,))
    mint = Opening(
        verbs=CREATE,
        group="",
        resource="serviceaccounts/token",
        namespace=around.istio_namespace,
        names=Names.of([_TOKEN_ACCOUNT]),
        audiences=_TOKEN_AUDIENCE,
        right=token,
    )
    xds = istiod(around, right=right, port=_SECURE_XDS, requests=None)
    return CommandPlan(rights=(*plan.rights, token), openings=(*plan.openings, *xds, mint))


def _version(invocation: Invocation, around: Surroundings) -> CommandPlan:
    if not invocation.is_on("remote", default=True):
        return CommandPlan()
    return of_mesh(around, requests=("GET //version", "GET /version", "GET /debug/syncz"))


def _remote_clusters(_: Invocation, around: Surroundings) -> CommandPlan:
    return of_mesh(around, requests=("GET /debug/clusterz",))


def _tag_list(_: Invocation, around: Surroundings) -> CommandPlan:
    services = Opening(verbs=LIST, group="", resource="services", namespace=around.istio_namespace, right=MESH)
    return CommandPlan(rights=(MESH,), openings=(webhooks(MESH), services), may_see_less=True)


def _injector_list(_: Invocation, __: Surroundings) -> CommandPlan:
    return CommandPlan(rights=(MESH,), openings=(webhooks(MESH),), may_see_less=True)


def _precheck(_: Invocation, around: Surroundings) -> CommandPlan:
    return CommandPlan(rights=(MESH,), openings=mesh_basics(MESH, around), may_see_less=True)


def _kube_inject(_: Invocation, around: Surroundings) -> CommandPlan:
    where = around.istio_namespace
    service = Opening(verbs=READ, group="", resource="services", namespace=where, names=ISTIOD, right=MESH)
    config = Opening(
        verbs=READ,
        group="",
        resource="configmaps",
        namespace=where,
        names=Names.of(["istio", "istio-*"]),
        right=MESH,
    )
    openings = (*istiod(around, right=MESH, port=_WEBHOOKS, requests=None), service, config)
    return CommandPlan(rights=(MESH,), openings=openings)


def _check_inject(invocation: Invocation, around: Surroundings) -> CommandPlan:
    namespace = invocation.value("namespace", around.namespace)
    rights: list[RequestInfo] = []
    openings: list[Opening] = []
    for target in targets_of(invocation, around):
        right = istioctl_right("get", "descriptions", namespace=target.namespace, name=pod_name(target))
        rights.append(right)
        openings += finding(target, right)
        openings.append(
            Opening(
                verbs=READ, group="", resource="pods", namespace=target.namespace, right=right, right_is_by_name=True
            )
        )
        namespace = target.namespace
    if not rights:
        rights.append(istioctl_right("get", "descriptions", namespace=namespace))
    openings += [namespace_object(namespace, rights[0]), webhooks(rights[0])]
    return CommandPlan(rights=tuple(rights), openings=tuple(openings))


def _describe(invocation: Invocation, around: Surroundings) -> CommandPlan:
    (target,) = targets_of(invocation, around)
    of_pod = invocation.path[-1] == "pod"
    where, istio = target.namespace, around.istio_namespace
    right = istioctl_right("get", "descriptions", namespace=where, name=target.name if of_pod else "")
    pods = Names.of([target.name]) if of_pod else Names.of(["*"])
    in_namespace = [
        ("", "services", READ | LIST),
        ("", "pods", LIST),
        ("networking.istio.io", "destinationrules", READ),
        ("networking.istio.io", "virtualservices", READ),
        ("security.istio.io", "peerauthentications", LIST),
    ]
    openings = [
        *(
            Opening(verbs=verbs, group=group, resource=resource, namespace=where, right=right)
            for group, resource, verbs in in_namespace
        ),
        Opening(verbs=LIST, group="security.istio.io", resource="peerauthentications", namespace=istio, right=right),
        mesh_config(right, around),
        webhooks(right),
        *proxy(where, right=right, requests=(_DUMP,), names=pods, by_name=False),
        # Ingress gateways are in other namespaces, and istioctl would ask them, too.
        Opening(verbs=LIST, group="", resource="pods", right=None, unseen="ingress gateways"),
    ]
    return CommandPlan(rights=(right,), openings=tuple(openings))


def _analyze(invocation: Invocation, around: Surroundings) -> CommandPlan:
    if invocation.is_on("list-analyzers") or not invocation.is_on("use-kube", default=True):
        return CommandPlan()
    everywhere = invocation.is_on("all-namespaces")
    namespace = around.namespace if everywhere else invocation.value("namespace", around.namespace)
    right = istioctl_right("list", "analyses", namespace="" if everywhere else namespace)
    # Each of these would be a kubeconfig of another cluster, which istioctl then asks.
    remote = Opening(
        verbs=LIST, group="", resource="secrets", namespace=around.istio_namespace, right=None, unseen="remote clusters"
    )
    openings = (remote, namespace_object(namespace, right), *mesh_basics(right, around))
    return CommandPlan(rights=(right,), openings=openings, may_see_less=True)


_PLANS: Final[dict[tuple[str, ...], Callable[[Invocation, Surroundings], CommandPlan]]] = {
    ("analyze",): _analyze,
    ("experimental", "authz", "check"): _authz_check,
    ("experimental", "check-inject"): _check_inject,
    ("experimental", "describe", "pod"): _describe,
    ("experimental", "describe", "service"): _describe,
    ("experimental", "envoy-stats"): _envoy_stats,
    ("experimental", "injector", "list"): _injector_list,
    ("experimental", "precheck"): _precheck,
    ("kube-inject",): _kube_inject,
    **{("proxy-config", part): _proxy_config for part in _CONFIG},
    ("proxy-config", "all"): _proxy_all,
    ("proxy-config", "log"): _proxy_log,
    ("proxy-config", "rootca-compare"): _proxy_secret,
    ("proxy-config", "secret"): _proxy_secret,
    ("proxy-status",): _proxy_status,
    ("remote-clusters",): _remote_clusters,
    ("tag", "list"): _tag_list,
    ("version",): _version,
}
