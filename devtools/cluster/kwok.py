"""A cluster of our own: etcd and the real Kubernetes control plane as local processes; only its nodes are simulated.

Tests and the demo start it. Several run side by side; everything of one lives in one folder, which goes with it.
"""

from __future__ import annotations

import atexit
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from devtools.cluster import kwokctl
from devtools.cluster.base import TestCluster
from devtools.cluster.errors import ClusterError
from devtools.cluster.guard import Guard
from devtools.cluster.ports import free_ports
from devtools.cluster.processes import cluster_processes, remove_cluster
from devtools.cluster.switches import Switches
from devtools.toolchain import ensure_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_START_SECONDS = 120
_POLL_SECONDS = 0.2
_ATTEMPTS = 3
_MARKER = "kwokctl.yaml"
_PORT_TAKEN = b"address already in use"
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,38}[a-z0-9])?")


class KwokCluster(TestCluster):
    """A running cluster; `start` makes one."""

    def __init__(self, *, name: str, workdir: Path, binaries: Mapping[str, Path], keep: bool) -> None:
        self.name = name
        self.workdir = workdir
        """The folder of the cluster, removed with it."""
        self._folder = workdir / "kwok" / "clusters" / name
        self._binaries = binaries
        self._keep = keep
        self._guard: Guard | None = None
        self._stopped = False
        super().__init__(
            kubectl=binaries["kubectl"],
            kubeconfig=workdir / "kubeconfig",
            server_url="",
            ca_file=self._folder / "pki" / "ca.crt",
            audit_log=self._folder / "logs" / "audit.log",
            # Components inherit it, and what `kubectl exec` runs does too: nothing of the caller's is in it.
            environment={
                "PATH": f"{workdir / 'path'}:/usr/bin:/bin",
                "HOME": str(workdir),
                "KWOK_WORKDIR": str(workdir / "kwok"),
            },
        )

    @classmethod
    def start(
        cls,
        *,
        name: str | None = None,
        nodes: int = 2,
        workdir: Path | None = None,
        exec_on_host: bool = False,
        forwards: kwokctl.Forwards | None = None,
        keep: bool | None = None,
        binaries: Mapping[str, Path] | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Self:
        """Start a cluster and return it when its API server is ready and its nodes are there.

        `name` is a DNS label of at most 40 characters. `workdir` doesn't exist yet, is empty, or holds what is left
        of a cluster that doesn't run any more. `exec_on_host` makes `kubectl exec` run the command on this machine
        as this user, the only way that KWOK has to answer it. `forwards` says where
        port-forwards to pods lead. `keep` leaves the cluster running at `stop`
        (default: `K8S_SKIP_CLEANUP`). `binaries` are the paths of `kwokctl.COMPONENTS` (default: `ensure_tools`, of the
        release that `K8S_MCP_TEST_KUBERNETES` chooses).

        Raises:
            ClusterError: it didn't start within its time; nothing of it is left.
            ToolchainError: a binary can't be had.
        """
        report = on_progress or (lambda _: None)
        name = "test" if name is None else name
        if _NAME.fullmatch(name) is None:
            raise ClusterError(f"{name!r} is no name for a cluster: at most 40 of a-z, 0-9 and -")
        switches = Switches.from_environment()
        binaries = _binaries(switches) if binaries is None else binaries
        keep = switches.skip_cleanup if keep is None else keep
        cluster = cls(name=name, workdir=_claim(workdir), binaries=binaries, keep=keep)
        try:
            cluster._start(nodes=nodes, exec_on_host=exec_on_host, forwards=forwards, report=report)
        except BaseException:
            cluster._remove()
            raise
        return cluster

    def stop(self) -> None:
        """Remove the cluster, or say how to reach and delete it when it is to be kept. May be called twice."""
        if not self._keep:
            self._remove()
        elif not self._stopped:
            self._stopped = True
            print(f"kept: cluster {self.name}: kubectl --kubeconfig {self.kubeconfig} get pods -A")
            print(f"      delete it: python3 -m devtools.cluster delete {self.workdir}")

    def _start(
        self, *, nodes: int, exec_on_host: bool, forwards: kwokctl.Forwards | None, report: Callable[[str], None]
    ) -> None:
        began = time.monotonic()
        if not self._keep:
            self._guard = Guard(self.workdir)
            atexit.register(self._remove)
        audit_policy, log_file = self.workdir / "audit-policy.yaml", self.workdir / "simulated" / "container.log"
        log_file.parent.mkdir()
        (self.workdir / "path").mkdir()
        (self.workdir / "path" / "kubectl").symlink_to(self._binaries["kubectl"])  # kwokctl takes the first on PATH
        log_file.write_text(kwokctl.container_log(), encoding="utf-8")
        audit_policy.write_text(kwokctl.audit_policy(), encoding="utf-8")
        report("starting etcd, API server, controller manager, scheduler and simulated nodes")
        for attempt in range(1, _ATTEMPTS + 1):
            ports = free_ports(len(kwokctl.PORTS))
            configuration = kwokctl.configuration(
                binaries=self._binaries,
                ports=ports,
                audit_policy=audit_policy,
                log_file=log_file,
                exec_on_host=exec_on_host,
                forwards=forwards,
            )
            (self.workdir / _MARKER).write_text(configuration, encoding="utf-8")
            self.server_url = f"https://127.0.0.1:{ports[0]}"
            try:
                self._create(nodes)
                break
            except ClusterError as error:
                # Between choosing a port and listening on it, another process may take it.
                if attempt == _ATTEMPTS or not self._port_is_taken():
                    raise ClusterError(f"{error}\n{self._logs()}") from error
                remove_cluster(self.workdir / "kwok")
        if self._guard is not None:
            self._guard.check()
        report(f"ready after {time.monotonic() - began:.1f} s: {self.server_url}")

    def _create(self, nodes: int) -> None:
        limits = (f"--timeout={_START_SECONDS}s", f"--wait={_START_SECONDS}s")
        self._kwokctl("create", "cluster", "--name", self.name, "--kubeconfig", str(self.kubeconfig), *limits)
        self.kubectl("get", "--raw", "/readyz")
        if nodes:
            self._kwokctl("--name", self.name, "scale", "node", f"--replicas={nodes}")
            ready = ("wait", "node", "--all", "--for=condition=Ready", f"--timeout={_START_SECONDS}s")
            self._watched(self._binaries["kubectl"], "--kubeconfig", str(self.kubeconfig), *ready)

    def _kwokctl(self, *arguments: str) -> None:
        self._watched(self._binaries["kwokctl"], "--config", str(self.workdir / _MARKER), *arguments)

    def _watched(self, program: Path, *arguments: str) -> None:
        """Run a step of the start. It would wait its whole time for a component that found its port taken."""
        step = f"{program.name} {' '.join(arguments)}"
        deadline = time.monotonic() + _START_SECONDS + 10
        with subprocess.Popen(
            [str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
        ) as process:
            try:
                while (output := _output(process)) is None:
                    if self._port_is_taken() or time.monotonic() > deadline:
                        process.kill()
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise ClusterError(f"{step}: exit code {process.returncode}: {output.strip()}")

    def _port_is_taken(self) -> bool:
        logs = (self._folder / "logs").glob("*.log")
        return any(_PORT_TAKEN in log.read_bytes() for log in logs if log != self.audit_log)

    def _logs(self) -> str:
        """The last lines of every component's log, for an error."""
        logs = sorted(log for log in (self._folder / "logs").glob("*.log") if log != self.audit_log)
        tails = (log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:] for log in logs)
        return "\n".join(line for log, tail in zip(logs, tails, strict=True) for line in (f"--- {log.name}", *tail))

    def _remove(self) -> None:
        if self._stopped:
            return
        remove_cluster(self.workdir)
        self._stopped = True
        atexit.unregister(self._remove)
        if self._guard is not None:
            self._guard.release()


def _binaries(switches: Switches) -> Mapping[str, Path]:
    """The components, those of the API server's release from the oldest one where that is asked for."""
    of_release = {name: f"{name}-oldest" for name in kwokctl.CONTROL_PLANE} if switches.use_oldest else {}
    built = ensure_tools([of_release.get(name, name) for name in kwokctl.COMPONENTS])
    return {name: built[of_release.get(name, name)] for name in kwokctl.COMPONENTS}


def _output(process: subprocess.Popen[str]) -> str | None:
    """What the process printed, or None while it runs."""
    try:
        return process.communicate(timeout=_POLL_SECONDS)[0]
    except subprocess.TimeoutExpired:
        return None


def _claim(workdir: Path | None) -> Path:
    """Return an empty folder for a cluster; what an earlier cluster left in it is removed, other things aren't."""
    if workdir is None:
        return Path(tempfile.mkdtemp(prefix="k8s-mcp-kwok-")).resolve()
    workdir = workdir.resolve()
    if (workdir / _MARKER).exists():
        if cluster_processes(workdir):
            delete = f"python3 -m devtools.cluster delete {workdir}"
            raise ClusterError(f"a cluster is running in {workdir}; stop its owner, or: {delete}")
        remove_cluster(workdir)
    workdir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(workdir.iterdir()):
        raise ClusterError(f"{workdir} has other things in it; a cluster needs a folder of its own")
    return workdir


def delete_cluster(workdir: Path) -> None:
    """Remove a cluster that was kept. Raises ClusterError when `workdir` isn't the folder of one."""
    workdir = workdir.resolve()
    if not (workdir / _MARKER).exists():
        raise ClusterError(f"{workdir} isn't the folder of a cluster")
    remove_cluster(workdir)
