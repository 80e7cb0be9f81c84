"""What a command says through a planned port-forward is read before it is passed on, and held to the plan."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s_mcp_server.gateway.portforward.dictionary import HEADER_DICTIONARY
from k8s_mcp_server.gateway.portforward.errors import ForwardRefused
from k8s_mcp_server.gateway.portforward.inspector import MOST_STREAMS, ForwardInspector
from k8s_mcp_server.gateway.portforward.request import MOST_REQUESTS, PlannedRequests
from tests.support.spdy import FIN, SpdyClient, control, data, header_block, websocket

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.unit

DUMP = "GET /config_dump?mask=bootstrap"
HEAD = f"{DUMP} HTTP/1.1\r\nHost: localhost:40123\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n"
REQUEST = HEAD.encode()
PORTS = {15000: frozenset({DUMP, "POST /logging"}), 15012: None}


def feed(*parts: bytes, upgrade: str = "spdy/3.1") -> None:
    inspector = ForwardInspector(PORTS, upgrade=upgrade)
    for part in parts:
        inspector.inspect(part)


def request_bytes(*parts: bytes) -> bytes:
    """A port-forward to a proxy, and what is said through it."""
    client = SpdyClient()
    return client.pair(15000) + b"".join(data(client.stream, part) for part in parts)


def test_the_dictionary_is_that_of_the_specification() -> None:
    """Compared with github.com/moby/spdystream v0.5.1, spdy/dictionary.go."""
    digest = hashlib.sha256(HEADER_DICTIONARY).hexdigest()
    assert digest == "51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02"


def test_a_planned_request_passes() -> None:
    feed(request_bytes(REQUEST))
    feed(websocket(request_bytes(REQUEST)), upgrade="websocket")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("upgrade", ["spdy/3.1", "websocket"])
def test_however_it_is_split(size: int, upgrade: str) -> None:
    whole = request_bytes(REQUEST[:5], REQUEST[5:30], REQUEST[30:])
    if upgrade == "websocket":
        whole = websocket(whole[:20]) + websocket(b"", first=0x89) + websocket(whole[20:])
    feed(*(whole[at : at + size] for at in range(0, len(whole), size)), upgrade=upgrade)


def test_a_message_in_several_frames_is_read_as_one() -> None:
    whole = request_bytes(REQUEST)
    parts = (whole[:30], whole[30:60], whole[60:])
    feed(
        *(websocket(part, first=first) for part, first in zip(parts, (0x02, 0x00, 0x80), strict=True)),
        upgrade="websocket",
    )


@pytest.mark.parametrize("size", [125, 126, 65535, 65536, 200_000])
def test_frames_of_any_length_are_read(size: int) -> None:
    client = SpdyClient()
    opaque = client.pair(15012) + data(client.stream, bytes(size))
    feed(websocket(opaque), upgrade="websocket")


def referred(origin: str) -> bytes:
    return REQUEST[:-2] + f"Referer: http://{origin}/config_dump\r\n\r\n".encode()


def test_a_redirect_of_the_one_who_is_asked_is_followed() -> None:
    feed(request_bytes(REQUEST, referred("localhost:40123")))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(referred("localhost:40124"), id="another port"),
        pytest.param(referred("127.0.0.1:40123"), id="another name"),
        pytest.param(referred("localhost"), id="no port"),
        pytest.param(referred("localhost:40123@localhost:40124"), id="a name before it"),
        pytest.param(REQUEST + REQUEST.replace(b"40123", b"40124"), id="then to another port"),
        pytest.param(REQUEST.replace(b"Host", b"Referer: http://localhost:40124/\r\nHost"), id="said first"),
    ],
)
def test_a_redirect_from_elsewhere_is_refused(said: bytes) -> None:
    """A hostile proxy would lead the command that asks it into the port-forward of another command on the same host."""
    with pytest.raises(ForwardRefused):
        feed(request_bytes(said))


def test_what_is_encrypted_passes_unread() -> None:
    client = SpdyClient()
    feed(client.pair(15012) + data(client.stream, b"\x16\x03\x01\x00POST /logging?level=debug HTTP/1.1\r\n\r\n"))


def test_connections_may_follow_each_other_and_end() -> None:
    client, inspector = SpdyClient(), ForwardInspector(PORTS, upgrade="spdy/3.1")
    for number in range(3):
        pair = client.pair(15000, request=str(number))
        inspector.inspect(pair + data(client.stream, REQUEST) + data(client.stream, b"", flags=FIN))


def test_what_keeps_a_connection_alive_passes() -> None:
    ping, reset, goodbye = control(6, bytes(4)), control(3, (1).to_bytes(4, "big") + bytes(4)), control(7, bytes(8))
    feed(request_bytes(REQUEST) + ping + reset + goodbye)


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(REQUEST.replace(b"GET", b"POST"), id="another method"),
        pytest.param(REQUEST.replace(b"bootstrap", b"bootstrap&x=1"), id="another query"),
        pytest.param(REQUEST.replace(b"config_dump", b"quitquitquit"), id="another path"),
        pytest.param(REQUEST.replace(b"/config", b"//config"), id="a path that servers may clean"),
        pytest.param(b"POST /logging?level=debug HTTP/1.1\r\nHost: localhost\r\n\r\n", id="a write"),
        pytest.param(b"POST /logging HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nlevel", id="a body"),
        pytest.param(b"POST /logging HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="a chunked body"),
        pytest.param(REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"), id="another version"),
        pytest.param(REQUEST.replace(b"\r\n", b"\n"), id="bare line feeds"),
        pytest.param(REQUEST.replace(b"Host:", b"Host :"), id="a blank before the colon"),
        pytest.param(REQUEST.replace(b"Host: localhost", b"Host: istiod.istio-system"), id="another host"),
        pytest.param(REQUEST.replace(b"Accept-Encoding", b"X-Envoy-Something"), id="another field"),
        pytest.param(REQUEST[:-2] + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", id="an upgrade"),
        pytest.param(REQUEST[:-2] + b" Host: x\r\n\r\n", id="a folded line"),
        pytest.param(REQUEST + b"GET /quit HTTP/1.1\r\n\r\n", id="a second request that was not planned"),
        pytest.param(REQUEST * (MOST_REQUESTS + 1), id="too many requests"),
        pytest.param(REQUEST + b"\r\n", id="something after the end"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"\x16\x03\x01\x02\x00", id="TLS"),
        pytest.param(b"GET /config_dump\r\n", id="HTTP/0.9"),
    ],
)
def test_through_it_nothing_else_is_said(said: bytes) -> None:
    with pytest.raises(ForwardRefused):
        feed(request_bytes(said))
    with pytest.raises(ForwardRefused):
        feed(request_bytes(*(said[at : at + 1] for at in range(len(said)))))


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"POST /logging?", id="the beginning of a write"),
        pytest.param(REQUEST.partition(b"\r\n\r\n")[0] + b"\n", id="a bare line feed at the end of a field"),
        pytest.param(REQUEST.partition(b"\r\n")[0] + b"\r\nHost: x\nPOST", id="a bare line feed within a field"),
        pytest.param(REQUEST.partition(b"\r\n")[0] + b"\r\nHost: x\rP", id="a bare carriage return"),
        pytest.param(REQUEST.partition(b"\r\n")[0] + b"\r\n" + b"a" * 600, id="an endless field"),
    ],
)
def test_what_another_reader_could_take_for_a_request_is_refused_before_its_end(said: bytes) -> None:
    """Some servers end a line at less than CR LF: no such byte is passed on in the hope that more follows."""
    with pytest.raises(ForwardRefused):
        PlannedRequests([DUMP, "POST /logging"]).feed(said)


@given(st.binary(max_size=60), st.integers(min_value=0, max_value=len(REQUEST)))
def test_bytes_put_into_a_planned_request_never_make_another_one(inserted: bytes, at: int) -> None:
    """Whatever is put in, either it is refused, or the result still is nothing but planned requests."""
    text = REQUEST[:at] + inserted + REQUEST[at:]
    try:
        PlannedRequests([DUMP]).feed(text)
    except ForwardRefused:
        return
    heads = text.split(b"\r\n\r\n")[:-1]
    assert heads
    assert all(head.startswith(f"{DUMP} HTTP/1.1\r\n".encode()) for head in heads)


def opened(**headers: str) -> bytes:
    return SpdyClient().opened(**headers)


def two_blocks(first: bytes, second: bytes) -> bytes:
    client = SpdyClient()
    return client.syn(1, first) + client.syn(3, second)


GOOD = header_block({"streamtype": "data", "port": "15000", "requestid": "0"})


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(opened(streamtype="data", port="15001"), id="another port"),
        pytest.param(opened(streamtype="error", port="22"), id="another port for errors"),
        pytest.param(opened(streamtype="data", port="15000x"), id="no port"),
        pytest.param(opened(streamtype="data", port=""), id="an empty port"),
        pytest.param(opened(streamtype="data"), id="without a port"),
        pytest.param(opened(streamtype="stdin", port="15000"), id="another kind of stream"),
        pytest.param(opened(port="15000"), id="without a kind"),
        pytest.param(two_blocks(GOOD + GOOD, b""), id="headers that the next frame would be given"),
        pytest.param(two_blocks(GOOD[:-1], GOOD), id="headers that end early"),
        pytest.param(SpdyClient().syn(1, header_block({"port": "1"})[:4] + header_block({"a": "b"})), id="malformed"),
        pytest.param(SpdyClient().syn(1, GOOD.replace(b"15000", b"150\x000")), id="two values in one header"),
        pytest.param(SpdyClient().syn(1, bytes(8192)), id="headers without end"),
        pytest.param(SpdyClient().syn(2, GOOD), id="a stream of the server's"),
        pytest.param(SpdyClient().syn(1, GOOD, associated=1), id="an associated stream"),
        pytest.param(SpdyClient().syn(1, GOOD, flags=2), id="a one-way stream"),
        pytest.param(two_blocks(GOOD, GOOD) + SpdyClient().syn(3, GOOD), id="a stream that was there"),
        pytest.param(control(1, bytes(4)), id="a frame that is too short"),
        pytest.param(control(2, bytes(8)), id="a reply"),
        pytest.param(control(4, bytes(12)), id="settings"),
        pytest.param(control(8, bytes(12)), id="further headers"),
        pytest.param(control(9, bytes(8)), id="a window update"),
        pytest.param(control(6, bytes(5)), id="a ping of another length"),
        pytest.param(control(6, bytes(4), version=2), id="another version"),
        pytest.param(control(6, bytes(4), flags=1), id="a flag"),
        pytest.param(control(1, bytes(20_000)), id="a frame that is too long"),
        pytest.param(data(1, b"x"), id="data on no stream"),
        pytest.param(data(0, b""), id="data on stream 0"),
        pytest.param(data(1, b"", flags=2), id="data with an unknown flag"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no frames at all"),
    ],
)
def test_frames_that_no_port_forward_of_the_plan_has_are_refused(frames: bytes) -> None:
    with pytest.raises(ForwardRefused):
        feed(frames)


def test_headers_that_are_no_compressed_text_are_refused() -> None:
    with pytest.raises(ForwardRefused):
        feed(control(1, (1).to_bytes(4, "big") + bytes(6) + b"not compressed"))
    ended = zlib.compressobj(zdict=HEADER_DICTIONARY)
    with_more = ended.compress(GOOD) + ended.flush() + b"more"
    with pytest.raises(ForwardRefused):
        feed(control(1, (1).to_bytes(4, "big") + bytes(6) + with_more))


def test_nothing_is_said_on_the_stream_for_errors() -> None:
    client = SpdyClient()
    error = client.opened(streamtype="error", port="15000", requestid="0")
    with pytest.raises(ForwardRefused):
        feed(error + data(1, REQUEST))


def test_a_port_forward_has_few_connections() -> None:
    client, inspector = SpdyClient(), ForwardInspector(PORTS, upgrade="spdy/3.1")
    for _ in range(MOST_STREAMS // 2):
        inspector.inspect(client.pair(15000))
    with pytest.raises(ForwardRefused):
        inspector.inspect(client.pair(15000))


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([websocket(b"x", masked=False)], id="not masked"),
        pytest.param([websocket(b"x", first=0xC2)], id="compressed"),
        pytest.param([websocket(b"x", first=0x81)], id="text"),
        pytest.param([websocket(b"x", first=0x83)], id="a reserved kind"),
        pytest.param([websocket(b"x", first=0x80)], id="a continuation of nothing"),
        pytest.param([websocket(b"", first=0x02), websocket(b"", first=0x82)], id="a message within a message"),
        pytest.param([websocket(b"", first=0x09)], id="a ping in parts"),
        pytest.param([websocket(bytes(126), first=0x89)], id="a ping that is too long"),
        pytest.param([websocket(b"", first=0x88), websocket(request_bytes(REQUEST))], id="something after the end"),
        pytest.param([b"\x82\xff" + b"\xff" * 12], id="a length that no message has"),
        pytest.param([request_bytes(REQUEST)], id="no WebSocket frames"),
    ],
)
def test_websocket_frames_that_no_client_sends_are_refused(frames: Iterable[bytes]) -> None:
    with pytest.raises(ForwardRefused):
        feed(*frames, upgrade="websocket")
