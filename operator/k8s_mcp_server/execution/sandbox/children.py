"""Which processes this server has started and not yet reaped, and which of its children are none of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PROC: Final = Path("/proc")
_TRIES: Final = 10
_PAUSE_SECONDS: Final = 0.02


class Children:
    """A register of children; used by many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alive: set[int] = set()
        self._being_started = 0
        self._begun = 0

    @contextmanager
    def starting(self) -> Iterator[Callable[[int], None]]:
        """Around a start: no child is a stray while one may exist whose number is unknown. Yields what takes it."""
        with self._lock:
            self._being_started += 1
            self._begun += 1
        try:
            yield self._started
        finally:
            with self._lock:
                self._being_started -= 1

    def ended(self, pid: int) -> None:
        """The process has been reaped."""
        with self._lock:
            self._alive.discard(pid)

    def end_strays(self) -> int:
        """Kill and reap confined children that nobody started here; 0 when starts leave no quiet moment to look."""
        for _ in range(_TRIES):
            before = self._quiet_state()
            if before is not None:
                found = _confined_children()
                after = self._quiet_state()
                if after is not None and after[0] == before[0]:
                    return sum(_end(pid) for pid in found - before[1] - after[1])
            time.sleep(_PAUSE_SECONDS)
        return 0

    def _started(self, pid: int) -> None:
        with self._lock:
            self._alive.add(pid)

    def _quiet_state(self) -> tuple[int, set[int]] | None:
        with self._lock:
            return None if self._being_started else (self._begun, set(self._alive))


def _confined_children() -> set[int]:
    """Children of this process with more seccomp filters than it has itself; others are not ours to end."""
    own_pid, own_filters = os.getpid(), _status(os.getpid())[1]
    found = set()
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent, filters = _status(int(entry.name))
                if parent == own_pid and filters > own_filters:
                    found.add(int(entry.name))
    return found


def _status(pid: int) -> tuple[int, int]:
    """A process's parent and number of seccomp filters (proc_pid_status(5))."""
    text = (_PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    fields = dict(line.split(":", 1) for line in text.splitlines())
    return int(fields["PPid"]), int(fields.get("Seccomp_filters", "0"))


def _end(pid: int) -> bool:
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return True
    return False
