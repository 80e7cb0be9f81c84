"""Connections that owe us a request, and more of them than there is place for: over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import httpx2
import pytest

from k8s_mcp_server.serving.connections import ConnectionLimits
from k8s_mcp_server.serving.form import fields_of
from k8s_mcp_server.serving.health import health_app
from k8s_mcp_server.serving.http_server import HttpServer
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.serving import serving

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

WAIT_SECONDS = 10
SOON = 0.2
BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).encode()
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def head(*, token: str = "", length: int = 0, path: str = "/mcp") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}"]
    lines += ["Accept: application/json, text/event-stream", "Content-Type: application/json"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    return "\r\n".join([*lines, "", ""]).encode()


class Peers:
    """Connections that a test opens; closed with it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._opened: list[asyncio.StreamWriter] = []

    async def open(self, sent: bytes = b"", *, address: str = "127.0.0.1") -> Connection:
        connection = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))
        self._opened.append(connection[1])
        connection[1].write(sent)
        return connection

    def close(self) -> None:
        for writer in self._opened:
            writer.close()


@contextlib.asynccontextmanager
async def connecting(url: str) -> AsyncIterator[Peers]:
    peers = Peers(int(url.rsplit(":", 1)[1].partition("/")[0]))
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            yield peers
    finally:
        peers.close()


@contextlib.asynccontextmanager
async def server(app: ASGIApp, **limits: float) -> AsyncIterator[HttpServer]:
    running = HttpServer(app, host="127.0.0.1", port=0, limits=ConnectionLimits(**limits))  # type: ignore[arg-type]  # ints and floats of a test
    await running.start()
    try:
        yield running
    finally:
        await running.stop(grace_seconds=1)


async def without_lifespan(receive: Receive, send: Send) -> None:
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})


async def end_of(connection: Connection) -> bytes:
    """All that the peer still sends before it ends the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := await connection[0].read(65536):
            received += data
    return received


async def trickle(connection: Connection, piece: bytes) -> bytes:
    """Send ``piece`` again and again until the peer ends the connection, and give what it sent."""
    end = asyncio.create_task(end_of(connection))
    while not end.done():
        with contextlib.suppress(ConnectionError):
            connection[1].write(piece)
            await connection[1].drain()
        await asyncio.wait({end}, timeout=SOON / 10)
    return end.result()


async def status_of(connection: Connection) -> int:
    line = await connection[0].readuntil(b"\r\n")
    return int(line.split()[1])


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"POST /mc", id="half a line"),
        pytest.param(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n", id="half a head"),
    ],
)
async def test_a_connection_without_a_complete_head_is_closed(sent: bytes) -> None:
    async with serving(limits=ConnectionLimits(head_seconds=SOON)) as service, connecting(service.url) as peers:
        assert await end_of(await peers.open(sent)) == b""


async def test_a_head_that_trickles_buys_no_time() -> None:
    async with serving(limits=ConnectionLimits(head_seconds=SOON)) as service, connecting(service.url) as peers:
        assert await trickle(await peers.open(b"POST /mcp HTTP/1.1\r\n"), b"X: y\r\n") == b""


async def test_a_second_head_has_no_more_time_than_the_first() -> None:
    limits = ConnectionLimits(head_seconds=SOON)
    async with serving(limits=limits) as service, connecting(service.url) as peers:
        connection = await peers.open(head())
        assert await status_of(connection) == 401
        assert b"HTTP/1.1" not in await trickle(connection, b"X")


async def test_a_slow_body_without_a_token_is_answered_at_once_and_then_closed() -> None:
    limits = ConnectionLimits(head_seconds=SOON, body_seconds=WAIT_SECONDS * 10)
    async with serving(limits=limits) as service, connecting(service.url) as peers:
        connection = await peers.open(head(token="wrong", length=10**6) + b"{")
        assert await status_of(connection) == 401
        await trickle(connection, b" ")


async def test_a_slow_body_with_a_token_is_closed_too_and_runs_nothing() -> None:
    limits = ConnectionLimits(body_seconds=SOON)
    async with serving(limits=limits) as service, connecting(service.url) as peers:
        assert await trickle(await peers.open(head(token="alice", length=10**6)), b" ") == b""
        assert service.tokens.seen == ["alice"]


async def test_a_request_that_is_complete_may_take_its_time() -> None:
    release = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await without_lifespan(receive, send)
            return
        await release.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async with (
        server(app, head_seconds=SOON, body_seconds=SOON, stall_seconds=SOON) as running,
        connecting(f":{running.port}") as peers,
    ):
        patient = await peers.open(head(length=2) + b"{}")
        for _ in range(2):  # each lives as long as any of the limits
            await end_of(await peers.open())
        release.set()
        assert await status_of(patient) == 204


async def test_a_peer_that_does_not_read_its_answer_is_closed() -> None:
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await without_lifespan(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        sending = asyncio.create_task(send_for_ever(send))
        while (await receive())["type"] != "http.disconnect":
            pass
        sending.cancel()
        gone.set()

    async def send_for_ever(send: Send) -> None:
        while True:
            await send({"type": "http.response.body", "body": bytes(2**20), "more_body": True})
            await asyncio.sleep(0)

    async with server(app, stall_seconds=SOON) as running, asyncio.timeout(WAIT_SECONDS):
        with socket.create_connection(("127.0.0.1", running.port)) as peer:
            peer.sendall(head())
            await gone.wait()


async def test_an_address_has_so_many_connections_and_the_oldest_without_a_token_makes_room() -> None:
    limits = ConnectionLimits(per_address=3)
    async with serving(limits=limits) as service, connecting(service.url) as peers:
        authenticated = await peers.open(head(token="alice", length=len(BODY)) + BODY)
        assert await status_of(authenticated) == 200
        oldest, younger = await peers.open(head()), await peers.open(head())
        assert [await status_of(each) for each in (oldest, younger)] == [401, 401]
        other = await peers.open(head(), address="127.0.0.2")
        newcomer = await peers.open(head())
        assert [await status_of(each) for each in (other, newcomer)] == [401, 401]
        await end_of(oldest)
        for connection in (authenticated, younger):
            connection[1].write(head())
        assert await status_of_next(younger) == 401
        assert await status_of_next(authenticated) == 401


async def status_of_next(connection: Connection) -> int:
    """The status of the answer after the one that is being read."""
    await connection[0].readuntil(b"HTTP/1.1 ")
    return int((await connection[0].readuntil(b" ")).decode())


async def test_connections_with_a_token_make_no_room() -> None:
    limits = ConnectionLimits(per_address=2)
    async with serving(limits=limits) as service, connecting(service.url) as peers:
        for _ in range(2):
            connection = await peers.open(head(token="alice", length=len(BODY)) + BODY)
            assert await status_of(connection) == 200
        assert await end_of(await peers.open(head())) == b""


async def test_a_connection_that_ended_leaves_its_place() -> None:
    async with serving(limits=ConnectionLimits(per_address=1)) as service, connecting(service.url) as peers:
        for _ in range(3):
            connection = await peers.open(head(token="alice", length=len(BODY)) + BODY)
            assert await status_of(connection) == 200
            connection[1].write_eof()
            await end_of(connection)


async def test_a_client_with_a_token_is_served_while_others_hold_every_connection() -> None:
    limits = ConnectionLimits(total=8, per_address=5)
    async with serving(limits=limits) as service, connecting(service.url) as peers:
        flood = [
            await peers.open(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\n", address=f"127.0.0.{number % 4 + 1}")
            for number in range(40)
        ]
        async with service.client() as client:
            answer = await client.call_tool("execute_kubectl", {"command": "get pods"})
        assert fields_of(answer)["status"] == "succeeded"
        await asyncio.gather(*map(end_of, flood[:32]))


async def test_health_is_answered_while_its_own_port_is_flooded() -> None:
    app = health_app(not_ready_reasons=tuple, sandbox_level=lambda: "required", registry=Metrics().registry)
    async with server(app, total=8, per_address=8) as running, connecting(f":{running.port}") as peers:
        for _ in range(40):
            await peers.open(b"GET /livez HTTP/1.1\r\n")
        async with httpx2.AsyncClient(timeout=WAIT_SECONDS) as http:
            response = await http.get(f"http://127.0.0.1:{running.port}/livez")

    assert response.status_code == 200


async def test_a_full_server_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(limits=ConnectionLimits(per_address=1)) as service, connecting(service.url) as peers:
        for _ in range(4):
            assert await status_of(await peers.open(head())) == 401

    assert [record.getMessage() for record in caplog.records if "connections" in record.name] == [
        "all 1 connections of 127.0.0.1 are in use"
    ]
