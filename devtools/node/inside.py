"""Runs in the node's namespaces as their first real process: lays out mounts, cgroups and addresses, starts the rest.

    python -m devtools.node.inside LAYOUT

Nothing that happens here is seen outside but the files under the layout's root and the node's cgroup.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from devtools.node.components import components
from devtools.node.layout import Layout
from devtools.node.supervisor import Supervisor

CABLE: Final = "cable"
"""The node's end of the cable, which the machine puts into the node's network."""

_CABLE_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_FOLDERS: Final = (
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
    "/etc/cni/net.d",
)
_SYSCTLS: Final = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What the kubelet wants to set. They are the whole machine's, so it gets files of its own in their place."""


def main() -> None:
    """Prepare the namespaces and run the components until the node is killed."""
    layout = Layout.read(Path(sys.argv[1]))
    socket.sethostname(layout.name)
    _mounts(layout)
    _cgroup(layout)
    _network(layout)
    shutil.copy(layout.configuration / "10-bridge.conflist", "/etc/cni/net.d/10-bridge.conflist")
    path = os.pathsep.join((str(layout.tools), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    environment = {"PATH": path, "HOME": str(layout.root)}
    Supervisor(
        components(layout), tools=layout.tools, logs=layout.logs, pids=layout.pids, environment=environment
    ).run()


def _mounts(layout: Layout) -> None:
    _run("mount", "--make-rshared", "/")  # volumes that a Pod mounts are seen by the container runtime
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for name in _OWN_FOLDERS:
        source = layout.root / "fs" / name.lstrip("/")
        for folder in (source, Path(name)):
            folder.mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", str(source), name)
        _run("mount", "--make-rshared", name)
    values = layout.root / "sysctl"
    values.mkdir()
    for key, value in _SYSCTLS.items():
        file = values / key.replace("/", ".")
        file.write_text(f"{value}\n", encoding="ascii")
        _run("mount", "--bind", str(file), f"/proc/sys/{key}")
    # One /proc that nothing covers: the kernel asks for it before a Pod with a user namespace may mount its own.
    uncovered = layout.root / "proc"
    uncovered.mkdir()
    _run("mount", "-t", "proc", "proc", str(uncovered))


def _cgroup(layout: Layout) -> None:
    """Make the node's cgroup, in each hierarchy (version 1) or in the one (version 2)."""
    if (_CGROUPS / "cgroup.controllers").exists():
        own = _CGROUPS / layout.name
        own.mkdir(exist_ok=True)
        wanted = " ".join(f"+{name}" for name in (_CGROUPS / "cgroup.controllers").read_text("ascii").split())
        for folder in (_CGROUPS, own):
            (folder / "cgroup.subtree_control").write_text(wanted, encoding="ascii")
        return
    for hierarchy in (folder for folder in _CGROUPS.iterdir() if folder.is_dir() and not folder.is_symlink()):
        own = hierarchy / layout.name
        own.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / name).exists():
                (own / name).write_text((hierarchy / name).read_text("ascii"), encoding="ascii")


def _network(layout: Layout) -> None:
    deadline = time.monotonic() + _CABLE_SECONDS
    while not any(name == CABLE for _, name in socket.if_nameindex()):
        if time.monotonic() > deadline:
            raise TimeoutError("the machine put no cable into the node")
        time.sleep(_POLL_SECONDS)
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "address", "add", f"{layout.address}/24", "dev", CABLE)
    _run("ip", "link", "set", CABLE, "up")
    _run("ip", "route", "add", "default", "via", layout.machine_address)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
