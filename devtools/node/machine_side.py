"""What a node leaves on the machine while it runs, and taking it away: a slot, a cable, a cgroup, empty folders."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from devtools.node.errors import NodeError
from devtools.node.inside import CABLE
from devtools.node.layout import SLOTS

if TYPE_CHECKING:
    from devtools.node.layout import Layout

_LOCKS: Final = Path("/run/lock")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_END_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05


def claim_slot() -> tuple[int, int]:
    """Return a free slot and the open lock file that keeps it: whoever inherits the descriptor holds the slot.

    Raises:
        NodeError: all slots are taken.
    """
    _LOCKS.mkdir(parents=True, exist_ok=True)
    for slot in range(SLOTS):
        descriptor = os.open(_LOCKS / f"k8smcp-node{slot}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        return slot, descriptor
    raise NodeError(f"{SLOTS} nodes run on this machine already")


def connect(layout: Layout, *, pid: int) -> None:
    """Lay the cable into the network of process `pid`, and route the node's addresses over it."""
    _ip("link", "add", layout.name, "type", "veth", "peer", "name", CABLE, "netns", str(pid))
    _ip("address", "add", f"{layout.machine_address}/24", "dev", layout.name)
    _ip("link", "set", layout.name, "up")
    _ip("route", "add", layout.network, "via", layout.address)


def sweep(layout: Layout) -> None:
    """Remove what a node of this slot left on the machine; nothing of it runs any more."""
    with contextlib.suppress(NodeError):
        _ip("link", "delete", layout.name)
    deadline = time.monotonic() + _END_SECONDS
    while own := _cgroups(layout.name):
        for cgroup in own:
            _remove_cgroup(cgroup)
        if time.monotonic() > deadline:
            raise NodeError(f"the cgroup {own[0]} can't be removed")


def end_process(pid: int) -> None:
    """Kill a process and wait until it is gone. Raises NodeError when it stays."""
    deadline = time.monotonic() + _END_SECONDS
    while Path(f"/proc/{pid}/exe").exists():  # a zombie has none
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise NodeError(f"process {pid} doesn't end")
        time.sleep(_POLL_SECONDS)


def _cgroups(name: str) -> list[Path]:
    return [folder for folder in (_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")) if folder.is_dir()]


def _remove_cgroup(root: Path) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        with contextlib.suppress(OSError):  # processes that were just killed may still be in it
            Path(folder).rmdir()


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NodeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
