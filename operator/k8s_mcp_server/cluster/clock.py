"""The clocks that ages are measured by, and that policies end by."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

logger = logging.getLogger(__name__)

_WORTH_TELLING: Final = timedelta(seconds=5)


def boot_clock() -> float:
    """Seconds since the machine booted, the time it slept included.

    ``time.monotonic`` stands still while a machine sleeps, so that what was learned before would count as fresh after.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyTime:
    """The time of day, as this process has seen it advance: where the machine's clock is set back, it goes on.

    A policy that has ended would give again otherwise. A clock that was ahead by mistake is believed until the process
    starts anew.

    Args:
        wall: the machine's time of day, aware.
        clock: seconds that nobody sets.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self._wall = wall
        self._clock = clock
        self._lock = threading.Lock()
        self._latest, self._read_at = wall(), clock()
        self._is_ahead = False

    def __call__(self) -> datetime:
        """The time, aware. May be called in any thread."""
        with self._lock:
            wall, seconds = self._wall(), self._clock()
            expected = self._latest + timedelta(seconds=seconds - self._read_at)
            self._latest, self._read_at = max(wall, expected), seconds
            self._tell(expected - wall)
            return self._latest

    def _tell(self, behind: timedelta) -> None:
        is_ahead = behind >= _WORTH_TELLING
        if is_ahead and not self._is_ahead:
            logger.warning(
                "The clock went back by %.0f s; policies that have ended stay ended until this process starts anew.",
                behind.total_seconds(),
            )
        self._is_ahead = is_ahead
