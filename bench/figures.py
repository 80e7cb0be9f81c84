"""What a benchmark yields: samples, their quantiles, and a comparison of two that were taken in turn."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Action = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Samples:
    """Durations in seconds of one thing that was measured."""

    name: str
    seconds: list[float] = field(default_factory=list)

    async def measure(self, action: Action) -> None:
        """Take one sample."""
        began = time.perf_counter()
        await action()
        self.seconds.append(time.perf_counter() - began)

    def quantile(self, share: float) -> float:
        """The quantile in seconds, such as 0.5 for the median."""
        return sorted(self.seconds)[min(len(self.seconds) - 1, int(share * len(self.seconds)))]

    def summary(self) -> dict[str, Any]:
        """For machines: milliseconds."""
        return {
            "name": self.name,
            "samples": len(self.seconds),
            "p50_ms": round(self.quantile(0.5) * 1000, 4),
            "p99_ms": round(self.quantile(0.99) * 1000, 4),
        }


async def in_turn(*, rounds: int, warm_up: int = 3, **actions: Action) -> dict[str, Samples]:
    """Run the actions in turn, round after round, so that the machine's mood hits all of them alike."""
    for _ in range(warm_up):
        for action in actions.values():
            await action()
    taken = {name: Samples(name) for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            await taken[name].measure(action)
    return taken


def ratio(samples: Samples, *, to: Samples) -> float:
    """The median of the ratios round by round."""
    return statistics.median(a / b for a, b in zip(samples.seconds, to.seconds, strict=True))
