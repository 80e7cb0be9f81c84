"""One running process of a pipeline: noticed when it ends, killed with its group, reaped exactly once."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Coroutine
    from resource import struct_rusage

_T = TypeVar("_T")


class StageProcess:
    """The leader of one stage's session and process group.

    Args:
        process: just started; waited for here only.
        on_reaped: called with its number, once it has been reaped.
        grace_seconds: how long it may take to end in order.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], *, on_reaped: Callable[[int], None], grace_seconds: float = 0.0
    ) -> None:
        self._on_reaped = on_reaped
        self.grace_seconds = grace_seconds
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._pidfd = os.pidfd_open(process.pid)
        self.exited: asyncio.Future[None] = self._loop.create_future()
        self.usage: struct_rusage | None = None
        self.forgiven = False
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def pid(self) -> int:
        """The process id; valid until the process has been reaped."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def cpu_seconds(self) -> float:
        """User and system time, known once it has ended."""
        return self.usage.ru_utime + self.usage.ru_stime if self.usage else 0.0

    def terminate(self) -> None:
        """Ask the process to end, where it is one that does so in order."""
        if self.grace_seconds and self.exit_code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group; nothing once the leader has been reaped, because its number may be another's by then."""
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.kill()  # what is left of the group, while the dead leader still keeps its number
        _, status, self.usage = os.wait4(self.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self._on_reaped(self.pid)
        self.exited.set_result(None)


async def uninterrupted(work: Coroutine[Any, Any, _T]) -> _T:
    """Await ``work`` to its end, however often the awaiting task is cancelled; then let the cancellation through."""
    task = asyncio.ensure_future(work)
    interruption: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            interruption = error
    if interruption is None:
        return task.result()
    raise interruption from (None if task.cancelled() else task.exception())
