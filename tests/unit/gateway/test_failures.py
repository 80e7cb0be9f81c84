"""An API server that is gone, slow or strange, and clients that are: an honest answer in bounded time, never a hang."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import pytest

from k8s_mcp_server.gateway.front import FrontLimits
from k8s_mcp_server.gateway.pool import UpstreamLimits
from tests.support.fake_upstream import Received, Reply
from tests.support.gateway_bench import Bench, cut_to
from tests.support.raw_http import RawClient, request

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

PODS = "/api/v1/namespaces/a/pods"


async def never(_: Received) -> Reply:
    await asyncio.Event().wait()
    raise AssertionError


async def test_an_api_server_that_is_down_is_a_503_that_says_so(bench: Bench) -> None:
    await bench.upstream.stop()
    for method in ("GET", "POST"):
        answer = await bench.ask(method, PODS)
        assert (answer.status, answer.json()["reason"]) == (503, "ServiceUnavailable")
        assert answer.json()["message"].startswith("Nothing was done: the API server cannot be reached")


async def test_another_server_behind_the_address_is_not_trusted(bench: Bench) -> None:
    port = bench.upstream.port
    await bench.upstream.stop()
    ca = bench.upstream.ca_file.read_text(encoding="ascii")
    await bench.upstream.start(port=port)
    bench.upstream.ca_file.write_text(ca, encoding="ascii")
    answer = await bench.ask("GET", PODS)
    assert answer.status == 503
    assert "TLS" in answer.json()["message"]
    assert bench.upstream.requests == []


async def test_a_restarted_api_server_is_used_at_once(bench: Bench) -> None:
    assert (await bench.ask("GET", PODS)).status == 200
    port = bench.upstream.port
    await bench.upstream.stop()
    await bench.upstream.start(port=port)  # with a new certificate, too
    assert (await bench.ask("GET", PODS)).status == 200


async def test_a_read_on_a_connection_that_just_ended_is_repeated_once(bench: Bench) -> None:
    assert (await bench.ask("GET", PODS)).status == 200

    def respond(received: Received) -> Reply:
        return Reply(raw=b"", close=True) if received.connection == 1 else Reply(parts=b"ok")

    bench.upstream.respond = respond
    answer = await bench.ask("GET", PODS)
    assert (answer.status, answer.body) == (200, b"ok")
    assert len(bench.upstream.requests) == 3


async def test_a_read_on_a_new_connection_that_ends_is_not_repeated(bench: Bench) -> None:
    bench.upstream.respond = lambda _: Reply(raw=b"", close=True)
    answer = await bench.ask("GET", PODS)
    assert answer.status == 502
    assert "Nothing was changed" in answer.json()["message"]
    assert len(bench.upstream.requests) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_write_whose_answer_is_lost_is_not_repeated(bench: Bench, method: str) -> None:
    assert (await bench.ask("GET", PODS)).status == 200
    bench.upstream.respond = lambda _: Reply(raw=b"", close=True)
    answer = await bench.ask(method, f"{PODS}/p", body=b"{}")
    assert answer.status == 502
    assert "not known: look before you repeat it" in answer.json()["message"]
    assert len(bench.upstream.requests) == 2


class TestASlowApiServer:
    """With little patience."""

    @pytest.fixture
    def upstream_limits(self) -> UpstreamLimits:
        return UpstreamLimits(connect_seconds=2, response_seconds=0.05)

    async def test_is_a_504(self, bench: Bench) -> None:
        bench.upstream.respond = never
        answer = await bench.ask("GET", PODS)
        assert (answer.status, answer.json()["reason"]) == (504, "Timeout")

    async def test_may_take_its_time_for_logs(self, bench: Bench) -> None:
        async def later(_: Received) -> Reply:
            await asyncio.sleep(0.2)
            return Reply(parts=b"line\n")

        bench.upstream.respond = later
        answer = await bench.ask("GET", f"{PODS}/p/log?follow=true")
        assert (answer.status, answer.body) == (200, b"line\n")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", id="bad length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 300_000 + b"\r\n\r\n", id="huge head"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="CL+TE"
        ),
    ],
)
async def test_an_answer_that_is_no_http_is_a_502(bench: Bench, raw: bytes) -> None:
    bench.upstream.respond = lambda _: Reply(raw=raw, close=True)
    assert (await bench.ask("GET", PODS)).status == 502


@pytest.mark.parametrize("filtered", [False, True], ids=["exact", "filtered"])
async def test_an_answer_that_breaks_off_never_looks_complete(bench: Bench, filtered: bool) -> None:
    if filtered:
        bench.authorizer.rule = lambda _: cut_to("a")
    raw = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"items":['
    bench.upstream.respond = lambda _: Reply(raw=raw, close=True)
    client = await bench.connect()
    await client.send(request("GET", "/api/v1/pods", token=bench.session.token))
    if filtered:
        assert (await client.response()).status == 502
    else:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.response()


async def test_bytes_that_nobody_asked_for_answer_nothing(bench: Bench) -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    bench.upstream.respond = lambda received: Reply(raw=ok + b"ok" + (ok + b"no" if received.connection == 1 else b""))
    answers = [(await bench.ask("GET", PODS)).body for _ in range(3)]
    assert b"no" not in answers


async def test_a_missing_token_file_is_a_503(bench: Bench) -> None:
    bench.upstream.token_file.unlink()
    answer = await bench.ask("GET", PODS)
    assert answer.status == 503
    assert "token" in answer.json()["message"]
    assert bench.upstream.requests == []


async def test_an_answer_before_the_whole_request_is_passed_on(bench: Bench) -> None:
    raw = b"HTTP/1.1 413 Too Large\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        await reader.read()

    bench.upstream.serve_connection = early
    client = await bench.connect()
    await client.send(request("POST", PODS, token=bench.session.token, headers=("Content-Length: 1000",)))
    assert (await client.response()).status == 413
    await client.send(b"x" * 1000)
    bench.upstream.serve_connection = None
    await client.send(request("GET", PODS, token=bench.session.token))
    assert (await client.response()).status == 200
    assert bench.upstream.connections == 2


async def test_a_client_that_closes_its_half_of_the_connection_leaves_nothing_open(bench: Bench) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.close()
        ended.set()

    bench.upstream.serve_connection = watch
    client = await bench.connect()
    await client.send(request("GET", f"{PODS}?watch=1", token=bench.session.token))
    async with asyncio.timeout(10):
        await asked.wait()
        client.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)  # below TLS, which has no such thing
        assert await client.is_closed()
        await ended.wait()


async def test_an_api_server_that_closes_its_half_in_an_answer_breaks_it_off(bench: Bench) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        await reader.read()

    bench.upstream.serve_connection = half
    client = await bench.connect()
    await client.send(request("GET", PODS, token=bench.session.token))
    with pytest.raises(asyncio.IncompleteReadError):
        await client.response()
    bench.upstream.serve_connection = None
    assert (await bench.ask("GET", PODS)).status == 200


class TestImpatience:
    """With short limits for the command's side."""

    @pytest.fixture
    def front_limits(self) -> FrontLimits:
        return FrontLimits(
            head_seconds=0.1, idle_seconds=0.1, body_seconds=0.1, body_bytes=10_000, discard_bytes=20_000
        )

    async def test_a_head_that_comes_drop_by_drop_is_a_408(self, bench: Bench) -> None:
        client = await bench.connect()
        data = request("GET", PODS, token=bench.session.token)

        async def drip() -> None:
            for index in range(len(data)):
                client.writer.write(data[index : index + 1])
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert (await client.response()).status == 408
        assert await client.is_closed()
        dripping.cancel()
        assert bench.upstream.requests == []

    async def test_a_silent_connection_is_closed(self, bench: Bench) -> None:
        client = await bench.connect()
        assert await client.is_closed()
        assert bench.audit.records == []

    async def test_an_idle_connection_is_closed(self, bench: Bench) -> None:
        client = await bench.connect()
        await client.send(request("GET", PODS, token=bench.session.token))
        assert (await client.response()).status == 200
        assert await client.is_closed()

    async def test_a_body_that_does_not_come_is_a_408(self, bench: Bench) -> None:
        client = await bench.connect()
        await client.send(request("POST", PODS, token=bench.session.token, headers=("Content-Length: 5",)) + b"{")
        assert (await client.response()).status == 408
        assert await client.is_closed()
        assert bench.upstream.requests == []

    async def test_a_refused_body_is_not_read_for_ever(self, bench: Bench) -> None:
        client = await bench.connect()
        await client.send(request("POST", PODS, token="wrong", headers=("Transfer-Encoding: chunked",)))
        assert (await client.response()).status == 401
        assert await client.is_closed()

    async def test_a_running_answer_has_no_limit(self, bench: Bench) -> None:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            await asyncio.sleep(0.4)
            yield b"b"

        bench.upstream.respond = lambda _: Reply(parts=parts())
        assert (await bench.ask("GET", f"{PODS}?watch=1")).body == b"ab"

    async def test_a_handshake_that_does_not_come_is_given_up(self, bench: Bench) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()


async def test_a_slow_reader_holds_the_api_server_back(bench: Bench) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b"x" * 65536

    bench.upstream.respond = lambda _: Reply(parts=endless())
    client = await bench.connect()
    await client.send(request("GET", PODS, token=bench.session.token))
    await client.head()
    previous = -1
    async with asyncio.timeout(10):
        while sent != previous:
            previous = sent
            await asyncio.sleep(0.2)
    assert sent < 64 * 1024 * 1024


async def test_plain_http_gets_no_answer(bench: Bench) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(10):
        try:
            data = await reader.read()
        except ConnectionError:
            data = b""
    assert b"HTTP" not in data
    writer.close()


async def test_tls_below_1_3_is_refused(bench: Bench) -> None:
    context = ssl.create_default_context(cadata=bench.gateway.ca_pem)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await RawClient.connect(bench.gateway.port, bench.gateway.ca_pem, context=context)


async def test_a_client_that_trusts_another_certificate_does_not_connect(bench: Bench) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await RawClient.connect(bench.gateway.port, bench.upstream.ca_file.read_text(encoding="ascii"))
