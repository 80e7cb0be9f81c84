"""Bytes that no CLI sends. None may reach the API server, whatever the policy allows: here it allows everything."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.gateway_bench import Bench
from tests.support.raw_http import request

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

POD = "/api/v1/namespaces/a/pods/p"
PODS = "/api/v1/namespaces/a/pods"
SECRETS = "/api/v1/namespaces/kube-system/secrets"
SMUGGLED = f"GET {SECRETS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\n\r\n"


def get(target: str, *headers: str) -> str:
    return _message("GET", target, headers)


def post(target: str, *headers: str, body: str = "") -> str:
    return _message("POST", target, headers) + body


def _message(method: str, target: str, headers: tuple[str, ...]) -> str:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Authorization: Bearer TOKEN", *headers]
    return "\r\n".join([*lines, "", ""])


ATTACKS = {
    # targets
    "an encoded slash": get("/api/v1/namespaces/a%2Fpods"),
    "an encoded slash before dots": get("/api/v1/namespaces/a%2Fpods%2Fx/../../kube-system/secrets"),
    "dot segments": get("/api/v1/namespaces/a/../kube-system/secrets"),
    "encoded dots": get("/api/v1/namespaces/a/%2e%2e/kube-system/secrets"),
    "a double slash": get("/api/v1//namespaces/kube-system/secrets"),
    "a leading double slash": get(f"/{SECRETS}"),
    "an absolute-form target": get(f"https://127.0.0.1{SECRETS}"),
    "an absolute-form target with our own authority": get(f"http://x{SECRETS}"),
    "an authority-form target": get("127.0.0.1:443"),
    "an asterisk": get("*"),
    "a backslash": get("/api/v1/namespaces/a\\..\\kube-system/secrets"),
    "an encoded backslash": get("/api/v1/namespaces/a%5c..%5ckube-system/secrets"),
    "an encoded NUL": get(f"{PODS}%00x"),
    "a raw NUL": get(f"{PODS}\0x"),
    "a raw byte above ASCII": get(f"{PODS}/\xe9"),
    "a bad escape": get(f"{PODS}/%zz"),
    "a fragment": get(f"{PODS}#x"),
    "a semicolon in the path": get(f"{PODS};x"),
    "a semicolon in the query": get("/api/v1/pods?watch=0;watch=1"),
    "watch twice": get("/api/v1/pods?watch=0&watch=1"),
    "a field selector twice": get("/api/v1/pods?fieldSelector=metadata.namespace%3Da&fieldSelector=x"),
    "the watch prefix": get("/api/v1/watch/namespaces/kube-system/secrets"),
    "the proxy prefix": get("/api/v1/proxy/namespaces/a/pods/p"),
    "an encoded watch prefix": get("/api/v1/w%61tch/secrets"),
    "an endless target": get("/api/v1/" + "a" * 20_000),
    # methods and versions
    "HEAD": _message("HEAD", POD, ()),
    "OPTIONS": _message("OPTIONS", POD, ()),
    "TRACE": _message("TRACE", POD, ()),
    "CONNECT": _message("CONNECT", "10.0.0.1:443", ()),
    "an unknown method": _message("PROPFIND", POD, ()),
    "a method in lower case": _message("get", POD, ()),
    "HTTP/1.0": get(POD).replace("HTTP/1.1", "HTTP/1.0"),
    "HTTP/0.9": f"GET {POD}\r\n\r\n",
    "HTTP/2 in the request line": get(POD).replace("HTTP/1.1", "HTTP/2.0"),
    "an HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http in lower case": get(POD).replace("HTTP/1.1", "http/1.1"),
    "two blanks in the request line": get(POD).replace(f"GET {POD}", f"GET  {POD}"),
    "a tab in the request line": get(POD).replace(f"GET {POD}", f"GET\t{POD}"),
    "something after the version": get(POD).replace("HTTP/1.1", "HTTP/1.1 x"),
    "a line end before the request": "\r\n" + get(POD),
    "no HTTP at all": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
    # header fields
    "no Host": get(POD).replace("Host: x\r\n", ""),
    "two Hosts": get(POD, "Host: y"),
    "two Authorizations": get(POD, "Authorization: Bearer other"),
    "a folded line": get(POD, "X-A: b", " Impersonate-User: root"),
    "a folded line with a tab": get(POD, "X-A: b", "\tImpersonate-User: root"),
    "a blank before the colon": get(POD, "Impersonate-User : root"),
    "a blank before the name": get(POD, " Impersonate-User: root"),
    "a name without a colon": get(POD, "Impersonate-User"),
    "an empty name": get(POD, ": x"),
    "a bad character in a name": get(POD, "Impersonate(User): root"),
    "a NUL in a value": get(POD, "X-A: b\0c"),
    "a bare carriage return in a value": get(POD, "X-A: b\rImpersonate-User: root"),
    "bare line feeds": get(POD).replace("\r\n", "\n"),
    "one bare line feed": get(POD, "X-A: b").replace("X-A: b\r\n", "X-A: b\n"),
    "a bare line feed at the end": get(POD)[:-2] + "\n",
    "a byte above ASCII in a value": get(POD, "User-Agent: \xe9"),
    "too many header fields": get(POD, *(f"X-{number}: x" for number in range(200))),
    "a huge header field": get(POD, "X-A: " + "a" * 100_000),
    "a Connection option that names a header": get(POD, "Connection: Authorization"),
    "a Connection option that names an impersonation header": get(POD, "Connection: keep-alive, Impersonate-User"),
    "two Connections": get(POD, "Connection: keep-alive", "Connection: close"),
    "an unknown expectation": post(PODS, "Expect: 200-ok", "Content-Length: 2", body="{}"),
    # framing
    "Content-Length and Transfer-Encoding": post(
        PODS, "Content-Length: 4", "Transfer-Encoding: chunked", body=f"0\r\n\r\n{SMUGGLED}"
    ),
    "Transfer-Encoding and Content-Length": post(
        PODS, "Transfer-Encoding: chunked", "Content-Length: 4", body=f"0\r\n\r\n{SMUGGLED}"
    ),
    "two Content-Lengths": post(PODS, "Content-Length: 2", "Content-Length: 20", body="{}"),
    "two equal Content-Lengths": post(PODS, "Content-Length: 2", "Content-Length: 2", body="{}"),
    "a list of Content-Lengths": post(PODS, "Content-Length: 2, 2", body="{}"),
    "a signed Content-Length": post(PODS, "Content-Length: +2", body="{}"),
    "a negative Content-Length": post(PODS, "Content-Length: -2", body="{}"),
    "a hexadecimal Content-Length": post(PODS, "Content-Length: 0x2", body="{}"),
    "an empty Content-Length": post(PODS, "Content-Length:", body="{}"),
    "a Content-Length with a blank in it": post(PODS, "Content-Length: 1 2", body="{}"),
    "an overflowing Content-Length": post(PODS, "Content-Length: 18446744073709551618", body="{}"),
    "a Content-Length above the limit": post(PODS, "Content-Length: 100000000", body="{}"),
    "an unknown transfer coding": post(PODS, "Transfer-Encoding: xchunked", body="0\r\n\r\n"),
    "two transfer codings": post(PODS, "Transfer-Encoding: gzip, chunked", body="2\r\n{}\r\n0\r\n\r\n"),
    "chunked twice": post(PODS, "Transfer-Encoding: chunked, chunked", body="2\r\n{}\r\n0\r\n\r\n"),
    "two Transfer-Encodings": post(
        PODS, "Transfer-Encoding: chunked", "Transfer-Encoding: identity", body="2\r\n{}\r\n0\r\n\r\n"
    ),
    "identity": post(PODS, "Transfer-Encoding: identity", body="{}"),
    "an empty transfer coding": post(PODS, "Transfer-Encoding:", body="{}"),
    "a transfer coding with a vertical tab": post(PODS, "Transfer-Encoding: \x0bchunked", body="2\r\n{}\r\n0\r\n\r\n"),
    "a bad chunk size": post(PODS, "Transfer-Encoding: chunked", body="zz\r\n{}\r\n0\r\n\r\n"),
    "a negative chunk size": post(PODS, "Transfer-Encoding: chunked", body="-2\r\n{}\r\n0\r\n\r\n"),
    "an overflowing chunk size": post(PODS, "Transfer-Encoding: chunked", body="10000000000000002\r\n{}\r\n0\r\n\r\n"),
    "a chunk longer than its size": post(PODS, "Transfer-Encoding: chunked", body="1\r\n{}\r\n0\r\n\r\n"),
    "chunks that end in bare line feeds": post(PODS, "Transfer-Encoding: chunked", body="2\n{}\n0\n\n"),
    # pipelining and upgrades
    "two requests in one segment": get(POD) + get(SECRETS),
    "a request behind a body": post(PODS, "Content-Length: 2", body="{}" + SMUGGLED),
    "a request behind a chunked body": post(PODS, "Transfer-Encoding: chunked", body=f"0\r\n\r\n{SMUGGLED}"),
    "bytes behind a GET": get(POD) + "garbage",
    "an upgrade of a list": get(PODS, "Connection: Upgrade", "Upgrade: websocket"),
    "an upgrade of a watch": get(f"{PODS}?watch=1", "Connection: Upgrade", "Upgrade: websocket"),
    "an upgrade of discovery": get("/version", "Connection: Upgrade", "Upgrade: websocket"),
    "an h2c upgrade": get(
        POD, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"
    ),
    "an upgrade without Connection": get(f"{POD}/exec", "Upgrade: websocket"),
    "Connection: Upgrade without a protocol": get(f"{POD}/exec", "Connection: Upgrade"),
    "an upgrade with a body": post(
        f"{POD}/exec", "Connection: Upgrade", "Upgrade: SPDY/3.1", "Content-Length: 2", body="{}"
    ),
    # credentials
    "no token": get(POD).replace("Authorization: Bearer TOKEN\r\n", ""),
    "a wrong token": get(POD).replace("TOKEN", "wrong"),
    "an empty token": get(POD).replace("Bearer TOKEN", "Bearer "),
    "the pod's own token": get(POD).replace("TOKEN", "pod-token"),
    "basic authentication": get(POD).replace("Bearer TOKEN", "Basic VE9LRU46"),
    "the token in the query": get(f"{POD}?access_token=TOKEN").replace("Authorization: Bearer TOKEN\r\n", ""),
    "the token as a WebSocket protocol": get(
        f"{POD}/exec", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.VE9LRU4",
    ).replace("Authorization: Bearer TOKEN\r\n", ""),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
async def test_nothing_reaches_the_api_server(bench: Bench, attack: str) -> None:
    client = await bench.connect()
    await client.send(attack.replace("TOKEN", bench.session.token).encode("latin-1"))

    answers = await client.rest() if closes(attack) else (await client.response()).body

    assert bench.upstream.requests == []
    assert bench.upstream.connections == 0
    assert b"HTTP/1.1 2" not in answers
    [record] = await bench.recorded(1)
    assert not record.decision.allowed
    assert 400 <= record.status < 600


def closes(attack: str) -> bool:
    """Whether the gateway also ends the connection: where the bytes, and not only what they ask for, are wrong."""
    return attack not in _UNDERSTOOD


_UNDERSTOOD = {
    ATTACKS[name]
    for name in (
        "an encoded slash", "an encoded slash before dots", "dot segments", "encoded dots", "a double slash",
        "a leading double slash", "an absolute-form target", "an absolute-form target with our own authority",
        "an authority-form target", "an asterisk", "a backslash", "an encoded backslash", "an encoded NUL",
        "a bad escape", "a fragment", "a semicolon in the path", "a semicolon in the query", "watch twice",
        "a field selector twice", "the watch prefix", "the proxy prefix", "an encoded watch prefix",
        "an endless target",
    )
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in ATTACKS if "chunk size" in name or "chunks that" in name])
async def test_a_malformed_body_that_comes_later_is_refused_too(bench: Bench, name: str) -> None:
    head, _, body = ATTACKS[name].replace("TOKEN", bench.session.token).partition("\r\n\r\n")
    client = await bench.connect()
    await client.send(f"{head}\r\nExpect: 100-continue\r\n\r\n".encode())
    assert (await client.head())[0] == 100
    await client.send(body.encode())
    assert (await client.response()).status == 400
    assert await client.is_closed()
    assert bench.upstream.requests == []


@pytest.mark.parametrize(
    "header",
    [
        "Impersonate-User: system:admin",
        "iMPERSONATE-gROUP: system:masters",
        "Impersonate-Uid: 0",
        "Impersonate-Extra-Scopes: x",
        "Impersonate-Extra-k8s-mcp.io%2fclient: someone",
        "X-Remote-User: admin",
        "X-Remote-Group: system:masters",
        "X-Remote-Extra-A: b",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Host: x",
        "X-Forwarded-Uri: /api/v1/secrets",
        "Forwarded: for=10.0.0.1",
        "X-Real-Ip: 10.0.0.1",
        "X-Http-Method-Override: DELETE",
        "X-Original-Url: /api/v1/secrets",
        "X-Rewrite-Url: /api/v1/secrets",
        "Audit-Id: ours",
        "Cookie: session=1",
        "Proxy-Authorization: Basic x",
        "Proxy-Connection: keep-alive",
        "Te: trailers",
        "Trailer: Impersonate-User",
        "Keep-Alive: timeout=5",
        "Content-Encoding: gzip",
        "Range: bytes=0-1",
        "Origin: https://example.com",
        "Referer: https://example.com",
        "Via: 1.1 x",
        "Max-Forwards: 0",
        "X-Anything-Else: x",
    ],
)
async def test_a_header_that_is_not_on_the_list_is_left_behind(bench: Bench, header: str) -> None:
    answer = await bench.ask("GET", POD, headers=(header,))
    assert answer.status == 200
    [received] = bench.upstream.requests
    assert set(dict(received.headers)) == {
        "host", "authorization", "impersonate-user", "impersonate-group", "impersonate-extra-k8s-mcp.io%2fclient",
        "user-agent",
        "audit-id",
        "accept",
    }  # fmt: skip
    values = [value for _, value in received.headers]
    assert header.partition(": ")[2] not in values


async def test_a_trailer_is_left_behind(bench: Bench) -> None:
    body = b"2\r\n{}\r\n0\r\nImpersonate-User: root\r\n\r\n"
    answer = await bench.ask("POST", PODS, headers=("Transfer-Encoding: chunked",), body=body, length=False)
    assert answer.status == 200
    [received] = bench.upstream.requests
    assert received.body == b"{}"
    assert received.header("impersonate-user") != "root"


async def test_chunk_extensions_are_left_behind(bench: Bench) -> None:
    body = b"2;name=value\r\n{}\r\n0;x\r\n\r\n"
    answer = await bench.ask("POST", PODS, headers=("Transfer-Encoding: chunked",), body=body, length=False)
    assert (answer.status, bench.upstream.requests[0].body) == (200, b"{}")


async def test_a_body_that_looks_like_a_request_stays_a_body(bench: Bench) -> None:
    smuggled = SMUGGLED.encode()
    answer = await bench.ask("POST", PODS, body=smuggled)
    assert answer.status == 200
    assert [(item.method, item.body) for item in bench.upstream.requests] == [("POST", smuggled)]


async def test_a_second_request_while_the_first_is_being_served_breaks_the_connection(bench: Bench) -> None:
    arrived, proceed = asyncio.Event(), asyncio.Event()

    async def wait(_: object) -> object:
        arrived.set()
        await proceed.wait()
        raise ConnectionError

    bench.upstream.respond = wait  # type: ignore[assignment]  # never answers
    client = await bench.connect()
    await client.send(request("GET", POD, token=bench.session.token))
    async with asyncio.timeout(10):
        await arrived.wait()
    await client.send(request("GET", SECRETS, token=bench.session.token))
    assert await client.is_closed()
    assert [item.target for item in bench.upstream.requests] == [POD]
    proceed.set()


async def test_the_token_of_another_command_is_refused_on_a_connection_in_use(bench: Bench) -> None:
    other = bench.gateway.open(client=bench.session.client, tool=bench.session.tool, command_id="cmd-2")
    client = await bench.connect()
    await client.send(request("GET", POD, token=bench.session.token))
    assert (await client.response()).status == 200
    await client.send(request("GET", POD, token=other.token))
    assert (await client.response()).status == 401
    assert len(bench.upstream.requests) == 1
    assert other.requests_allowed == 0
