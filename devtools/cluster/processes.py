"""Finds and ends the processes of one cluster.

kwokctl leaves its components running as daemons. They're found by what they execute, a link inside the cluster's own
folder, rather than by pid files: a start that was interrupted has processes without such a file, and a pid may be
somebody else's by now.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from devtools.cluster.errors import ClusterError

_PROC = Path("/proc")
_END_SECONDS = 15.0
_POLL_SECONDS = 0.02
_QUIET_LOOKS = 2
"""How often nothing must be found: a process that is just being started has no command line for a moment."""


def cluster_processes(workdir: Path) -> list[int]:
    """Return the live processes of the cluster in `workdir`: its components, and a kwokctl that is making it."""
    prefix = f"{workdir}/"
    found: list[int] = []
    for pid, arguments in _processes():
        program = arguments[0]
        creating = Path(program).name == "kwokctl" and any(argument.startswith(prefix) for argument in arguments)
        if program.startswith(prefix) or creating:
            found.append(pid)
    return found


def remove_cluster(workdir: Path) -> None:
    """Kill the cluster's processes and delete its folder.

    They get SIGKILL: their data is deleted with them, so there is nothing to finish.

    Raises:
        ClusterError: a process or the folder is still there.
    """
    deadline = time.monotonic() + _END_SECONDS
    quiet = 0
    while quiet < _QUIET_LOOKS:
        pids = cluster_processes(workdir)
        quiet = 0 if pids else quiet + 1
        if time.monotonic() > deadline:
            raise ClusterError(f"processes {pids} of the cluster in {workdir} don't end")
        for pid in pids:
            _kill(pid)
        time.sleep(_POLL_SECONDS)
    shutil.rmtree(workdir, ignore_errors=True)
    if workdir.exists():
        raise ClusterError(f"can't delete {workdir}")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise ClusterError(f"may not end process {pid}") from error


def _processes() -> list[tuple[int, list[str]]]:
    """Every process that has a command line; a zombie has none any more."""
    if not (_PROC / "self" / "cmdline").exists():
        return _processes_by_ps()
    listed = ((entry.name, _command_line(entry)) for entry in _PROC.iterdir() if entry.name.isdecimal())
    return [(int(pid), arguments) for pid, arguments in listed if arguments]


def _command_line(entry: Path) -> list[str]:
    try:
        raw = (entry / "cmdline").read_bytes()
    except OSError:  # it ended just now, or isn't ours to read
        return []
    return raw.decode(errors="replace").rstrip("\0").split("\0") if raw else []


def _processes_by_ps() -> list[tuple[int, list[str]]]:
    listed = subprocess.run(["ps", "-axo", "pid=,command="], capture_output=True, text=True, check=True).stdout
    split = (line.split() for line in listed.splitlines())
    return [(int(words[0]), words[1:]) for words in split if len(words) > 1]
