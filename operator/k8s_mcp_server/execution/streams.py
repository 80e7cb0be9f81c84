"""The server's ends of a pipeline's pipes: bounded memory, and backpressure where a reader is slow."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_CHUNK: Final = 65_536


class Descriptors:
    """Owns descriptors until they are taken or closed; what is left is closed at the end of the ``with`` block."""

    def __init__(self) -> None:
        self._open: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with ExitStack() as stack:  # closes the others when one fails
            for descriptor in self._open:
                stack.callback(os.close, descriptor)
            self._open.clear()

    def open_null(self) -> int:
        """``/dev/null``, for reading and writing."""
        return self._own(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))

    def open_pipe(self) -> tuple[int, int]:
        """A new pipe's reading and writing ends."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        return self._own(reading), self._own(writing)

    def close(self, descriptor: int) -> None:
        """Close one now."""
        self._open.discard(descriptor)
        os.close(descriptor)

    def take(self, descriptor: int) -> int:
        """Hand one to another owner."""
        self._open.discard(descriptor)
        return descriptor

    def _own(self, descriptor: int) -> int:
        self._open.add(descriptor)
        return descriptor


class PipeReader:
    """Collects what comes out of a pipe, up to a cap.

    Args:
        descriptor: the reading end, owned from here on.
        cap: bytes to keep.
        on_full: called once when more than that has come. With it reading stops there, so that the writer is held
            back by the kernel; without it the rest is read and dropped, so that a writer of error messages is never
            held back.
    """

    def __init__(self, descriptor: int, *, cap: int, on_full: Callable[[], None] | None = None) -> None:
        os.set_blocking(descriptor, False)
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._cap = cap
        self._on_full = on_full
        self._data = bytearray()
        self.truncated = False
        self.finished: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(descriptor, self._read)

    @property
    def size(self) -> int:
        """Bytes kept so far."""
        return len(self._data)

    def data(self) -> bytes:
        """What was kept."""
        return bytes(self._data)

    def close(self) -> None:
        """Stop reading and give the descriptor back; writers then get SIGPIPE."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            if not self.finished.done():
                self.finished.set_result(None)

    def _read(self) -> None:
        try:
            chunk = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            self.close()
            return
        room = self._cap - len(self._data)
        self._data += chunk[:room]
        if len(chunk) > room:
            self.truncated = True
            if self._on_full is not None:
                self.close()
                self._on_full()


class PipeWriter:
    """Writes text into a pipe as fast as its reader takes it, then closes it.

    Args:
        descriptor: the writing end, owned from here on.
        data: what to write. A reader that goes away early ends the writing, and is no error.
    """

    def __init__(self, descriptor: int, *, data: bytes) -> None:
        os.set_blocking(descriptor, False)
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._rest = memoryview(data)
        self._loop.add_writer(descriptor, self._write)

    def close(self) -> None:
        """Stop writing; the reader gets the end of the file."""
        if self._descriptor >= 0:
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self) -> None:
        try:
            written = os.write(self._descriptor, self._rest[:_CHUNK])
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.close()
            return
        self._rest = self._rest[written:]
        if not self._rest:
            self.close()
