"""Waiting for something that nothing announces: bounded, and as short as can be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SECONDS = 20.0
_STEP = 0.01


async def eventually(condition: Callable[[], bool], *, seconds: float = _SECONDS) -> None:
    """Return once the condition holds.

    Raises:
        TimeoutError: it did not come to hold in time.
    """
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(_STEP)
