"""The connection to the API server: HTTP/1.1 over TLS, one exchange at a time, kept for the next one.

HTTP/1.1 and not HTTP/2: upgrades need it, and a connection of its own keeps one command's slow reading from another's
answers.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

import httptools

from k8s_mcp_server.errors import K8sMcpError
from k8s_mcp_server.gateway.head import Headers
from k8s_mcp_server.gateway.stream import ByteStream, Drain

_LONGEST_HEAD: Final = 256 * 1024
_WRITE_BUFFER: Final = 1024 * 1024
_SWITCHING_PROTOCOLS: Final = HTTPStatus.SWITCHING_PROTOCOLS


class UpstreamBroken(K8sMcpError):
    """The connection ended, or spoke no HTTP, in the middle of an exchange."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHead:
    """Status and header fields of an answer. ``content_length`` is None when it is not known."""

    status: int
    headers: Headers
    content_length: int | None


class UpstreamConnection(asyncio.Protocol):
    """One connection. ``begin`` an exchange, write to it, await ``response``, read ``body``."""

    def __init__(self, *, context: ssl.SSLContext) -> None:
        self.context = context
        self.reused = False
        self.idle_since = 0.0
        self.drain = Drain()
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None  # httptools ships no types
        self._fields: list[tuple[str, str]] = []
        self._head_bytes = 0
        self._parts: list[bytes] = []
        self._upgraded = False
        self._spoiled = False
        self._complete = True
        self._keep_alive = True
        self.body = ByteStream(pause=self._pause, resume=self._resume)
        self.response: asyncio.Future[ResponseHead] = asyncio.get_running_loop().create_future()

    @property
    def is_open(self) -> bool:
        """Whether it can be written to."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_reusable(self) -> bool:
        """Whether the exchange is over and the connection may carry another one."""
        return self._complete and self._keep_alive and self.is_open and not self._spoiled

    def begin(self) -> None:
        """Prepare for the next exchange."""
        self._parser = httptools.HttpResponseParser(self)
        self._fields, self._head_bytes, self._parts = [], 0, []
        self._complete = False
        self.body = ByteStream(pause=self._pause, resume=self._resume)
        self.response = asyncio.get_running_loop().create_future()

    def spoil(self) -> None:
        """Never use the connection for another exchange."""
        self._spoiled = True

    def write(self, data: bytes) -> None:
        """Queue bytes; await ``drain.wait()`` between large ones."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """End the connection once what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        _keep_alive(self._transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._upgraded:
            self.body.feed(data)
            return
        if self._complete:  # nobody asked: whatever it is, it must not answer the next request
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded = self._spoiled = True
            rest = data[upgrade.args[0] :]
            if rest:
                self.body.feed(rest)
        except httptools.HttpParserError as error:
            self._fail(UpstreamBroken(f"the API server's answer is not HTTP: {error}"))
            self.abort()
            return
        if self._parts:
            self._flush_parts()

    def pause_writing(self) -> None:
        """The write buffer is full."""
        self.drain.pause()

    def resume_writing(self) -> None:
        """The write buffer has room again."""
        self.drain.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._transport = None
        delimited_by_end = (
            self.response.done()
            and not self.response.cancelled()
            and self.response.exception() is None
            and self.response.result().content_length is None
            and "transfer-encoding" not in self.response.result().headers
        )
        if self._upgraded or (delimited_by_end and exc is None):
            self.body.finish()
        self._fail(UpstreamBroken(f"the API server closed the connection ({type(exc).__name__ if exc else 'end'})"))
        self.drain.close()

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        """llhttp: one header field."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > _LONGEST_HEAD:
            raise UpstreamBroken("the head of the API server's answer is too large")
        if not self.response.done():
            self._fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """llhttp: the end of a head."""
        status = self._parser.get_status_code()
        headers, self._fields = Headers(tuple(self._fields)), []
        if self._is_interim(status) or self.response.done():
            return
        length = headers.get("content-length")
        self.response.set_result(
            ResponseHead(
                status=status,
                headers=headers,
                content_length=int(length) if length.isascii() and length.isdigit() else None,
            )
        )

    def on_body(self, data: bytes) -> None:
        """llhttp: bytes of a body, unframed."""
        self._parts.append(data)

    def on_message_complete(self) -> None:
        """llhttp: the end of a message."""
        status = self._parser.get_status_code()
        if self._is_interim(status) or status == _SWITCHING_PROTOCOLS:
            return
        self._flush_parts()
        self._keep_alive = self._parser.should_keep_alive()
        self._complete = True
        self.body.finish()

    @staticmethod
    def _is_interim(status: int) -> bool:
        return status < HTTPStatus.OK and status != _SWITCHING_PROTOCOLS

    def _flush_parts(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self.body.feed(data)

    def _fail(self, error: UpstreamBroken) -> None:
        if not self._complete and not self.response.done():
            self.response.set_exception(error)
            self.response.exception()  # retrieved: the exchange may already have ended for another reason
        self.body.fail(error)

    def _pause(self) -> None:
        if self.is_open:
            cast("asyncio.Transport", self._transport).pause_reading()

    def _resume(self) -> None:
        if self.is_open:
            cast("asyncio.Transport", self._transport).resume_reading()


def _keep_alive(sock: socket.socket | None) -> None:
    """Notice within about half a minute that the other end has vanished without a word."""
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000)):
        if (number := getattr(socket, option, None)) is not None:  # Linux has them all
            sock.setsockopt(socket.IPPROTO_TCP, number, value)
