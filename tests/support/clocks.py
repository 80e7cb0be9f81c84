"""A clock that only a test moves."""

from __future__ import annotations


class ManualClock:
    """Seconds; reading it is calling it."""

    def __init__(self, start: float = 1000.0) -> None:
        self.time = start

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds

    async def sleep(self, seconds: float) -> None:
        """What waits on this clock does not wait, but time passes."""
        self.time += seconds
