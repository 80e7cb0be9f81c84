"""Which binaries there are, from which Go module and package each is built, and how its version is stamped.

No version is written here: `GoTool.version` reads the tool's go.mod. A tool is added by a folder under `tools/`
(`go mod init`, `go get -tool PACKAGE@VERSION`, `go mod tidy`) and a line in `catalog()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.toolchain.errors import ToolchainError
from devtools.toolchain.gomod import required_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TOOLS_DIR = Path(__file__).resolve().parents[2] / "tools"
"""The folder of Go modules, one per tool."""

_COMPONENT_BASE = "k8s.io/component-base/version"
_KUBERNETES_STAMPS = (
    f"{_COMPONENT_BASE}.gitVersion=v{{version}}",
    f"{_COMPONENT_BASE}.gitMajor={{major}}",
    f"{_COMPONENT_BASE}.gitMinor={{minor}}",
    f"{_COMPONENT_BASE}.gitTreeState=clean",
    f"{_COMPONENT_BASE}.gitCommit=",
    "k8s.io/client-go/pkg/version.gitVersion=v{version}",
    "k8s.io/client-go/pkg/version.gitMajor={major}",
    "k8s.io/client-go/pkg/version.gitMinor={minor}",
    "k8s.io/client-go/pkg/version.gitTreeState=clean",
    "k8s.io/client-go/pkg/version.gitCommit=",
)
_ISTIO_RELEASE = "1.31.0"  # Istio's release tags have no `v`, so its go.mod can only name a commit
_ISTIO_STAMPS = (
    "istio.io/istio/pkg/version.buildVersion={version}",
    "istio.io/istio/pkg/version.buildTag={version}",
    "istio.io/istio/pkg/version.buildStatus=Clean",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoTool:
    """One binary that `go build` makes.

    `stamps` are linker `-X` values; `{version}`, `{major}` and `{minor}` are filled in from the go.mod. `tags` are
    build tags.
    `version_args` make the binary print its version. `release` is what the project calls this commit, where its
    releases are no module versions. `only_e2e`: neither the demo nor most of `make test` needs it; a test that does
    names it. `on_request`: built for those only who name it.
    """

    name: str
    folder: Path
    package: str
    source: str
    stamps: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    version_args: tuple[str, ...] = ("--version",)
    release: str = ""
    only_e2e: bool = False
    on_request: bool = False

    @property
    def module_version(self) -> str:
        """The version without its `v`, from the go.mod; raises ToolchainError."""
        return required_version(self.folder / "go.mod", self.source).removeprefix("v")

    @property
    def version(self) -> str:
        """What the binary says it is; raises ToolchainError."""
        return self.release or self.module_version

    def linker_flags(self) -> str:
        """The value of `-ldflags`: stripped, with the version where the program looks for it."""
        version = self.version
        major, minor, *_ = [*version.split("."), "0"]
        values = (stamp.format(version=version, major=major, minor=minor) for stamp in self.stamps)
        return " ".join(["-s", "-w", *(f"-X {value}" for value in values)])


def catalog(tools_dir: Path = TOOLS_DIR) -> Mapping[str, GoTool]:
    """Return every known tool by name, in the order that builds them best (the shared packages first)."""
    tools = [
        *_cluster(tools_dir),
        *_clis(tools_dir),
        *_node(tools_dir),
        *_oldest(tools_dir),
        *_registry(tools_dir),
        *_checkers(tools_dir),
    ]
    return {tool.name: tool for tool in tools}


def _cluster(tools_dir: Path) -> list[GoTool]:
    """The test cluster, and kubectl, which is built from the same module."""
    kwok_stamps = ("sigs.k8s.io/kwok/pkg/consts.Version={version}",)
    return [
        GoTool(
            name="etcd",
            folder=tools_dir / "etcd",
            package="go.etcd.io/etcd/server/v3",
            source="go.etcd.io/etcd/server/v3",
        ),
        *(
            GoTool(
                name=name,
                folder=tools_dir / "kubernetes",
                package=f"k8s.io/kubernetes/cmd/{name}",
                source="k8s.io/kubernetes",
                stamps=_KUBERNETES_STAMPS,
                version_args=("version", "--client") if name == "kubectl" else ("--version",),
            )
            for name in ("kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
        ),
        *(
            GoTool(
                name=name,
                folder=tools_dir / "kwok",
                package=f"sigs.k8s.io/kwok/cmd/{name}",
                source="sigs.k8s.io/kwok",
                stamps=kwok_stamps,
            )
            for name in ("kwok", "kwokctl")
        ),
    ]


def _clis(tools_dir: Path) -> list[GoTool]:
    """The other CLIs that the service bundles, the control planes that they talk to, and the one filter to build."""
    return [
        GoTool(
            name="yq",
            folder=tools_dir / "yq",
            package="github.com/mikefarah/yq/v4",
            source="github.com/mikefarah/yq/v4",
        ),
        GoTool(
            name="helm",
            folder=tools_dir / "helm",
            package="helm.sh/helm/v4/cmd/helm",
            source="helm.sh/helm/v4",
            stamps=("helm.sh/helm/v4/internal/version.version=v{version}",),
            version_args=("version", "--short"),
        ),
        *(
            GoTool(
                name=name,
                folder=tools_dir / "istio",
                package=f"istio.io/istio/{package}",
                source="istio.io/istio",
                stamps=_ISTIO_STAMPS,
                version_args=version_args,
                release=_ISTIO_RELEASE,
                only_e2e=True,
            )
            for name, package, version_args in (
                ("istioctl", "istioctl/cmd/istioctl", ("version", "--remote=false")),
                ("pilot-discovery", "pilot/cmd/pilot-discovery", ("version", "--short")),
            )
        ),
        GoTool(
            name="argocd",  # by another name the same binary is argocd-server, argocd-repo-server, …
            folder=tools_dir / "argocd",
            package="github.com/argoproj/argo-cd/v3/cmd",
            source="github.com/argoproj/argo-cd/v3",
            stamps=("github.com/argoproj/argo-cd/v3/common.version={version}",),
            version_args=("version", "--client", "--short"),
            only_e2e=True,
        ),
    ]


def _registry(tools_dir: Path) -> list[GoTool]:
    """An OCI registry, for charts."""
    return [
        GoTool(
            name="registry",
            folder=tools_dir / "registry",
            package="k8s-mcp.io/tools/registry",  # a main.go of our own, without the clients of every cloud
            source="github.com/distribution/distribution/v3",
            stamps=("github.com/distribution/distribution/v3/version.version=v{version}",),
            only_e2e=True,
        )
    ]


def _node(tools_dir: Path) -> list[GoTool]:
    """What a real node runs, beside Debian's runc and CNI plugins."""
    containerd = "github.com/containerd/containerd/v2"
    coredns = "github.com/coredns/coredns"
    return [
        *(
            GoTool(
                name=name,
                folder=tools_dir / "node",
                package=f"k8s.io/kubernetes/cmd/{name}",
                source="k8s.io/kubernetes",
                stamps=_KUBERNETES_STAMPS,
                only_e2e=True,
            )
            for name in ("kubelet", "kube-proxy")
        ),
        *(
            GoTool(
                name=name,
                folder=tools_dir / "containerd",
                package=f"{containerd}/cmd/{name}",
                source=containerd,
                stamps=(f"{containerd}/version.Version=v{{version}}",),
                tags=("no_btrfs", "no_devmapper", "no_zfs", "no_tracing"),  # what this node has no use for
                version_args=("-v",) if name == "containerd-shim-runc-v2" else ("--version",),
                only_e2e=True,
            )
            for name in ("containerd", "containerd-shim-runc-v2", "ctr")
        ),
        GoTool(
            name="coredns",
            folder=tools_dir / "coredns",
            package="k8s-mcp.io/tools/coredns",  # a main.go of our own that names the few plugins needed
            source=coredns,
            version_args=("-version",),
            only_e2e=True,
        ),
    ]


def _oldest(tools_dir: Path) -> list[GoTool]:
    """The control plane of the oldest Kubernetes release that the service supports."""
    return [
        GoTool(
            name=f"{name}-oldest",
            folder=tools_dir / "kubernetes-oldest",
            package=f"k8s.io/kubernetes/cmd/{name}",
            source="k8s.io/kubernetes",
            stamps=_KUBERNETES_STAMPS,
            on_request=True,
        )
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ]


def _checkers(tools_dir: Path) -> list[GoTool]:
    """What checks the workflows, and the manifests in its own project's words."""
    return [
        GoTool(
            name="actionlint",
            folder=tools_dir / "actionlint",
            package="github.com/rhysd/actionlint/cmd/actionlint",
            source="github.com/rhysd/actionlint",
            stamps=("github.com/rhysd/actionlint.version={version}",),
            version_args=("-version",),
            only_e2e=True,
        ),
        GoTool(
            name="promtool",
            folder=tools_dir / "prometheus",
            package="github.com/prometheus/prometheus/cmd/promtool",
            source="github.com/prometheus/prometheus",
            stamps=("github.com/prometheus/common/version.Version={version}",),
            tags=("remove_all_sd",),  # the clients of every cloud: half of the build
            only_e2e=True,
        ),
    ]


def select(names: Iterable[str], *, e2e: bool = False, tools_dir: Path = TOOLS_DIR) -> list[GoTool]:
    """Return the named tools, each once, in the catalog's order; no names mean those of the demo and the tests.

    With `e2e`, no names mean those of `make e2e`, too.

    Raises:
        ToolchainError: a name isn't in the catalog.
    """
    known = catalog(tools_dir)
    usual = {name for name, tool in known.items() if not tool.on_request and (e2e or not tool.only_e2e)}
    wanted = set(names) or usual
    if unknown := sorted(wanted - set(known)):
        raise ToolchainError(f"no tool is called {', '.join(unknown)}; there are {', '.join(known)}")
    return [tool for name, tool in known.items() if name in wanted]
