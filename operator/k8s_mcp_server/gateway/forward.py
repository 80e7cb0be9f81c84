"""One exchange with the API server: send, retry where that is safe, and hand the head of the answer back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.errors import K8sMcpError
from k8s_mcp_server.gateway.upstream import ResponseHead, UpstreamBroken, UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_mcp_server.gateway.pool import UpstreamPool
    from k8s_mcp_server.gateway.stream import ByteStream

_UNAUTHORIZED: Final = HTTPStatus.UNAUTHORIZED


class UpstreamSlow(K8sMcpError):
    """The API server took the request and did not answer in time."""


class CredentialsRefused(K8sMcpError):
    """The API server does not accept the service's own token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request to forward.

    Args:
        head: gives the head's bytes, with the token as it is now; called anew for a retry.
        body: the client's body; None without one.
        chunked: how the body is framed.
        replayable: it changes nothing, so it may be sent again after a connection broke.
        may_take_long: the API server may answer when it likes (watches, logs, streams into pods).
        own_401: a 401 is about us; False where a proxied backend may have sent it.
    """

    head: Callable[[], bytes]
    body: ByteStream | None
    chunked: bool
    replayable: bool
    may_take_long: bool
    own_401: bool


async def send(outgoing: Outgoing, pool: UpstreamPool) -> tuple[UpstreamConnection, ResponseHead]:
    """Send the request and wait for the head of the answer. The caller releases or aborts the connection.

    A connection that was used before may have been closed by the API server just now, and a token may just have been
    rotated: a request that changes nothing is then sent once more. Any other is not, because nobody knows what became
    of it.

    Raises:
        Unavailable: the API server cannot be reached; nothing was sent.
        UpstreamBroken: the connection broke after the request was sent.
        UpstreamSlow: no answer came in time.
        CredentialsRefused: our token is not accepted.
        HeadRefused: the client's body turned out to be malformed (see front.py).
        ConnectionResetError: the client is gone.
    """
    retry = False
    while True:
        connection = await pool.acquire(fresh=retry)
        may_retry = outgoing.replayable and outgoing.body is None and not retry
        try:
            response = await _exchange(outgoing, connection, seconds=pool.limits.response_seconds)
        except UpstreamBroken:
            connection.abort()
            if not (may_retry and connection.reused):
                raise
        except BaseException:
            connection.abort()
            raise
        else:
            if response.status != _UNAUTHORIZED or not outgoing.own_401:
                return connection, response
            connection.abort()
            if not may_retry:
                raise CredentialsRefused("the API server does not accept the service's own token")
        retry = True


async def _exchange(outgoing: Outgoing, connection: UpstreamConnection, *, seconds: float) -> ResponseHead:
    limit = None if outgoing.may_take_long else seconds
    body = outgoing.body
    if body is None or body.finished:
        rest = b"" if body is None else _framed(body.take(), outgoing) + _last(outgoing)
        connection.write(outgoing.head() + rest)
        return await _response(connection, limit)
    connection.write(outgoing.head())
    upload = asyncio.create_task(_upload(outgoing, body, connection))
    try:
        either: set[asyncio.Future[Any]] = {upload, connection.response}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not connection.response.done():
            upload.result()
        else:
            connection.spoil()  # answered before it had the whole request
        return await _response(connection, limit)
    finally:
        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)


async def _response(connection: UpstreamConnection, limit: float | None) -> ResponseHead:
    try:
        async with asyncio.timeout(limit):
            return await connection.response
    except TimeoutError as error:
        raise UpstreamSlow("the API server did not answer in time") from error


async def _upload(outgoing: Outgoing, body: ByteStream, connection: UpstreamConnection) -> None:
    while data := await body.read():
        connection.write(_framed(data, outgoing))
        await connection.drain.wait()
    connection.write(_last(outgoing))


def _framed(data: bytes, outgoing: Outgoing) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data and outgoing.chunked else data


def _last(outgoing: Outgoing) -> bytes:
    return b"0\r\n\r\n" if outgoing.chunked else b""
