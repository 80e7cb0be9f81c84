"""Every subcommand of istioctl 1.31: its names, and whether it is offered or refused, with what to do instead.

From ``istioctl --help`` and that of its subcommands; a test compares the names with the real binary, so a version that
adds one does not pass unnoticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.istioctl import flags
from k8s_mcp_server.commands.istioctl.flags import Flag, one_of, switch, value

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[str, ...]


class Operand(Enum):
    """What an operand names."""

    TARGET = "a pod, or what stands for pods"
    OBJECT = "a pod or Service by its name"
    FILE = "a file or folder of the command's, or -, for the stdin argument"
    WORD = "a word of istioctl's own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A subcommand that is offered.

    Args:
        flags: beside the global ones.
        operands: how many it takes, at least and at most.
        operand: what they name.
        in_place: a flag that is given in place of the operands.
    """

    flags: tuple[Flag, ...] = ()
    operands: tuple[int, int] = (0, 0)
    operand: Operand = Operand.TARGET
    in_place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A subcommand that is not offered: what it does, and what to do instead."""

    effect: str
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Words before a subcommand."""


_FILE = (flags.DUMP,)
_DUMP = (flags.CONFIG_OUTPUT, *_FILE)
_OUTPUT: Final = one_of("output", "o", values=("json", "yaml", "log"))
_LEVEL: Final = one_of("output-threshold", values=("Info", "Warning", "Error", "info", "warning", "error"))
_POD: Final = (1, 1)

_INSTALLS: Final = Refused(
    effect="installs, changes or removes Istio itself",
    instead="That is for whoever runs the mesh; `istioctl version` and `istioctl experimental precheck` say how it is.",
)
_DASHBOARD: Final = Refused(
    effect="opens a browser on a local port",
    instead="Ask for the same as text: `istioctl proxy-config all POD.NAMESPACE`, `istioctl proxy-status`.",
)
_AMBIENT: Final = Refused(
    effect="reads ztunnel, which knows the workloads of all namespaces of a node",
    instead="Look at the objects: `kubectl get pods,services -n NAMESPACE`, `istioctl experimental describe pod`.",
)
_TAGS: Final = Refused(
    effect="changes which control plane injects into whole namespaces",
    instead="`istioctl tag list` shows the tags; changing them is for whoever runs the mesh.",
)
_WORKLOAD: Final = Refused(
    effect="writes files for a virtual machine, a token of its identity among them",
    instead="Write a WorkloadEntry or WorkloadGroup and apply it with `kubectl apply -f -`.",
)
_WAYPOINT: Final = Refused(
    effect="applies, deletes or waits for Gateways by itself",
    instead="Take the manifest of `istioctl waypoint generate` and pass it to `kubectl apply -f -`; read with "
    "`kubectl get gateways.gateway.networking.k8s.io`.",
)
_LOCAL: Final = Refused(effect="is about files of your own shell", instead="It has no use here; leave it out.")

SUBCOMMANDS: Final[dict[Path, Offered | Refused | Group]] = {
    ("admin",): Group(),
    ("admin", "log"): Refused(
        effect="reads and changes what istiod logs",
        instead="Read what it logged with `kubectl logs deployment/istiod -n istio-system`.",
    ),
    ("analyze",): Offered(
        flags=(
            switch("all-namespaces", "A"),
            value("analyzer", like=r"[A-Za-z.]{1,80}"),
            switch("color"),
            one_of("failure-threshold", values=("Info", "Warning", "Error", "info", "warning", "error")),
            switch("ignore-unknown"),
            switch("list-analyzers", "L"),
            _OUTPUT,
            _LEVEL,
            flags.REVISION,
            value("suppress", "S"),
            flags.TIMEOUT,
            switch("use-kube", "k"),
            switch("verbose", "v"),
        ),
        operands=(0, 16),
        operand=Operand.FILE,
    ),
    ("authz",): Refused(effect="is only a hint", instead="Write: `istioctl experimental authz check POD.NAMESPACE`"),
    ("bug-report",): Refused(
        effect="collects logs and configuration of the whole cluster into a file",
        instead="Ask for what you need: `istioctl analyze`, `istioctl proxy-config all POD.NAMESPACE`, `kubectl logs`.",
    ),
    ("bug-report", "version"): Refused(effect="is about that", instead="Write: `istioctl version`"),
    ("completion",): _LOCAL,
    **{("completion", shell): _LOCAL for shell in ("bash", "fish", "powershell", "zsh")},
    ("create-remote-secret",): Refused(
        effect="makes and prints a credential for this whole cluster",
        instead="Joining clusters is for whoever runs the mesh; `istioctl remote-clusters` shows which are joined.",
    ),
    ("dashboard",): _DASHBOARD,
    **{
        ("dashboard", what): _DASHBOARD
        for what in (
            "controlz", "envoy", "grafana", "istiod-debug", "jaeger", "kiali", "prometheus", "proxy", "skywalking",
            "zipkin",
        )
    },
    ("experimental",): Group(),
    ("experimental", "authz"): Group(),
    ("experimental", "authz", "check"): Offered(operands=_POD),
    ("experimental", "check-inject"): Offered(
        flags=(value("labels", "l", like=r"[-A-Za-z0-9_./=,]{1,512}"),), operands=_POD, in_place="labels"
    ),
    ("experimental", "config"): Group(),
    ("experimental", "config", "list"): Refused(
        effect="shows settings of istioctl's own, and there are none here", instead="Write the flags in the command."
    ),
    ("experimental", "describe"): Group(),
    ("experimental", "describe", "pod"): Offered(
        flags=(switch("ignoreUnmeshed"),), operands=(1, 1), operand=Operand.OBJECT
    ),
    ("experimental", "describe", "service"): Offered(
        flags=(switch("ignoreUnmeshed"),), operands=(1, 1), operand=Operand.OBJECT
    ),
    ("experimental", "envoy-stats"): Offered(
        flags=(
            one_of(
                "output",
                "o",
                values=("json", "yaml", "short", "prom"),
                instead="prom-merged asks the app behind the proxy, too; write: --output prom",
            ),
            flags.SELECTOR,
            one_of("type", "t", values=("server", "clusters", "cluster")),
        ),
        operands=_POD,
        in_place="selector",
    ),
    ("experimental", "injector"): Group(),
    ("experimental", "injector", "list"): Offered(),
    ("experimental", "internal-debug"): Refused(
        effect="asks istiod for anything that it knows, of all namespaces",
        instead="`istioctl proxy-status -n NAMESPACE` and `istioctl proxy-config all POD.NAMESPACE` ask for less.",
    ),
    ("experimental", "metrics"): Refused(
        effect="queries a Prometheus of the mesh, of all namespaces",
        instead="`istioctl experimental envoy-stats POD.NAMESPACE` has the figures of one proxy.",
    ),
    ("experimental", "precheck"): Offered(
        flags=(
            value("from-version", "f", like=r"[0-9.]{1,16}"),
            _OUTPUT,
            _LEVEL,
            flags.REVISION,
            switch("skip-controlplane"),
        )
    ),
    ("experimental", "proxy-status"): Refused(effect="is an older form", instead="Write: `istioctl proxy-status`"),
    ("experimental", "version"): Refused(effect="is an older form", instead="Write: `istioctl version`"),
    ("experimental", "workload"): Group(),
    ("experimental", "workload", "entry"): Group(),
    ("experimental", "workload", "entry", "configure"): _WORKLOAD,
    ("experimental", "workload", "group"): Group(),
    ("experimental", "workload", "group", "create"): _WORKLOAD,
    ("help",): Offered(operands=(0, 4), operand=Operand.WORD),
    ("install",): _INSTALLS,
    ("kube-inject",): Offered(
        flags=(
            flags.MANIFEST,
            flags.REVISION,
        )
    ),
    ("manifest",): Group(),
    **{("manifest", what): _INSTALLS for what in ("generate", "install", "translate")},
    ("proxy-config",): Group(),
    ("proxy-config", "all"): Offered(
        flags=(
            value("address"), value("direction"), value("fqdn"), value("name"), flags.PORT, value("subset"),
            value("type"), switch("verbose"), switch("with-headers"), *_DUMP,
        ),
        operands=_POD,
        in_place="file",
    ),
    ("proxy-config", "bootstrap"): Offered(flags=_DUMP, operands=_POD, in_place="file"),
    ("proxy-config", "cluster"): Offered(
        flags=(value("direction"), value("fqdn"), flags.PORT, value("subset"), *_DUMP),
        operands=_POD,
        in_place="file",
    ),
    ("proxy-config", "ecds"): Offered(flags=_DUMP, operands=_POD, in_place="file"),
    ("proxy-config", "endpoint"): Offered(
        flags=(value("address"), value("cluster"), flags.PORT, value("status"), *_DUMP),
        operands=_POD,
        in_place="file",
    ),
    ("proxy-config", "listener"): Offered(
        flags=(value("address"), flags.PORT, value("type"), switch("verbose"), *_DUMP),
        operands=_POD,
        in_place="file",
    ),
    ("proxy-config", "log"): Offered(
        flags=(
            value("level", like=r"([a-z0-9_]{1,40}[:=])?[a-z]{3,8}(,([a-z0-9_]{1,40}[:=])?[a-z]{3,8}){0,15}"),
            switch("reset", "r"),
            flags.SELECTOR,
        ),
        operands=_POD,
        in_place="selector",
    ),
    ("proxy-config", "rootca-compare"): Offered(operands=(2, 2)),
    ("proxy-config", "route"): Offered(
        flags=(value("name"), switch("verbose"), *_DUMP), operands=_POD, in_place="file"
    ),
    ("proxy-config", "secret"): Offered(flags=_DUMP, operands=_POD, in_place="file"),
    ("proxy-status",): Offered(
        flags=(
            one_of("output", "o", values=("json", "yaml", "table")),
            flags.REVISION,
            flags.TIMEOUT,
            one_of("verbosity", "v", values=("0", "1")),
        ),
        operands=(0, 1),
    ),
    ("remote-clusters",): Offered(flags=(flags.REVISION,)),
    ("tag",): Group(),
    ("tag", "generate"): _TAGS,
    ("tag", "list"): Offered(flags=(one_of("output", "o", values=("table", "json", "yaml")),)),
    ("tag", "remove"): _TAGS,
    ("tag", "set"): _TAGS,
    ("uninstall",): _INSTALLS,
    ("upgrade",): _INSTALLS,
    ("validate",): Offered(
        flags=(
            flags.MANIFEST,
        )
    ),
    ("version",): Offered(
        flags=(one_of("output", "o", values=("json", "yaml")), switch("remote"), flags.REVISION, switch("short", "s"))
    ),
    ("waypoint",): Group(),
    ("waypoint", "apply"): _WAYPOINT,
    ("waypoint", "delete"): _WAYPOINT,
    ("waypoint", "generate"): Offered(
        flags=(
            one_of("for", values=("all", "none", "service", "workload")),
            value("name", like=r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"),
            flags.REVISION,
        )
    ),
    ("waypoint", "list"): Offered(flags=(switch("all-namespaces", "A"),)),
    ("waypoint", "status"): _WAYPOINT,
    ("ztunnel-config",): _AMBIENT,
    **{
        ("ztunnel-config", what): _AMBIENT
        for what in ("all", "certificate", "connections", "log", "policy", "service", "workload")
    },
}  # fmt: skip

ALIASES: Final[dict[Path, tuple[str, ...]]] = {
    ("admin",): ("istiod",),
    ("admin", "log"): ("l",),
    ("dashboard",): ("dash", "d"),
    ("experimental",): ("x", "exp"),
    ("experimental", "describe"): ("des",),
    ("experimental", "describe", "pod"): ("po",),
    ("experimental", "describe", "service"): ("svc",),
    ("experimental", "envoy-stats"): ("es",),
    ("experimental", "metrics"): ("m",),
    ("experimental", "proxy-status"): ("ps",),
    ("install",): ("apply",),
    ("manifest", "install"): ("apply",),
    ("proxy-config",): ("pc",),
    ("proxy-config", "all"): ("a",),
    ("proxy-config", "bootstrap"): ("b",),
    ("proxy-config", "cluster"): ("clusters", "c"),
    ("proxy-config", "ecds"): ("ec",),
    ("proxy-config", "endpoint"): ("endpoints", "ep"),
    ("proxy-config", "listener"): ("listeners", "l"),
    ("proxy-config", "log"): ("o",),
    ("proxy-config", "rootca-compare"): ("rc",),
    ("proxy-config", "route"): ("routes", "r"),
    ("proxy-config", "secret"): ("secrets", "s"),
    ("proxy-status",): ("ps",),
    ("tag", "list"): ("show",),
    ("tag", "remove"): ("delete",),
    ("validate",): ("v",),
    ("ztunnel-config",): ("zc",),
    ("ztunnel-config", "certificate"): ("certificates", "certs", "cert"),
    ("ztunnel-config", "connections"): ("cons",),
    ("ztunnel-config", "log"): ("o",),
    ("ztunnel-config", "policy"): ("policies", "p", "pol"),
    ("ztunnel-config", "service"): ("services", "s", "svc"),
    ("ztunnel-config", "workload"): ("w", "workloads"),
}

_NAMED: Final = {path: path for path in SUBCOMMANDS} | {
    (*path[:-1], alias): path for path, aliases in ALIASES.items() for alias in aliases
}


def next_path(path: Path, word: str) -> Path | None:
    """The subcommand that ``word`` names after ``path``; None when there is none."""
    return _NAMED.get((*path, word))


def find_path(plain: Iterable[str]) -> Path:
    """The subcommand at the start of the words that are no flags; empty when there is none."""
    path: Path = ()
    for word in plain:
        longer = next_path(path, word)
        if longer is None:
            break
        path = longer
    return path


def words_after(path: Path) -> tuple[str, ...]:
    """The words that may follow ``path``, without aliases."""
    longer = (each for each in SUBCOMMANDS if each[: len(path)] == path and len(each) > len(path))
    return tuple(sorted({each[len(path)] for each in longer}))
