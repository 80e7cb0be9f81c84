"""One CONNECT of helm: decided by its host and port, connected to a checked address, and TLS to that host inside."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.connect.addresses import Addresses, Unreachable
from k8s_mcp_server.gateway.connect.hello import LONGEST_HELLO, NoHello, server_name
from k8s_mcp_server.gateway.head import HeadRefused
from k8s_mcp_server.gateway.served import Accounting, ServedRequest, malformed
from k8s_mcp_server.gateway.status import Refusal, Refused
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.front import FrontConnection
    from k8s_mcp_server.gateway.head import RequestHead
    from k8s_mcp_server.gateway.session import CommandSession
    from k8s_mcp_server.gateway.stream import ByteStream
    from k8s_mcp_server.policy.connections import Connection
    from k8s_mcp_server.policy.egress import Endpoint

MOST_BYTES: Final = 64 * 1024 * 1024  # of all connections of one command, both ways
PROXY_USER: Final = "helm"
_TARGET: Final = re.compile(r"([a-z0-9](?:[-a-z0-9.]*[a-z0-9])?):([1-9][0-9]{0,4})")
_NUMERIC: Final = re.compile(r"[0-9.]+")
_CONNECT_SECONDS: Final = 10.0
_CHUNK: Final = 64 * 1024
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
_OK, _BAD_GATEWAY = 200, 502
_log = logging.getLogger(__name__)


class ConnectExchange(ServedRequest):
    """A connection to a chart host.

    Args:
        accounting: what it is served with.
        addresses: finds where the host is.
        connection: the client's.
        head: of the request.
        body: of the request; none.
    """

    def __init__(
        self,
        accounting: Accounting,
        *,
        addresses: Addresses,
        connection: FrontConnection,
        head: RequestHead,
        body: ByteStream,
    ) -> None:
        super().__init__(accounting, connection=connection, head=head, body=body)
        self._addresses = addresses
        self._endpoint: Endpoint = ("", 0)
        self._status = 0

    async def serve(self) -> None:
        """Connect, and record it.

        Raises:
            ConnectionResetError: the client is gone.
        """
        self._connection.close_after_response = True
        try:
            session = self._authenticate(proxy_token(self._head))
            await self._serve(session)
        except Refused as refused:
            self._status = refused.refusal.code
            self._writer.refuse(refused.refusal, audit_id=self._audit_id)
        except HeadRefused as error:
            self._decision = malformed(error.message)
            self._connection.abort()
        finally:
            self._end(status=self._status)

    def revalidate(self) -> None:
        """Decide again; end the connection when its host is not named any more."""
        session = self._session
        if session is None or not self._decision.allowed:
            return
        decision = self._decide(session).decision
        if not decision.allowed:
            self._deny(decision)
            session.requests_revoked += 1
            session.end(decision)
            self._connection.abort()

    async def _serve(self, session: CommandSession) -> None:
        self._endpoint = self._understand(session)
        connection = self._decide(session)
        if not connection.decision.allowed:
            raise self._refused(connection.decision)
        try:
            address = await self._addresses.find(self._endpoint, connection)
        except Unreachable as error:
            reason = Reason.NEVER_ALLOWED if error.is_denied else Reason.ERROR
            raise self._refused(_denial(error.message, reason=reason)) from error
        self._decision = connection.decision
        session.count(self._decision)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(str(address), self._endpoint[1])
        except (OSError, TimeoutError) as error:
            _log.info("a chart host could not be connected to: %s", error)
            raise Refused(Refusal(code=_BAD_GATEWAY, message=f"{self._endpoint[0]} does not answer.")) from error
        try:
            self._status = _OK
            self._connection.write(_ESTABLISHED)
            await self._carry(session, reader, writer)
        finally:
            writer.transport.abort()

    def _understand(self, session: CommandSession) -> Endpoint:
        match = _TARGET.fullmatch(self._head.target)
        if session.tool is not Tool.HELM:
            raise self._refused(malformed("Only helm connects to other hosts."), code=405)
        if match is None or int(match[2]) >= 2**16:
            raise self._refused(malformed("A connection needs a host name and a port."), code=400)
        return match[1], int(match[2])

    def _decide(self, session: CommandSession) -> Connection:
        return self._accounting.authorizer.decide_connection(self._endpoint, client=session.client, tool=session.tool)

    async def _carry(self, session: CommandSession, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bytes both ways, once the client has said that it means this host."""
        stream = self._connection.upgraded_stream()
        first = await self._hello(stream)
        self._count(session, first)
        writer.write(first)
        pumps = {
            asyncio.create_task(self._up(session, stream, writer)),
            asyncio.create_task(self._down(session, reader)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            ends = await asyncio.gather(*pumps, return_exceptions=True)
        if any(isinstance(end, _TooMuch) for end in ends):
            self._deny(
                _denial(f"A command may exchange {MOST_BYTES >> 20} MiB with chart hosts.", reason=Reason.NEVER_ALLOWED)
            )

    async def _hello(self, stream: ByteStream) -> bytes:
        """The client's first message; the name in it is that of the host.

        Raises:
            HeadRefused: it is another's, or no TLS.
        """
        host, _ = self._endpoint
        expected = "" if _NUMERIC.fullmatch(host) else host
        try:
            return await _read_hello(stream, expected=expected)
        except NoHello as error:
            self._deny(_denial(f"The connection to {host} was ended: {error}.", reason=Reason.MALFORMED_REQUEST))
            raise HeadRefused(str(error)) from error

    async def _up(self, session: CommandSession, stream: ByteStream, writer: asyncio.StreamWriter) -> None:
        while data := await stream.read():
            self._count(session, data)
            writer.write(data)
            await writer.drain()

    async def _down(self, session: CommandSession, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            self._count(session, data)
            self._connection.write(data)
            await self._connection.drain.wait()

    def _count(self, session: CommandSession, data: bytes) -> None:
        session.chart_bytes += len(data)
        if session.chart_bytes > MOST_BYTES:
            raise _TooMuch

    def _refused(self, decision: Decision, *, code: int = 403) -> Refused:
        self._deny(decision)
        return Refused(Refusal(code=code, message=decision.message))


async def _read_hello(stream: ByteStream, *, expected: str) -> bytes:
    data = b""
    while (name := server_name(data)) is None:
        more = await stream.read()
        if not more or len(data) > LONGEST_HELLO:
            raise NoHello("it ends before the ClientHello does")
        data += more
    if name != expected:
        raise NoHello("it asks for another host than the one that it is connected to")
    return data


class _TooMuch(Exception):
    """The command has had its share."""


def proxy_token(head: RequestHead) -> str:
    """The command's token, as a password (RFC 7617); empty when there is none."""
    scheme, _, encoded = head.headers.get("proxy-authorization").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    user, colon, password = text.partition(":")
    return password if colon and user == PROXY_USER else ""


def _denial(message: str, *, reason: Reason) -> Decision:
    return replace(malformed(message), verdict=Verdict.DENY, reason=reason)
