"""A stand-in for the API server that records what reaches it and answers what a test wants."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.gateway.tls import server_context

Fields = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived, header names in lower case."""

    method: str
    target: str
    headers: Fields
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        """The one value of a header field, None when it is absent."""
        values = [value for field_name, value in self.headers if field_name == name]
        assert len(values) <= 1, values
        return values[0] if values else None


@dataclass(slots=True, kw_only=True)
class Reply:
    """An answer.

    Args:
        parts: the body; bytes, or parts to send as chunks as they come.
        raw: bytes to send instead of an answer.
        close: end the connection afterwards.
    """

    status: int = 200
    headers: Fields = field(default_factory=lambda: [("Content-Type", "application/json")])
    parts: bytes | AsyncIterator[bytes] = b"{}"
    raw: bytes | None = None
    close: bool = False


Respond = Callable[[Received], Reply | Awaitable[Reply]]


class FakeUpstream:
    """A TLS server on the loopback.

    Args:
        folder: where its CA and the gateway's token are put.
    """

    def __init__(self, folder: Path) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.respond: Respond = lambda _: Reply()
        self.serve_connection: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
        self.spliced: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.token_file = folder / "token"
        self.ca_file = folder / "ca.crt"
        self.token_file.write_text("pod-token", encoding="ascii")

    @property
    def api_server(self) -> ApiServer:
        """How the gateway reaches it."""
        return ApiServer(host="127.0.0.1", port=self.port, ca_file=self.ca_file, token_file=self.token_file)

    async def start(self, *, port: int = 0) -> Self:
        """Listen."""
        context, pem = server_context()
        self.ca_file.write_text(pem, encoding="ascii")
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=context, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Break every connection and stop listening."""
        if self._server is not None:
            self._server.close()
        self.break_connections()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def break_connections(self) -> None:
        """End every connection at once."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        self.connections += 1
        try:
            if self.serve_connection is not None:
                await self.serve_connection(reader, writer)
            else:
                await self._serve_connection(reader, writer, number=self.connections)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, number: int
    ) -> None:
        while True:
            received = await _receive(reader, number)
            self.requests.append(received)
            answer = self.respond(received)
            reply = answer if isinstance(answer, Reply) else await answer
            await _send(reply, writer)
            if reply.status == 101 and self.spliced is not None:
                await self.spliced(reader, writer)
            if reply.close or reply.status == 101:
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
                return


async def _receive(reader: asyncio.StreamReader, number: int) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
    method, target, version = head[0].split(" ")
    assert version == "HTTP/1.1"
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:])]
    fields = dict(headers)
    body = b""
    if fields.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    elif "content-length" in fields:
        body = await reader.readexactly(int(fields["content-length"]))
    return Received(method, target, headers, body, number)


async def _send(reply: Reply, writer: asyncio.StreamWriter) -> None:
    if reply.raw is not None:
        writer.write(reply.raw)
        await writer.drain()
        return
    fields = list(reply.headers)
    if isinstance(reply.parts, bytes):
        if reply.status not in {101, 204, 304}:
            fields.append(("Content-Length", str(len(reply.parts))))
    else:
        fields.append(("Transfer-Encoding", "chunked"))
    lines = [f"HTTP/1.1 {reply.status} Status", *(f"{name}: {value}" for name, value in fields), "", ""]
    writer.write("\r\n".join(lines).encode("latin-1"))
    if isinstance(reply.parts, bytes):
        writer.write(reply.parts)
    else:
        await writer.drain()
        async for part in reply.parts:
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
    await writer.drain()
