"""Per-process limits, set by the server on a process that has just been started.

They cannot be set before: limits belong to a process, and the thread that starts it shares the server's. Until then
``usage`` alone bounds it.
RLIMIT_DATA bounds what Go programs allocate; RLIMIT_AS does not work for them, because they reserve gigabytes of
addresses that they never touch. RLIMIT_NPROC is left alone: it counts every process of the user id on the node,
other pods included; the seccomp filter refuses ``fork`` instead. What RLIMIT_DATA does not count is
refused by that filter or seen by ``usage``.
"""

from __future__ import annotations

import math
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

MEBIBYTE: Final = 1024 * 1024
FILE_BYTES: Final = 32 * MEBIBYTE
OPEN_FILES: Final = 256
STACK_BYTES: Final = 8 * MEBIBYTE  # of the first thread, which RLIMIT_DATA leaves out
OOM_SCORE: Final = 900  # of 1000: the kernel ends a command before the server
_CPU_GRACE_SECONDS: Final = 5


def cpu_seconds(timeout_seconds: float) -> int:
    """How much processor time one process may use in a command of ``timeout_seconds``."""
    return math.ceil(timeout_seconds) + _CPU_GRACE_SECONDS


def limit_stacks() -> None:
    """Bound the first thread's stack of every process that is started from now on, by this one's own limit.

    A running exec ends by putting back the limit that it began with (``finalize_exec`` in the kernel's fs/exec.c), and
    whoever started it hears of its success a moment earlier: set from outside, this limit is lost now and then.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    most = STACK_BYTES if hard == resource.RLIM_INFINITY else min(STACK_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (most, most))


def limit_process(pid: int, *, memory_bytes: int, timeout_seconds: float) -> None:
    """Bound data, processor time, file size and descriptors; no core dump; first to go when memory is short.

    Does nothing for a process that has ended.
    """
    cpu = cpu_seconds(timeout_seconds)
    limits = {
        resource.RLIMIT_DATA: (memory_bytes, memory_bytes),
        resource.RLIMIT_CPU: (cpu, cpu),
        resource.RLIMIT_FSIZE: (FILE_BYTES, FILE_BYTES),
        resource.RLIMIT_NOFILE: (OPEN_FILES, OPEN_FILES),
        resource.RLIMIT_CORE: (0, 0),
    }
    with suppress(ProcessLookupError):
        for kind, bounds in limits.items():
            resource.prlimit(pid, kind, bounds)
    with suppress(OSError):  # it has ended, or the container's own score is higher already
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
