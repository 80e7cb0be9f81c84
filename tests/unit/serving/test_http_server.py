"""One HTTP server, over real sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from starlette.responses import PlainTextResponse

from k8s_mcp_server.serving.connections import ConnectionLimits
from k8s_mcp_server.serving.http_server import HttpServer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def _answer(reader: asyncio.StreamReader) -> str:
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(len(b"here"))
    return head.decode().lower()


async def test_a_server_that_leaves_serves_on_and_ends_each_connection_with_its_answer() -> None:
    async with asyncio.timeout(20):
        server = HttpServer(_without_lifespan, host="127.0.0.1", port=0)
        await server.start()
        kept = await asyncio.open_connection("127.0.0.1", server.port)
        kept[1].write(_REQUEST)
        assert "connection: close" not in await _answer(kept[0])
        server.send_away()
        new = await asyncio.open_connection("127.0.0.1", server.port)
        for reader, writer in (kept, new):
            writer.write(_REQUEST)
            assert "connection: close" in await _answer(reader)
            assert await reader.read() == b""
            writer.close()
        await server.stop(grace_seconds=1)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_without_a_host_clients_of_both_address_families_are_served_and_called_by_their_address(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with asyncio.timeout(20):
        server = HttpServer(_without_lifespan, host="", port=0, limits=ConnectionLimits(per_address=1))
        await server.start()
        first = await asyncio.open_connection(address, server.port)
        reader, writer = await asyncio.open_connection(address, server.port)
        writer.write(_REQUEST)
        assert await _answer(reader)
        assert f"all 1 connections of {address} are in use" in caplog.messages
        for each in (first[1], writer):
            each.close()
        await server.stop(grace_seconds=1)


async def _without_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    await PlainTextResponse("here")(scope, receive, send)
