"""Waiting for what another thread or process brings about."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def eventually(condition: Callable[[], object], *, within: float = 15.0) -> None:
    """Return as soon as the condition holds; fail when it does not within so many seconds."""
    try:
        async with asyncio.timeout(within):
            while not condition():  # noqa: ASYNC110  what is waited for happens outside this loop
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"did not come about within {within:g} s") from None
