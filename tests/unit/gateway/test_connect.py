"""CONNECT: decided by host and port, to an address that was checked, and TLS to that host and no other."""

from __future__ import annotations

import asyncio
import base64
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.gateway.connect import exchange
from k8s_mcp_server.gateway.connect.hello import NoHello, server_name
from k8s_mcp_server.gateway.gateway import Gateway
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.asking import AGENT, NOW, rule
from tests.support.fake_upstream import FakeUpstream
from tests.support.gateway_bench import OURSELVES, RecordingAudit
from tests.support.raw_http import RawClient
from tests.support.waiting import eventually
from tests.unit.serving.test_helm_deciding import Sources

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from k8s_mcp_server.gateway.session import CommandSession

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HOST = "charts.example.com"


def hello(name: str | None, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """What a real TLS client sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_name_that_a_client_asks_for_is_read(version: ssl.TLSVersion) -> None:
    data = hello(HOST, version=version)
    assert server_name(data) == HOST
    assert server_name(data + b"more") == HOST
    assert [server_name(data[:size]) for size in range(len(data))] == [None] * len(data)


def test_a_client_may_ask_for_no_name() -> None:
    assert server_name(hello(None)) == ""


def test_a_hello_in_several_records_is_put_together() -> None:
    data = hello(HOST)
    head, body = data[:3], data[5:]
    parts = [body[:10], body[10:200], body[200:]]
    assert server_name(b"".join(head + len(part).to_bytes(2, "big") + part for part in parts)) == HOST


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="HTTP"),
        pytest.param(b"\x16\x02" + bytes(60), id="no TLS version"),
        pytest.param(b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", id="another message"),
        pytest.param(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", id="a message without end"),
        pytest.param(b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\xff\xff\xff\xff", id="a message cut short"),
        pytest.param(b"\x17\x03\x03\x00\x01x", id="data"),
        pytest.param(b"SSH-2.0-x\r\n", id="SSH"),
    ],
)
def test_what_is_no_hello_is_refused(data: bytes) -> None:
    with pytest.raises(NoHello):
        server_name(data)


@dataclass
class ChartServer:
    """A TCP server that remembers what it got, and answers with as many bytes as it is told to."""

    got: list[bytes] = field(default_factory=list)
    answer: bytes = b"hello yourself"
    port: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while data := await reader.read(65536):
            self.got.append(data)
            writer.write(self.answer)


@dataclass
class Bench:
    gateway: Gateway
    sources: Sources
    audit: RecordingAudit
    server: ChartServer
    session: CommandSession
    addresses: dict[str, Sequence[str]]
    api_port: int

    async def connect(self, target: str, *, token: str | None = None, user: str = "helm") -> RawClient:
        client = await RawClient.connect(self.gateway.port, self.gateway.ca_pem)
        token = self.session.token if token is None else token
        credentials = base64.b64encode(f"{user}:{token}".encode()).decode()
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {credentials}\r\n\r\n"
        await client.send(head.encode())
        return client

    async def status(self, target: str, **more: str) -> int:
        async with await self.connect(target, **more) as client:
            return (await client.head())[0]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    upstream = await FakeUpstream(tmp_path).start()
    chart_server = ChartServer()
    listening = await asyncio.start_server(chart_server.serve, "127.0.0.1", 0)
    chart_server.port = port = listening.sockets[0].getsockname()[1]
    hosts = [f"{name}:{port}" for name in (HOST, "rebound.example.com", "10.0.0.7", "127.0.0.1")]
    addresses: dict[str, Sequence[str]] = {HOST: ["127.0.0.1"], "127.0.0.1": ["127.0.0.1"]}
    addresses[upstream.api_server.host] = ["127.0.0.1"]

    async def look_up(host: str, port: int) -> Sequence[str]:
        del port
        return addresses.get(host, [])

    sources = Sources(
        rule("get"),
        charts={"repositories": []},
        egress={"hosts": [*hosts, f"api.example.com:{upstream.api_server.port}"], "privateCIDRs": ["127.0.0.0/8"]},
    )
    addresses["api.example.com"] = ["127.0.0.1"]
    audit = RecordingAudit()
    gateway = Gateway(
        api_server=upstream.api_server,
        authorizer=Authorizer(
            store=sources, discovery=sources, access=sources, environment=Environment(), clock=lambda: NOW
        ),
        metrics=Metrics(),
        audit=audit,
        service_account=OURSELVES,
        look_up=look_up,
    )
    await gateway.start()
    session = gateway.open(client=AGENT, tool=Tool.HELM, command_id="cmd-1")
    yield Bench(gateway, sources, audit, chart_server, session, addresses, upstream.api_server.port)
    await gateway.close()
    for writer in chart_server.writers:
        writer.transport.abort()
    listening.close()
    await listening.wait_closed()
    await upstream.stop()


async def test_a_connection_to_a_named_host_carries_tls_both_ways(bench: Bench) -> None:
    async with await bench.connect(f"{HOST}:{bench.server.port}") as client:
        assert (await client.head())[0] == 200
        await client.send(hello(HOST))
        assert await client.reader.read(100) == b"hello yourself"
    assert server_name(b"".join(bench.server.got)) == HOST
    await eventually(lambda: bool(bench.audit.records))
    [record] = bench.audit.records
    assert (record.method, record.target, record.status) == ("CONNECT", f"{HOST}:{bench.server.port}", 200)
    assert record.decision.matched is not None


@pytest.mark.parametrize(
    ("target", "status"),
    [
        pytest.param("other.example.com:{port}", 403, id="another host"),
        pytest.param(f"{HOST}:1", 403, id="another port"),
        pytest.param(f"{HOST}.:{{port}}", 400, id="a dot at the end"),
        pytest.param("CHARTS.EXAMPLE.COM:{port}", 400, id="capitals"),
        pytest.param(f"helm@{HOST}:{{port}}", 400, id="a user"),
        pytest.param(f"{HOST}", 400, id="no port"),
        pytest.param(f"{HOST}:0{{port}}", 400, id="a port with a zero before it"),
        pytest.param(f"{HOST}:{{port}}/", 400, id="a path"),
        pytest.param(f"https://{HOST}:{{port}}", 400, id="a URL"),
        pytest.param("[::1]:{port}", 400, id="an IPv6 address"),
        pytest.param("2130706433:{port}", 403, id="an address as a number"),
        pytest.param("10.0.0.7:{port}", 403, id="a private address, named and without a network"),
        pytest.param("rebound.example.com:{port}", 403, id="a host without an address"),
    ],
)
async def test_nothing_else_is_connected_to(bench: Bench, target: str, status: int) -> None:
    bench.addresses["10.0.0.7"] = ["10.0.0.7"]
    assert await bench.status(target.format(port=bench.server.port)) == status
    assert bench.server.got == []
    assert bench.session.requests_denied == 1


@pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.1", "::1", "0.0.0.0", "::ffff:10.0.0.1"])  # noqa: S104
async def test_a_name_that_leads_to_an_address_that_is_not_named_leads_nowhere(bench: Bench, address: str) -> None:
    bench.addresses["rebound.example.com"] = [address]
    assert await bench.status(f"rebound.example.com:{bench.server.port}") == 403
    assert "out of reach" in bench.session.denials[0]


async def test_a_name_is_looked_up_once_and_the_checked_address_is_used(bench: Bench) -> None:
    """The second answer would be another one: there is no second question."""
    port = bench.server.port
    bench.addresses["rebound.example.com"] = ["10.9.9.9", "127.0.0.1"]
    async with await bench.connect(f"rebound.example.com:{port}") as client:
        assert (await client.head())[0] == 200
        bench.addresses["rebound.example.com"] = ["10.9.9.9"]
        await client.send(hello("rebound.example.com"))
        assert await client.reader.read(100) == b"hello yourself"


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
async def test_the_api_server_and_the_gateway_are_never_connected_to(bench: Bench, address: str) -> None:
    bench.addresses["api.example.com"] = [address]
    assert await bench.status(f"api.example.com:{bench.api_port}") == 403
    assert "the API server or the service itself" in bench.session.denials[0]


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(hello("other.example.com"), id="another name"),
        pytest.param(hello(None), id="no name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="no TLS"),
        pytest.param(b"\x16\x03\x01\x40\x00" + bytes(20_000), id="no end"),
    ],
)
async def test_what_is_not_tls_to_that_host_is_cut_off(bench: Bench, first: bytes) -> None:
    async with await bench.connect(f"{HOST}:{bench.server.port}") as client:
        assert (await client.head())[0] == 200
        await client.send(first)
        assert await client.is_closed()
    assert bench.server.got == []
    await eventually(lambda: bench.session.requests_denied == 1)
    assert "was ended" in bench.session.denials[0]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        pytest.param({"token": "x"}, 401, id="a wrong token"),
        pytest.param({"token": ""}, 401, id="no token"),
        pytest.param({"user": "other"}, 401, id="another user"),
    ],
)
async def test_a_connection_takes_the_command_s_own_token(bench: Bench, more: dict[str, str], code: int) -> None:
    assert await bench.status(f"{HOST}:{bench.server.port}", **more) == code
    assert bench.server.got == []


async def test_the_token_of_a_command_that_ended_opens_nothing(bench: Bench) -> None:
    await bench.gateway.close_session(bench.session)
    assert await bench.status(f"{HOST}:{bench.server.port}") == 401


@pytest.mark.parametrize("tool", [Tool.KUBECTL, Tool.ISTIOCTL, Tool.ARGOCD])
async def test_no_other_cli_connects_to_hosts(bench: Bench, tool: Tool) -> None:
    other = bench.gateway.open(client=AGENT, tool=tool, command_id="cmd-2")
    assert await bench.status(f"{HOST}:{bench.server.port}", token=other.token) == 405


async def test_a_connection_ends_when_its_host_is_not_named_any_more(bench: Bench) -> None:
    async with await bench.connect(f"{HOST}:{bench.server.port}") as client:
        await client.head()
        await client.send(hello(HOST))
        assert await client.reader.read(100)
        bench.sources.snapshot = Sources(rule("get")).snapshot
        bench.gateway.revalidate()
        assert await client.is_closed()
    assert bench.session.ended.is_set()


async def test_a_connection_ends_with_its_command(bench: Bench) -> None:
    async with await bench.connect(f"{HOST}:{bench.server.port}") as client:
        await client.head()
        await client.send(hello(HOST))
        assert await client.reader.read(100)
        await bench.gateway.close_session(bench.session)
        assert await client.is_closed()


async def test_a_command_gets_so_many_bytes_and_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MOST_BYTES", 100_000)
    bench.server.answer = bytes(200_000)
    async with await bench.connect(f"{HOST}:{bench.server.port}") as client:
        await client.head()
        await client.send(hello(HOST))
        received = b""
        while data := await client.reader.read(65536):
            received += data
    assert len(received) <= 100_000
    await eventually(lambda: bench.session.requests_denied == 1)
