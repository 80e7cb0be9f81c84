"""The clock that ages are measured by."""

from __future__ import annotations

import time


def boot_clock() -> float:
    """Seconds since the machine booted, the time it slept included.

    ``time.monotonic`` stands still while a machine sleeps, so that what was learned before would count as fresh after.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)
