"""One connection of a command: TLS bytes in, one request at a time out to a handler, the handler's bytes back.

Hand-written over llhttp because it must refuse what servers forgive: pipelining (two heads in one segment), slow heads,
endless bodies. A request reaches the handler only after its whole head was read twice (head.py, llhttp) with the same
result.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import httptools

from k8s_mcp_server.gateway.head import LONGEST_HEAD, HeadRefused, RequestHead, parse_head
from k8s_mcp_server.gateway.stream import ByteStream, Drain

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from k8s_mcp_server.gateway.session import CommandSession

_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")
_MIB: Final = 1024 * 1024
_TOO_LARGE: Final = 413
_WRITE_BUFFER: Final = _MIB
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLimits:
    """What one connection may use. Seconds and bytes.

    Args:
        head_seconds: from the first byte of a head (or the handshake) to its last.
        idle_seconds: between two requests.
        body_seconds: without a byte of an unfinished body.
        body_bytes: of one body, framing included; the API server itself refuses more than 3 MiB.
        linger_seconds: after the answer to a body that is too large, while its bytes are dropped.
        discard_bytes: of a refused request's body, read only so that the client reads the answer.
    """

    head_seconds: float = 10
    idle_seconds: float = 120
    body_seconds: float = 30
    linger_seconds: float = 1
    body_bytes: int = 4 * _MIB
    discard_bytes: int = 16 * _MIB


class Handler(Protocol):
    """What serves the requests of a connection."""

    async def handle(self, head: RequestHead, body: ByteStream, connection: FrontConnection) -> None:
        """Answer one request by writing to the connection; the connection goes on once this returns."""

    async def refuse(self, error: HeadRefused, connection: FrontConnection) -> None:
        """Answer bytes that never became a request; the connection is closed once this returns."""


class _State(enum.Enum):
    HEAD = enum.auto()  # between requests, or inside a head
    REQUEST = enum.auto()  # a request is being received, served or both
    ENDING = enum.auto()  # nothing more is read


class FrontConnection(asyncio.Protocol):
    """The server side of one connection.

    Args:
        handler: gets each request.
        limits: see ``FrontLimits``.
        accept: called once when it is there; False drops it at once.
        closed: called once when it is gone.
    """

    def __init__(
        self,
        *,
        handler: Handler,
        limits: FrontLimits,
        accept: Callable[[FrontConnection], bool],
        closed: Callable[[FrontConnection], None],
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._accept = accept
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._buffer = bytearray()
        self._parser: Any = None  # httptools ships no types for its parser
        self._state = _State.HEAD
        self._body = self._new_stream()
        self._raw: ByteStream | None = None
        self._received = 0
        self._left: int | None = None  # bytes of the body still to come, where its length was stated
        self._parts: list[bytes] = []
        self._linger_seconds: float = 0
        self._started = False
        self._answered = False
        self.close_after_response = False
        self.session: CommandSession | None = None
        self.drain = Drain()

    # What a handler uses

    @property
    def is_closing(self) -> bool:
        """Whether the connection is gone or going."""
        return self._transport is None or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Queue bytes for the client; await ``drain.wait()`` between large ones."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def abort(self) -> None:
        """Drop the connection now; the client sees it break."""
        if self._transport is not None:
            self._transport.abort()

    async def end(self) -> None:
        """Drop the connection and wait until its request has ended, too."""
        self.abort()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def upgraded_stream(self) -> ByteStream:
        """Everything the client sends after the head of an upgrade request."""
        return self._raw or self._new_stream()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._accept(self):
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._arm(self._limits.head_seconds)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._state is _State.ENDING:
            return
        if self._raw is not None:
            self._raw.feed(data)
        elif self._state is _State.HEAD:
            self._read_head(data)
        elif not self._body.finished:
            self._read_body(data)
        else:
            self._refuse(HeadRefused("pipelined requests are not supported"))

    def pause_writing(self) -> None:
        """The write buffer is full."""
        self.drain.pause()

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        self.drain.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._disarm()
        self._transport = None
        gone = ConnectionResetError("the client is gone")
        self._body.fail(gone)
        if self._raw is not None:
            self._raw.finish()
        if self._task is not None:
            self._task.cancel()
        self.drain.close()
        self._closed(self)

    # httptools callbacks

    def on_message_begin(self) -> None:
        """llhttp: the first byte of a message."""
        if self._started:
            raise HeadRefused("pipelined requests are not supported")
        self._started = True

    def on_body(self, data: bytes) -> None:
        """llhttp: bytes of a body, unframed."""
        self._parts.append(data)

    def on_message_complete(self) -> None:
        """llhttp: the end of a message."""
        if self._parts:
            self._flush_parts()
        self._body.finish()

    # Reading

    def _read_head(self, data: bytes) -> None:
        if not self._buffer:
            self._arm(self._limits.head_seconds)
        searched = max(0, len(self._buffer) - 3)
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n", searched)
        if (end if end >= 0 else len(self._buffer)) > LONGEST_HEAD:
            self._refuse(HeadRefused("the request head is too large", status=431))
        elif _BARE_LINE_FEED.search(self._buffer, searched, end if end >= 0 else len(self._buffer)):
            self._refuse(HeadRefused("malformed line ending"))
        elif end >= 0:
            head, rest = bytes(self._buffer[: end + 4]), bytes(self._buffer[end + 4 :])
            self._buffer.clear()
            self._begin(head, rest)

    def _begin(self, data: bytes, rest: bytes) -> None:
        self._disarm()
        self._parser = httptools.HttpRequestParser(self)
        try:
            head = parse_head(data)
            self._feed_head(data, head)
        except HeadRefused as error:
            self._refuse(error)
            return
        self._state = _State.REQUEST
        self._left = head.content_length
        if head.upgrade:
            self._raw = self._new_stream()
            if rest:
                self._raw.feed(rest)
        elif rest or not self._body.finished:
            self._read_body(rest)
        if self._state is _State.REQUEST:
            self._start(self._run(head))

    def _feed_head(self, data: bytes, head: RequestHead) -> None:
        upgrade = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            upgrade = True
        except httptools.HttpParserError as error:
            raise HeadRefused("malformed request head") from error
        agreed = (
            self._started
            and upgrade == bool(head.upgrade)
            and self._parser.get_method() == head.method.encode()
            and self._body.finished is not head.has_body
        )
        if not agreed:
            raise HeadRefused("ambiguous request head")
        if (head.content_length or 0) > self._limits.body_bytes:
            raise HeadRefused("the request body is too large", status=413)

    def _read_body(self, data: bytes) -> None:
        self._arm(self._limits.body_seconds)
        self._received += len(data)
        limit = self._limits.discard_bytes if self._answered else self._limits.body_bytes
        if self._received > limit:
            self._refuse(HeadRefused("the request body is too large", status=413))
            return
        rest = b""
        if self._left is not None:
            data, rest = data[: self._left], data[self._left :]
            self._left -= len(data)
        if rest and not self._answered:
            self._refuse(HeadRefused("pipelined requests are not supported"))
            return
        try:
            if data:
                self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, HeadRefused) else HeadRefused("malformed request body"))
            return
        if self._parts:
            self._flush_parts()
        if self._body.finished:
            self._disarm()
            if self._answered:
                self._next(rest)

    def _flush_parts(self) -> None:
        data = b"".join(self._parts)
        self._parts.clear()
        if not self._answered:
            self._body.feed(data)

    # One request after the other

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._ended)

    async def _run(self, head: RequestHead) -> None:
        with contextlib.suppress(ConnectionResetError):  # the client is gone
            await self._handler.handle(head, self._body, self)
        self._task = None
        if self.close_after_response or self._state is _State.ENDING or self._raw is not None:
            self._close()
        elif self._body.finished:
            self._next()
        else:  # answered early: read the rest of the body, so that the client gets to read the answer
            self._answered = True
            self._body.take()

    async def _run_refusal(self, error: HeadRefused) -> None:
        await self._handler.refuse(error, self)
        self._close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a request could not be served", exc_info=error)
            self.abort()

    def _next(self, rest: bytes = b"") -> None:
        self._state = _State.HEAD
        self._parser = None
        self._started = self._answered = False
        self._received = 0
        self._body = self._new_stream()
        self._arm(self._limits.idle_seconds)
        if rest:
            self._read_head(rest)

    def _refuse(self, error: HeadRefused) -> None:
        """End the connection over what the client sent; an answer only where none has begun."""
        self._disarm()
        self._linger_seconds = self._limits.linger_seconds if error.status == _TOO_LARGE else 0
        self._state = _State.ENDING
        if self._answered:
            self._close()
        elif self._task is None:
            self._start(self._run_refusal(error))
        elif self._body.finished:
            self.abort()
        else:
            self._body.fail(error)  # the handler, which waits for the body, answers

    def _close(self) -> None:
        """Close, at once or once the client had the time to read why: closing on unread bytes resets the connection."""
        self._state = _State.ENDING
        if self._transport is None:
            return
        if self._linger_seconds:
            self._disarm()
            self._timer = self._loop.call_later(self._linger_seconds, self._transport.close)
        else:
            self._transport.close()

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self._loop.call_later(seconds, self._expire)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        if self._state is _State.HEAD and not self._buffer:
            self._close()
        else:
            self._refuse(HeadRefused("the request did not arrive in time", status=408))

    def _new_stream(self) -> ByteStream:
        return ByteStream(pause=self._pause_reading, resume=self._resume_reading)

    def _pause_reading(self) -> None:
        self._disarm()  # now it is not the client that is slow
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._state is _State.REQUEST and self._raw is None and not self._body.finished:
            self._arm(self._limits.body_seconds)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
