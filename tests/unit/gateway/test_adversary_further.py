"""Further bytes that no CLI sends: the rarer spellings. None may reach the API server, though everything is allowed.

``TARGETS`` are well-formed requests for what has no single meaning: they are answered, and the connection goes on.
``BYTES`` are no well-formed requests, or nobody's: the connection ends.
"""

from __future__ import annotations

import re

import pytest

from tests.support.gateway_bench import Bench
from tests.support.raw_http import request

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

PODS = "/api/v1/namespaces/a/pods"
POD = f"{PODS}/p"
BEARER = "Bearer TOKEN"
SECRETS = "/api/v1/namespaces/kube-system/secrets"

TARGETS = {
    # paths
    "an encoded slash in lower case": f"{PODS}%2fx",
    "a dot beside an encoded dot": f"{PODS}/.%2e/secrets",
    "an encoded dot beside a dot": f"{PODS}/%2E./secrets",
    "dots encoded twice": f"{PODS}/%252e%252e/secrets",
    "a slash encoded twice": f"{PODS}%252fx",
    "a dot at the end": f"{PODS}/.",
    "two dots at the end": f"{PODS}/..",
    "a dot in the middle": "/api/v1/./secrets",
    "dots above the root": f"/../..{SECRETS}",
    "two slashes at the end": f"{PODS}//",
    "nothing but slashes": "//",
    "an encoded question mark": f"{PODS}%3Fwatch=1",
    "an encoded number sign": f"{PODS}%23x",
    "an encoded semicolon": f"{PODS}%3Bx",
    "an encoded percent sign": f"{PODS}/%25",
    "an encoded blank": f"{PODS}/%20",
    "an encoded tab": f"{PODS}/%09",
    "an encoded line end": f"{PODS}/x%0d%0aImpersonate-User:%20root",
    "an encoded delete character": f"{PODS}/%7f",
    "an encoded C1 control character": f"{PODS}/%C2%85",
    "an overlong slash": f"{PODS}%C0%AFx",
    "an overlong dot": f"{PODS}/%C0%AE%C0%AE/secrets",
    "a lone surrogate": f"{PODS}/%ED%A0%80",
    "a byte that is not UTF-8": f"{PODS}/%FF",
    "an escape cut off": f"{PODS}/%",
    "an escape cut in half": f"{PODS}/%4",
    "an escape of another language": f"{PODS}%u002fx",
    "a path parameter": "/api/v1/namespaces/a;v=1/pods",
    "a quiet parent as IIS knows it": f"{PODS}/..;/secrets",
    # the deprecated prefixes
    "the watch prefix of a group": "/apis/apps/v1/watch/namespaces/a/deployments",
    "the watch prefix alone": "/api/v1/watch",
    "the watch prefix with a slash": "/api/v1/watch/",
    "the proxy prefix of nodes": "/api/v1/proxy/nodes/n/metrics",
    "the proxy prefix alone": "/apis/apps/v1/proxy",
    "an encoded proxy prefix": "/api/v1/pro%78y/namespaces/a/pods/p",
    # parameters
    "an encoded name that repeats another": "/api/v1/pods?wat%63h=0&watch=1",
    "a limit twice": "/api/v1/pods?limit=1&limit=500",
    "a continue token twice": "/api/v1/pods?continue=a&continue=b",
    "a label selector twice": "/api/v1/pods?labelSelector=a&labelSelector=b",
    "a resource version twice": "/api/v1/pods?resourceVersion=0&resourceVersion=1",
    "a timeout twice": "/api/v1/pods?timeoutSeconds=1&timeoutSeconds=2",
    "initial events twice": "/api/v1/pods?watch=1&sendInitialEvents=true&sendInitialEvents=false",
    "a dry run twice": f"{POD}?dryRun=All&dryRun=",
    "a field manager twice": f"{POD}?fieldManager=a&fieldManager=b",
    "a propagation policy twice": f"{POD}?propagationPolicy=Orphan&propagationPolicy=Foreground",
    "a container twice": f"{POD}/log?container=a&container=b",
    "a path of a proxy twice": f"{POD}/proxy?path=a&path=b",
    "an empty parameter beside a full one": "/api/v1/pods?watch&watch=1",
    "an encoded NUL in a parameter": "/api/v1/pods?fieldSelector=metadata.name%3Da%00b",
    "an encoded NUL in a parameter's name": "/api/v1/pods?watch%00=1",
    "a bad escape in a parameter": "/api/v1/pods?labelSelector=%zz",
    "a bad escape in a parameter's name": "/api/v1/pods?wat%ch=1",
    "a parameter that is not UTF-8": "/api/v1/pods?labelSelector=%ff",
    "a semicolon between parameters": "/api/v1/pods?limit=1;continue=x",
}


def head(first_line: str, *fields: str, credentials: str = BEARER, body: str = "") -> str:
    lines = [first_line, "Host: x", f"Authorization: {credentials}", *fields]
    return "\r\n".join([*lines, "", ""]) + body


def get(*fields: str, target: str = POD, credentials: str = BEARER) -> str:
    return head(f"GET {target} HTTP/1.1", *fields, credentials=credentials)


def post(*fields: str, body: str = "{}") -> str:
    return head(f"POST {PODS} HTTP/1.1", *fields, body=body)


def chunked(body: str) -> str:
    return post("Transfer-Encoding: chunked", body=body)


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
BYTES = {
    # request lines
    "PURGE": head(f"PURGE {POD} HTTP/1.1"),
    "QUERY": head(f"QUERY {PODS} HTTP/1.1", "Content-Length: 2", body="{}"),
    "an endless method": head(f"{'A' * 70_000} {POD} HTTP/1.1"),
    "a NUL in the method": head(f"GE\0T {POD} HTTP/1.1"),
    "a delete in lower case": head(f"delete {POD} HTTP/1.1"),
    "a blank before the method": head(f" GET {POD} HTTP/1.1"),
    "a blank behind the version": head(f"GET {POD} HTTP/1.1 "),
    "a byte order mark": head(f"\xef\xbb\xbfGET {POD} HTTP/1.1"),
    "a vertical tab between the parts": head(f"GET\x0b{POD} HTTP/1.1"),
    "a form feed between the parts": head(f"GET {POD}\x0cHTTP/1.1"),
    "a no-break space between the parts": head(f"GET\xa0{POD} HTTP/1.1"),
    "a carriage return in the request line": head(f"GET {POD}\r HTTP/1.1"),
    "no target": head("GET HTTP/1.1"),
    "an empty target": head("GET  HTTP/1.1"),
    "a blank in the target": head(f"GET {POD} x HTTP/1.1"),
    "nothing but line ends": "\r\n\r\n",
    "HTTP/1.2": head(f"GET {POD} HTTP/1.2"),
    "HTTP/1.10": head(f"GET {POD} HTTP/1.10"),
    "HTTP/01.1": head(f"GET {POD} HTTP/01.1"),
    "HTTP/11": head(f"GET {POD} HTTP/11"),
    "HTTPS/1.1": head(f"GET {POD} HTTPS/1.1"),
    "a version without its name": head(f"GET {POD} /1.1"),
    "an answer": "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "another protocol's greeting": "SSH-2.0-OpenSSH_9.9\r\n\r\n",
    # header fields
    "a folded first field": f"GET {POD} HTTP/1.1\r\n Host: x\r\nAuthorization: Bearer TOKEN\r\n\r\n",
    "a folded authorization": get("X-A: b", "\t Bearer other"),
    "a blank inside a name": get("Impersonate User: root"),
    "an at sign in a name": get("Impersonate@User: root"),
    "a NUL in a name": get("Impersonate\0User: root"),
    "a byte above ASCII in a name": get("Impers\xf6nate: root"),
    "a delete character in a value": get("X-A: b\x7f"),
    "an escape character in a value": get("User-Agent: \x1b[2J"),
    "a carriage return at the end of a value": get("X-A: b\r"),
    "two user agents": get("User-Agent: a", "User-Agent: b"),
    "two content types": post("Content-Type: application/json", "Content-Type: a/b", "Content-Length: 2"),
    "two content encodings": post("Content-Encoding: gzip", "Content-Encoding: br", "Content-Length: 2"),
    "two upgrades": get(*UPGRADE, "Upgrade: h2c", target=f"{POD}/exec"),
    "two WebSocket keys": get(*UPGRADE, "Sec-WebSocket-Key: a", "Sec-WebSocket-Key: b", target=f"{POD}/exec"),
    "two expectations": post("Expect: 100-continue", "Expect: 100-continue", "Content-Length: 2"),
    "a list of expectations": post("Expect: 100-continue, x", "Content-Length: 2"),
    "a Host in other letters": get("hOST: y"),
    "an Authorization in other letters": get("aUTHORIZATION: Bearer other"),
    "a Connection that names Host": get("Connection: close, Host"),
    "a Connection that names Transfer-Encoding": post("Connection: Transfer-Encoding", "Content-Length: 2"),
    "a Connection that names TE": get("Connection: TE", "TE: trailers"),
    "an empty Connection option": get("Connection: keep-alive,,close"),
    # lengths and codings
    "a length with an exponent": post("Content-Length: 1e1"),
    "a length with a fraction": post("Content-Length: 2.0"),
    "a length with a parameter": post("Content-Length: 2;q=1"),
    "a length with a tab": post("Content-Length: 2\t3"),
    "a length in quotes": post('Content-Length: "2"'),
    "a length of sixteen digits": post("Content-Length: 0000000000000002"),
    "a length of superscripts": post("Content-Length: \xb2"),
    "a length and a coding in other letters": post("content-LENGTH: 2", "transfer-ENCODING: chunked", body="0\r\n\r\n"),
    "a coding with a parameter": post("Transfer-Encoding: chunked;q=1", body="0\r\n\r\n"),
    "a coding and a comma": post("Transfer-Encoding: chunked,", body="0\r\n\r\n"),
    "a comma and a coding": post("Transfer-Encoding: ,chunked", body="0\r\n\r\n"),
    "a coding in quotes": post('Transfer-Encoding: "chunked"', body="0\r\n\r\n"),
    "a coding behind another": post("Transfer-Encoding: chunked, gzip", body="0\r\n\r\n"),
    "compression alone": post("Transfer-Encoding: gzip", body="\x1f\x8b"),
    "a coding with a form feed": post("Transfer-Encoding: chunked\x0c", body="0\r\n\r\n"),
    "a coding whose name has an underscore": post("Transfer_Encoding: chunked", body="2\r\n{}\r\n0\r\n\r\n"),
    "a coding behind a blank": post("Transfer-Encoding : chunked", body="0\r\n\r\n"),
    "a body without a length": post(body="{}"),
    # chunks
    "a chunk size with 0x": chunked("0x2\r\n{}\r\n0\r\n\r\n"),
    "a chunk size with a plus": chunked("+2\r\n{}\r\n0\r\n\r\n"),
    "a chunk size with an underscore": chunked("0_2\r\n{}\r\n0\r\n\r\n"),
    "a chunk size behind a blank": chunked(" 2\r\n{}\r\n0\r\n\r\n"),
    "a chunk size missing": chunked("\r\n{}\r\n0\r\n\r\n"),
    "a chunk size in quotes": chunked('"2"\r\n{}\r\n0\r\n\r\n'),
    "a chunk without its line end": chunked("2\r\n{}0\r\n\r\n"),
    "a chunk shorter than its size": chunked("4\r\n{}\r\n0\r\n\r\n"),
    "a chunk that ends in a carriage return": chunked("2\r\n{}\r0\r\n\r\n"),
    "a chunk extension with a line feed": chunked("2;a\nb\r\n{}\r\n0\r\n\r\n"),
    "a trailer without a colon": chunked("2\r\n{}\r\n0\r\nImpersonate-User\r\n\r\n"),
    "a folded trailer": chunked("2\r\n{}\r\n0\r\n Impersonate-User: root\r\n\r\n"),
    # a second request
    "a GET behind an empty body": post("Content-Length: 0", body=get(target=SECRETS)),
    "a GET behind a whole chunked body": chunked("2\r\n{}\r\n0\r\n\r\n" + get(target=SECRETS)),
    "a preface behind a GET": get() + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "one byte behind a GET": get() + "G",
    "a line end behind a GET": get() + "\r\n",
    # upgrades
    "an upgrade of an object": get(*UPGRADE),
    "an upgrade of a path": get(*UPGRADE, target="/metrics"),
    "an upgrade to SPDY of a list": get("Connection: Upgrade", "Upgrade: SPDY/3.1", target=PODS),
    "an upgrade of a namespace": get(*UPGRADE, target="/api/v1/namespaces/a"),
    "an upgrade with chunks": head(
        f"POST {POD}/exec HTTP/1.1", *UPGRADE, "Transfer-Encoding: chunked", body="0\r\n\r\n"
    ),
    "an upgrade and a second Connection": get(*UPGRADE, "Connection: close", target=f"{POD}/exec"),
    # credentials
    "a token with a letter more": get(credentials="Bearer TOKENx"),
    "a token behind a tab": get(credentials="Bearer\tTOKEN"),
    "a token without its scheme": get(credentials="TOKEN"),
    "two tokens in one field": get(credentials="Bearer TOKEN, Bearer TOKEN"),
    "a token of another scheme": get(credentials="Digest TOKEN"),
    "a token in a cookie": get("Cookie: token=TOKEN", credentials="Bearer "),
    "a token in another field": get("X-Authorization: Bearer TOKEN", credentials="Bearer "),
    "a token for a proxy": get("Proxy-Authorization: Bearer TOKEN", credentials="Bearer "),
    "a front proxy's word": get("X-Remote-User: admin", "X-Remote-Group: system:masters", credentials="Bearer "),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
async def test_a_target_without_one_meaning_is_refused_and_the_connection_goes_on(bench: Bench, target: str) -> None:
    client = await bench.connect()
    await client.send(request("GET", target, token=bench.session.token))
    answer = await client.response()

    assert answer.status == 400
    assert answer.json()["kind"] == "Status"
    assert bench.upstream.connections == 0
    [record] = await bench.recorded(1)
    assert not record.decision.allowed

    await client.send(request("GET", POD, token=bench.session.token))
    assert (await client.response()).status == 200
    assert [item.target for item in bench.upstream.requests] == [POD]


@pytest.mark.parametrize("attack", BYTES.values(), ids=BYTES.keys())
async def test_bytes_that_are_no_request_end_the_connection(bench: Bench, attack: str) -> None:
    client = await bench.connect()
    await client.send(attack.replace("TOKEN", bench.session.token).encode("latin-1"))
    answers = await client.rest()

    assert bench.upstream.requests == []
    assert bench.upstream.connections == 0
    assert b"HTTP/1.1 2" not in answers
    assert len(re.findall(rb"HTTP/1.1 [0-9]", answers)) <= 1
    [record] = await bench.recorded(1)
    assert not record.decision.allowed
    assert 400 <= record.status < 600
