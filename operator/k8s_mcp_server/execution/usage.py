"""What a running stage holds that no limit of the kernel's counts, as ``/proc`` tells it.

RLIMIT_DATA counts private memory as long as it is writable: a process that fills a piece and then makes it read-only
has it for nothing, and page tables and threads cost it nothing either. A file that was removed while it is open is in
no folder, but on the disk. A process made by ``vfork`` has limits of its own, so a stage is counted with all
processes that come from it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.execution.limits import FILE_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

THREAD_BYTES: Final = 32 * 1024  # the kernel's stack and records for one thread
_MEMORY_FIELDS: Final = ("RssAnon", "RssShmem", "VmSwap", "VmPTE")  # proc_pid_status(5), in kB
_PROC: Final = Path("/proc")
_BLOCK: Final = 512  # the unit of st_blocks (stat(2))


def families(leaders: Collection[int]) -> dict[int, frozenset[int]]:
    """Each leader of a session with its descendants and all members of its session. Reads all of ``/proc``."""
    parents: dict[int, int] = {}
    sessions: dict[int, int] = {}
    for name in os.listdir(_PROC):  # noqa: PTH208 - names are all that is wanted, often
        if name.isdigit():
            with suppress(OSError):
                # proc_pid_stat(5): the program's name is in parentheses and may have some itself
                fields = (_PROC / name / "stat").read_bytes().rpartition(b")")[2].split()
                parents[int(name)], sessions[int(name)] = int(fields[1]), int(fields[3])
    return {leader: _family(leader, parents=parents, sessions=sessions) for leader in leaders}


def memory_bytes(pids: Iterable[int]) -> int:
    """Memory that is the processes' own, with its page tables and what their threads cost the kernel."""
    return sum(_memory_of(pid) for pid in pids)


def removed_file_bytes(pids: Iterable[int]) -> int:
    """Disk space of files that the processes hold open, or mapped, and that are in no folder any more.

    The size of one that is mapped only cannot be asked for, so it counts as the largest that a file may be.
    """
    opened: dict[tuple[int, int], int] = {}
    mapped: set[tuple[int, int]] = set()
    for pid in pids:
        opened |= _removed_but_open(pid)
        mapped |= _removed_but_mapped(pid)
    return sum(opened.values()) + FILE_BYTES * len(mapped - opened.keys())


def _family(leader: int, *, parents: dict[int, int], sessions: dict[int, int]) -> frozenset[int]:
    members = {leader, *(pid for pid, session in sessions.items() if session == leader)}
    while more := {pid for pid, parent in parents.items() if parent in members} - members:
        members |= more
    return frozenset(members)


def _memory_of(pid: int) -> int:
    try:
        text = (_PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended
        return 0
    fields = dict(line.split(":", 1) for line in text.splitlines())
    kilobytes = sum(int(fields[name].split()[0]) for name in _MEMORY_FIELDS if name in fields)  # a zombie has none
    return kilobytes * 1024 + int(fields["Threads"]) * THREAD_BYTES


def _removed_but_open(pid: int) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    with suppress(OSError), os.scandir(_PROC / str(pid) / "fd") as descriptors:
        for each in descriptors:
            with suppress(OSError):
                state = each.stat()
                if state.st_nlink == 0 and S_ISREG(state.st_mode):
                    found[state.st_dev, state.st_ino] = state.st_blocks * _BLOCK
    return found


def _removed_but_mapped(pid: int) -> set[tuple[int, int]]:
    found = set()
    with suppress(OSError):
        for line in (_PROC / str(pid) / "maps").read_bytes().splitlines():
            if line.endswith(b" (deleted)"):
                # proc_pid_maps(5): addresses, permissions, offset, device as MAJOR:MINOR in hexadecimal, inode
                device, inode = line.split(maxsplit=5)[3:5]
                major, minor = (int(number, 16) for number in device.split(b":"))
                found.add((os.makedev(major, minor), int(inode)))
    return found
