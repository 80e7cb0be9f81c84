"""An issuer's keys, kept for a while: fetched once for many tokens, and again when a new key signs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import jwt

FRESH_SECONDS: Final = 300.0
USABLE_SECONDS: Final = 3600.0  # a key that the issuer took back is believed that long at most
RETRY_SECONDS: Final = 30.0  # between two fetches for keys that may not exist, or from an issuer that is down
_NO_ANSWER_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


class IssuerKeys:
    """The keys of one issuer. Lives in one event loop.

    Args:
        fetch: gets them all; raises Unavailable.
        clock: monotonic seconds.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Mapping[str, jwt.PyJWK]]], *, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key of that ``kid`` (empty: the only key there is), or None when the issuer has none.

        Raises:
            Unavailable: there are no keys that are young enough, and the issuer does not answer.
        """
        if self._age() > FRESH_SECONDS:
            await self._refresh(pause=RETRY_SECONDS if self._age() <= USABLE_SECONDS else _NO_ANSWER_SECONDS)
        if self._age() > USABLE_SECONDS:
            raise Unavailable("the issuer's keys cannot be had")
        if self._find(key_id) is None:
            await self._refresh(pause=RETRY_SECONDS)
        return self._find(key_id)

    def _find(self, key_id: str) -> jwt.PyJWK | None:
        if not key_id:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    def _age(self) -> float:
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    async def _refresh(self, *, pause: float) -> None:
        """Fetch, unless that was tried less than ``pause`` seconds ago; those who come meanwhile wait for it."""
        async with self._fetching:
            if self._tried_at is not None and self._clock() - self._tried_at < pause:
                return
            self._tried_at = self._clock()
            try:
                self._keys = await self._fetch()
            except Unavailable as error:
                logger.warning("%s", error)
                return
            self._fetched_at = self._tried_at
