"""Bytes handed from a protocol's callbacks to a coroutine, with backpressure in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

HIGH_WATER: Final = 512 * 1024


class ByteStream:
    """One message body on its way through.

    Args:
        pause: called when the reader falls behind, to stop the transport from reading.
        resume: called when it has caught up.
    """

    __slots__ = ("_buffered", "_error", "_finished", "_parts", "_pause", "_paused", "_resume", "_waiter")

    def __init__(self, *, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause = pause
        self._resume = resume
        self._parts: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._finished = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def finished(self) -> bool:
        """Whether the last byte has arrived (it may still be unread)."""
        return self._finished

    @property
    def has_data(self) -> bool:
        """Whether ``read`` would return at once with bytes."""
        return bool(self._parts)

    def feed(self, data: bytes) -> None:
        """Take bytes in; never blocks."""
        self._parts.append(data)
        self._buffered += len(data)
        if self._buffered > HIGH_WATER and not self._paused:
            self._paused = True
            self._pause()
        self._wake()

    def finish(self) -> None:
        """Say that the body is complete."""
        self._finished = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Make the reader raise, unless the body is already complete."""
        if not self._finished:
            self._error = error
            self._wake()

    def unread(self, data: bytes) -> None:
        """Put back what was read, to be read again."""
        if data:
            self._parts.insert(0, data)
            self._buffered += len(data)

    def take(self) -> bytes:
        """What has arrived and was not read yet."""
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._buffered = 0
        if self._paused:
            self._paused = False
            self._resume()
        return data

    async def read(self) -> bytes:
        """The next bytes; empty at the end.

        Raises:
            Exception: what ``fail`` was given, once the bytes before it are read.
        """
        while not self._parts:
            if self._finished:
                return b""
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.take()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Drain:
    """Waits while a transport's write buffer is full; fed by ``pause_writing`` and ``resume_writing``."""

    __slots__ = ("_closed", "_waiters", "_writable")

    def __init__(self) -> None:
        self._writable = True
        self._closed = False
        self._waiters: list[asyncio.Future[None]] = []

    def pause(self) -> None:
        """The buffer is full."""
        self._writable = False

    def resume(self) -> None:
        """The buffer has room again."""
        self._writable = True
        self._wake()

    def close(self) -> None:
        """The transport is gone: nobody waits for it any more."""
        self._closed = True
        self._wake()

    async def wait(self) -> None:
        """Return once there is room.

        Raises:
            ConnectionResetError: the transport is gone.
        """
        while not self._writable and not self._closed:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        if self._closed:
            raise ConnectionResetError("the connection is closed")

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
