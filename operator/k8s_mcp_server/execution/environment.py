"""The environment of each process: made from nothing, so that nothing of the server's own can be in it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from k8s_mcp_server.execution.workdir import AUTHORITIES, REGISTRIES, REPOSITORIES
from k8s_mcp_server.gateway.connect.exchange import PROXY_USER
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from k8s_mcp_server.execution.pipeline import ChartAccess
    from k8s_mcp_server.execution.workdir import Workdir

GOGC: Final = "400"  # short-lived programs spend a fifth of their time collecting garbage at Go's default of 100
_MEMORY_LIMIT_SHARE: Final = 0.7  # of the command's memory: from there on Go collects rather than fail
_COMMON: Final = {"PATH": "/nonexistent", "LANG": "C.UTF-8", "TERM": "dumb"}
# A server may redirect a CLI to any host. Go asks no proxy about loopback, where the gateway is; all else ends here:
# nothing can be connected to at port 0 (net/http/transport.go, ProxyFromEnvironment).
_NOWHERE: Final = "http://127.0.0.1:0"
_GATEWAY_ONLY: Final = {"HTTP_PROXY": _NOWHERE, "HTTPS_PROXY": _NOWHERE}
_OWN: Final[Mapping[str, Mapping[str, str]]] = {  # what only one CLI reads
    Tool.KUBECTL: {"KUBERC": "off", "KUBECTL_KUBERC": "false"},
    Tool.HELM: {"HELM_NO_PLUGINS": "1", "NO_COLOR": "1"},
    Tool.ISTIOCTL: {"NO_COLOR": "1"},
}


def cli_environment(
    name: str,
    *,
    workdir: Workdir,
    discovery_cache: Path | None,
    memory_bytes: int,
    signals_confined: bool,
    diff_program: Path | None = None,
) -> dict[str, str]:
    """For a bundled CLI: its home, its kubeconfig, and no preferences or plugins of anybody.

    Args:
        name: of the CLI.
        workdir: the command's private folders.
        discovery_cache: a folder of what the API server serves, which the command may read only; by default it
            makes its own.
        memory_bytes: the command's memory limit.
        signals_confined: whether a process may signal itself, by which Go's runtime interrupts its own threads.
        diff_program: what ``kubectl diff`` starts; None leaves it without one.
    """
    return {
        **_COMMON,
        **_GATEWAY_ONLY,
        "HOME": str(workdir.home),
        "TMPDIR": str(workdir.temporary),
        "KUBECONFIG": str(workdir.kubeconfig),
        "KUBECACHEDIR": str(discovery_cache or workdir.home / "cache"),
        **_go(memory_bytes=memory_bytes, signals_confined=signals_confined),
        **_difference(diff_program),
        **_OWN.get(name, {}),
    }


def chart_environment(workdir: Workdir, charts: ChartAccess) -> dict[str, str]:
    """For a helm that may reach chart hosts: through the gateway, with the command's own token, and not past it."""
    folder, access = workdir.charts(charts), workdir.access
    gateway = urlsplit(access.server_url).netloc if access else ""
    proxy = f"https://{PROXY_USER}:{access.token}@{gateway}" if access else ""
    return {
        "HELM_REPOSITORY_CONFIG": str(folder / REPOSITORIES),
        "HELM_REGISTRY_CONFIG": str(folder / REGISTRIES),
        "HELM_REPOSITORY_CACHE": str(charts.cache / "repository"),
        "HELM_CONTENT_CACHE": str(charts.cache / "content"),
        "SSL_CERT_FILE": str(folder / AUTHORITIES),
        "HTTPS_PROXY": proxy,
    }


def argocd_environment(
    workdir: Workdir, *, memory_bytes: int, signals_confined: bool, diff_program: Path | None = None
) -> dict[str, str]:
    """For argocd: the gateway as its server, over gRPC-web, with the command's own token; nothing of Kubernetes.

    Its folder for temporary files is named relative to the one that it works in, because the path of a Unix socket is
    short (108 bytes, unix(7)).
    """
    access = workdir.access
    server = (
        {}
        if access is None
        else {
            "ARGOCD_SERVER": urlsplit(access.server_url).netloc,
            "ARGOCD_AUTH_TOKEN": access.token,
            "ARGOCD_OPTS": shlex.join(["--grpc-web", f"--server-crt={workdir.authority}"]),
        }
    )
    return {
        **_COMMON,
        **_GATEWAY_ONLY,
        "HOME": str(workdir.home),
        "TMPDIR": workdir.temporary_from_work,
        **_go(memory_bytes=memory_bytes, signals_confined=signals_confined),
        **_difference(diff_program),
        **server,
    }


def go_filter_environment(*, memory_bytes: int, signals_confined: bool) -> dict[str, str]:
    """For a text filter that is a program of Go's."""
    return {**_COMMON, **_go(memory_bytes=memory_bytes, signals_confined=signals_confined)}


def _difference(program: Path | None) -> dict[str, str]:
    return {"KUBECTL_EXTERNAL_DIFF": f"{program} -u -N"} if program else {}


def _go(*, memory_bytes: int, signals_confined: bool) -> dict[str, str]:
    interruptions = {} if signals_confined else {"GODEBUG": "asyncpreemptoff=1"}
    return {
        "GOGC": GOGC,
        "GOMEMLIMIT": str(int(memory_bytes * _MEMORY_LIMIT_SHARE)),
        "GOTRACEBACK": "none",  # a crash is one line, not a page of stacks
        **interruptions,
    }


def filter_environment(temporary: Path | None = None) -> dict[str, str]:
    """For a text filter; ``temporary`` is where ``sort`` may put what does not fit into memory."""
    return {**_COMMON, "TMPDIR": str(temporary)} if temporary else dict(_COMMON)
