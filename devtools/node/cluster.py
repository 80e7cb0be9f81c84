"""A cluster whose one node is real: starts it, reaches into it, ends it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from devtools.cluster import TestCluster
from devtools.node import machine, machine_side
from devtools.node.components import TOOLS, files, objects
from devtools.node.errors import NodeError
from devtools.node.layout import DOMAIN, Layout
from devtools.node.pause import pause_image
from devtools.node.pki import Authority
from devtools.toolchain import ensure_tools

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT: Final = Path(__file__).resolve().parents[2]
_START_SECONDS: Final = 180.0
_COMMAND_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.1
_PID_FILE: Final = "namespaces.pid"
_NAMESPACES: Final = ("--net", "--mount", "--pid", "--ipc", "--uts", "--mount-proc")


class NodeCluster(TestCluster):
    """A running cluster with a real node; `start` makes one, `attach` takes one that `start` left running."""

    def __init__(self, layout: Layout, *, process: subprocess.Popen[bytes] | None, pid: int) -> None:
        self.layout = layout
        self._process = process
        self._pid = pid
        super().__init__(
            kubectl=layout.tools / "kubectl",
            kubeconfig=layout.root / "kubeconfig",
            server_url=layout.server_url,
            ca_file=layout.pki / "ca.crt",
            audit_log=layout.audit_log,
            environment={"PATH": os.defpath, "HOME": str(layout.root)},
        )

    @classmethod
    def start(
        cls,
        *,
        root: Path | None = None,
        stays: bool = False,
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Start a cluster and return it when its node is ready.

        `root` doesn't exist yet or is empty. With `stays` the node runs on when this process ends.

        Raises:
            NodeError: this machine can't run a node, or it wasn't ready in time; nothing of it is left.
            ToolchainError: a binary can't be had.
        """
        if (why := machine.why_impossible()) is not None:
            raise NodeError(why)
        machine.install_packages()
        slot, lock = machine_side.claim_slot()
        try:
            layout = _lay_out(slot, root=root)
            machine_side.sweep(layout)
            process = _unshare(layout, lock=lock, stays=stays)
        finally:
            os.close(lock)  # the process has inherited it
        try:
            cluster = cls(layout, process=process, pid=_first_inside(process))
            cluster._bring_up(on_progress)
        except BaseException:
            _take_down(layout, process=process)
            raise
        return cluster

    @classmethod
    def attach(cls, root: Path) -> Self:
        """Return the node that was left running in `root`. Raises NodeError when there is none."""
        try:
            layout = Layout.read(root / "layout.json")
            pid = int((root / _PID_FILE).read_text("ascii"))
        except OSError as error:
            raise NodeError(f"there is no node in {root}") from error
        return cls(layout, process=None, pid=pid)

    def stop(self) -> None:
        """End the node and remove everything of it. May be called twice."""
        machine_side.end_process(self._pid)
        _take_down(self.layout, process=self._process)

    def run(
        self, *command: str, check: bool = True, timeout_seconds: float = _COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the node's namespaces, as its root: `ctr`, `nft`, `kill`, …

        Raises:
            NodeError: it didn't end in time, or (with `check`) left with another code than 0.
        """
        shown = " ".join(command)
        try:
            done = subprocess.run(
                self.command_inside(*command),
                env={
                    **self._environment,
                    "PATH": f"{self.layout.tools}:{os.environ.get('PATH', os.defpath)}:/usr/sbin",
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NodeError(f"{shown}: no end after {timeout_seconds:g} s") from error
        if check and done.returncode != 0:
            raise NodeError(f"{shown}: exit code {done.returncode}: {done.stderr.strip()}")
        return done

    def command_inside(self, *command: str) -> list[str]:
        """Return the command line that runs `command` in the node's namespaces."""
        enter = ["nsenter", f"--target={self._pid}", "--net", "--mount", "--pid", "--ipc", "--uts"]
        return [*enter, f"--wd={_ROOT}", "--", *command]

    def import_image(self, archive: Path) -> None:
        """Give the node the images of an archive, under the names that they have in it. Raises NodeError."""
        self.run("ctr", "--namespace=k8s.io", "images", "import", str(archive))

    def kill(self, component: str) -> None:
        """Kill a component (SIGKILL); it is started again at once. Raises NodeError."""
        pid = (self.layout.pids / component).read_text("ascii")
        self.run("kill", "-KILL", pid)

    def _bring_up(self, report: Callable[[str], None]) -> None:
        began = time.monotonic()
        machine_side.connect(self.layout, pid=self._pid)
        (self.layout.root / _PID_FILE).write_text(str(self._pid), encoding="ascii")
        deadline = began + _START_SECONDS
        report("starting control plane, containerd and kubelet")
        archive = pause_image(self.layout.root)
        self._until(deadline, lambda: self.run("ctr", "version", check=False).returncode == 0, what="containerd")
        self.import_image(archive)
        ready = ("get", "--raw", "/readyz")
        self._until(deadline, lambda: self.kubectl(*ready, check=False).returncode == 0, what="kube-apiserver")
        self.kubectl("apply", "--server-side", "-f", "-", input=objects(self.layout))
        node = f"node/{self.layout.name}"
        for condition in ("create", "condition=Ready"):
            left = max(1, int(deadline - time.monotonic()))
            self.kubectl("wait", node, f"--for={condition}", f"--timeout={left}s", timeout_seconds=left + 10)
        report(f"node ready after {time.monotonic() - began:.1f} s")

    def _until(self, deadline: float, holds: Callable[[], bool], *, what: str) -> None:
        while not holds():
            if time.monotonic() > deadline or (self._process is not None and self._process.poll() is not None):
                raise NodeError(f"{what} doesn't answer\n{_log_ends(self.layout)}")
            time.sleep(_POLL_SECONDS)


def _lay_out(slot: int, *, root: Path | None) -> Layout:
    """Write everything that the node needs before its first process."""
    tools = ensure_tools(TOOLS)
    root = Path(tempfile.mkdtemp(prefix="k8s-mcp-node-", dir="/var/tmp")) if root is None else root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    if any(root.iterdir()):
        raise NodeError(f"{root} has other things in it; a node needs a folder of its own")
    runc, cni = machine.find_command("runc"), machine.cni_folder()
    if runc is None or cni is None:
        raise NodeError("runc or the CNI plugins are not there")
    layout = Layout(slot=slot, root=root, tools=root / "bin", cni=cni, runc=Path(runc))
    for folder in (layout.tools, layout.configuration, layout.logs, layout.pids, layout.seccomp):
        folder.mkdir(parents=True)
    for name, path in tools.items():
        (layout.tools / name).symlink_to(path)
    for name, text in files(layout).items():
        (layout.configuration / name).write_text(text, encoding="utf-8")
    _write_identities(layout)
    layout.write()
    return layout


def _write_identities(layout: Layout) -> None:
    authority = Authority(layout.pki)
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}"]
    authority.issue(
        "kube-apiserver",
        common_name="kube-apiserver",
        organization="system:masters",  # as a client of the kubelet
        hosts=[layout.address, layout.api_service, "127.0.0.1", "localhost", *names],
    )
    authority.issue(
        "kubelet",
        common_name=f"system:node:{layout.name}",
        organization="system:nodes",
        hosts=[layout.name, layout.address],
    )
    authority.issue("admin", common_name="admin", organization="system:masters")
    for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
        authority.issue(name, common_name=f"system:{name}")
    authority.issue("coredns", common_name="coredns")
    authority.write_key_pair("service-account")
    for name in ("kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"):
        authority.write_kubeconfig(layout.pki / f"{name}.kubeconfig", server=layout.server_url, identity=name)
    authority.write_kubeconfig(layout.root / "kubeconfig", server=layout.server_url, identity="admin")


def _unshare(layout: Layout, *, lock: int, stays: bool) -> subprocess.Popen[bytes]:
    """Start the namespaces: the end of the returned process, however it comes, is the end of all in them."""
    dies_with_us = [] if stays else ["setpriv", "--pdeathsig=KILL", "--"]
    first = ["catatonit", "--", sys.executable, "-m", "devtools.node.inside", str(layout.root / "layout.json")]
    with (layout.logs / "inside.log").open("ab") as log:
        return subprocess.Popen(
            [*dies_with_us, "unshare", *_NAMESPACES, "--fork", "--kill-child=KILL", "--", *first],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock],
        )


def _first_inside(process: subprocess.Popen[bytes]) -> int:
    """The process that is number 1 inside, as this machine numbers it."""
    deadline = time.monotonic() + _START_SECONDS
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None and time.monotonic() < deadline:
        if found := children.read_text("ascii").split():
            return int(found[0])
        time.sleep(_POLL_SECONDS)
    raise NodeError("the node's namespaces can't be made")


def _take_down(layout: Layout, *, process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        process.kill()  # its child, number 1 inside, is killed with it
        process.wait()
    machine_side.sweep(layout)
    shutil.rmtree(layout.root, ignore_errors=True)
    if layout.root.exists():
        raise NodeError(f"can't delete {layout.root}")


def _log_ends(layout: Layout) -> str:
    logs = sorted(log for log in layout.logs.glob("*.log") if log != layout.audit_log)
    tails = (log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:] for log in logs)
    return "\n".join(line for log, tail in zip(logs, tails, strict=True) for line in (f"--- {log.name}", *tail))
