"""What reaches the API server, and what of its answer reaches the command."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.tools import Tool
from tests.support.fake_upstream import Received, Reply
from tests.support.gateway_bench import AGENT, OURSELVES, Bench, allow, deny
from tests.support.pod_lists import PODS
from tests.support.raw_http import request

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_an_allowed_get_reaches_the_api_server_as_ourselves_and_its_answer_the_command(bench: Bench) -> None:
    bench.upstream.respond = lambda _: Reply(parts=b'{"kind":"PodList"}')

    answer = await bench.ask("GET", f"{PODS}?limit=500", headers=("User-Agent: kubectl/v1.37.2",))

    assert (answer.status, answer.body) == (200, b'{"kind":"PodList"}')
    [received] = bench.upstream.requests
    assert (received.method, received.target) == ("GET", f"{PODS}?limit=500")
    assert received.header("authorization") == "Bearer pod-token"
    assert received.header("impersonate-user") == OURSELVES
    assert [value for name, value in received.headers if name == "impersonate-group"] == [
        "system:serviceaccounts",
        "system:serviceaccounts:k8s-mcp-system",
        "k8s-mcp.io:commands",
    ]
    assert received.header("impersonate-extra-k8s-mcp.io%2fclient") == AGENT.username
    assert received.header("user-agent") == f"kubectl/v1.37.2 {AGENT.username} command/cmd-1"
    [record] = await bench.recorded(1)
    assert received.header("audit-id") == record.audit_id
    assert (record.command_id, record.client, record.tool, record.status) == ("cmd-1", AGENT, "kubectl", 200)
    assert record.decision == allow()
    assert record.request is not None
    assert record.request.verb == "list"


async def test_a_denial_says_what_is_allowed_instead_and_sends_nothing(bench: Bench) -> None:
    bench.authorizer.rule = lambda _: deny("No rule allows it.", nearest=("get pods in team-a", "list pods in team-a"))
    answer = await bench.ask("GET", PODS)
    assert answer.status == 403
    assert answer.json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "No rule allows it. Allowed instead: get pods in team-a; list pods in team-a.",
        "reason": "Forbidden",
        "code": 403,
        "details": {
            "kind": "pods",
            "causes": [
                {"reason": "NotAllowed", "message": "No rule allows it."},
                {"reason": "Nearest", "message": "get pods in team-a"},
                {"reason": "Nearest", "message": "list pods in team-a"},
            ],
        },
    }
    assert bench.upstream.requests == []
    assert (bench.session.requests_denied, bench.session.denials) == (1, [answer.json()["message"]])


async def test_a_connection_is_kept_for_the_next_request_even_after_a_denial_with_a_body(bench: Bench) -> None:
    bench.authorizer.rule = lambda info: deny() if info.verb == "create" else allow()
    client = await bench.connect()
    for _ in range(2):
        await client.send(request("POST", PODS, token=bench.session.token, body=b"x" * 100_000))
        assert (await client.response()).status == 403
        await client.send(request("GET", PODS, token=bench.session.token))
        assert (await client.response()).status == 200
    assert [item.method for item in bench.upstream.requests] == ["GET", "GET"]
    assert bench.upstream.connections == 1


async def test_a_denial_reaches_the_command_before_its_body_does(bench: Bench) -> None:
    bench.authorizer.rule = lambda _: deny()
    client = await bench.connect()
    data = request("POST", PODS, token=bench.session.token, headers=("Content-Length: 1000",))
    await client.send(data)
    assert (await client.response()).status == 403
    await client.send(b"x" * 1000)
    await client.send(request("GET", PODS, token=bench.session.token))
    assert (await client.response()).status == 403


async def test_a_body_waits_for_its_100_continue(bench: Bench) -> None:
    client = await bench.connect()
    head = request("POST", PODS, token=bench.session.token, headers=("Content-Length: 2", "Expect: 100-continue"))
    await client.send(head)
    assert (await client.head())[0] == 100
    await client.send(b"{}")
    assert (await client.response()).status == 200
    assert bench.upstream.requests[0].body == b"{}"
    assert bench.upstream.requests[0].header("expect") is None


async def test_a_denied_body_gets_no_100_continue(bench: Bench) -> None:
    bench.authorizer.rule = lambda _: deny()
    client = await bench.connect()
    head = request("POST", PODS, token=bench.session.token, headers=("Content-Length: 2", "Expect: 100-continue"))
    await client.send(head)
    status, headers = await client.head()
    assert (status, headers["connection"]) == (403, "close")


@pytest.mark.parametrize("size", [1, 1000, 1_000_000, 3_900_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_bodies_arrive_whole(bench: Bench, size: int, chunked: bool) -> None:
    body = bytes(index * 31 % 251 for index in range(1000)) * (size // 1000 + 1)
    body = body[:size]
    bench.upstream.respond = lambda received: Reply(parts=received.body)
    client = await bench.connect()
    headers = ("Transfer-Encoding: chunked",) if chunked else (f"Content-Length: {size}",)
    await client.send(request("POST", PODS, token=bench.session.token, headers=headers))
    for start in range(0, size, 70_000):
        part = body[start : start + 70_000]
        await client.send(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
    if chunked:
        await client.send(b"0\r\n\r\n")
    answer = await client.response()
    assert answer.body == body
    assert bench.upstream.requests[0].body == body


async def test_a_client_that_insists_on_a_body_above_the_limit_gets_to_read_why(bench: Bench) -> None:
    client = await bench.connect()
    await client.send(request("POST", PODS, token=bench.session.token, headers=("Content-Length: 20000000",)))
    for _ in range(20):
        await client.send(b"x" * 100_000)
    assert (await client.response()).status == 413
    assert await client.is_closed()
    assert bench.upstream.requests == []


async def test_a_body_above_the_limit_is_refused(bench: Bench) -> None:
    client = await bench.connect()
    await client.send(request("POST", PODS, token=bench.session.token, headers=("Transfer-Encoding: chunked",)))
    part = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    for _ in range(70):
        client.writer.write(part)
    answer = await client.response()
    assert answer.status == 413
    assert bench.upstream.requests == []


@pytest.mark.parametrize("size", [0, 1, 65536, 5_000_000])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_answers_arrive_whole(bench: Bench, size: int, chunked: bool) -> None:
    body = b"0123456789" * (size // 10 + 1)
    body = body[:size]

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, size, 4096):
            yield body[start : start + 4096]

    bench.upstream.respond = lambda _: Reply(parts=parts() if chunked else body)
    answer = await bench.ask("GET", PODS)
    assert (answer.status, answer.body) == (200, body)


async def test_an_answer_that_ends_with_the_connection_arrives_whole(bench: Bench) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nlog line\n"
    bench.upstream.respond = lambda _: Reply(raw=raw, close=True)
    answer = await bench.ask("GET", f"{PODS}/p/log")
    assert (answer.status, answer.body) == (200, b"log line\n")


async def test_interim_answers_are_left_out(bench: Bench) -> None:
    raw = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    bench.upstream.respond = lambda _: Reply(raw=raw)
    answer = await bench.ask("GET", PODS)
    assert (answer.status, answer.body, "link" in answer.headers) == (200, b"ok", False)


async def test_only_known_header_fields_of_an_answer_are_passed_on(bench: Bench) -> None:
    fields = [("Content-Type", "application/json"), ("Warning", '299 - "old"'), ("Retry-After", "3"), ("ETag", '"e"')]
    hidden = [("Set-Cookie", "a=b"), ("X-Secret", "s"), ("Keep-Alive", "timeout=5"), ("WWW-Authenticate", "Bearer")]
    bench.upstream.respond = lambda _: Reply(status=429, headers=fields + hidden)
    answer = await bench.ask("GET", PODS)
    assert answer.status == 429
    assert {name: answer.headers[name] for name in ("warning", "retry-after", "etag")} == {
        "warning": '299 - "old"',
        "retry-after": "3",
        "etag": '"e"',
    }
    assert not {"set-cookie", "x-secret", "keep-alive", "www-authenticate"} & answer.headers.keys()


async def test_an_answer_without_a_body_has_none(bench: Bench) -> None:
    bench.upstream.respond = lambda _: Reply(status=304, headers=[("ETag", '"e"')])
    client = await bench.connect()
    for _ in range(2):
        await client.send(request("GET", "/openapi/v3", token=bench.session.token, headers=('If-None-Match: "e"',)))
        status, headers = await client.head()
        assert (status, "content-length" in headers, "transfer-encoding" in headers) == (304, False, False)
    assert bench.upstream.requests[0].header("if-none-match") == '"e"'


@pytest.mark.parametrize(
    ("method", "target", "content_type", "verbs"),
    [
        ("PUT", f"{PODS}/p", "application/json", ["update", "create"]),
        ("PUT", f"{PODS}/p/status", "application/json", ["update"]),
        ("PUT", "/apis/apps/v1/namespaces/a/deployments/d/scale", "application/json", ["update"]),
        ("PATCH", f"{PODS}/p", "application/apply-patch+yaml", ["patch", "create"]),
        ("PATCH", f"{PODS}/p", "Application/Apply-Patch+YAML; charset=utf-8", ["patch", "create"]),
        ("PATCH", f"{PODS}/p", "application/apply-patch+cbor", ["patch", "create"]),
        ("PATCH", f"{PODS}/p/status", "application/apply-patch+yaml", ["patch"]),
        ("PATCH", f"{PODS}/p", "application/merge-patch+json", ["patch"]),
        ("PATCH", f"{PODS}/p", "application/strategic-merge-patch+json", ["patch"]),
        ("GET", f"{PODS}/p/exec?command=id", "", ["create"]),
        ("POST", f"{PODS}/p/attach", "", ["create"]),
        ("GET", f"{PODS}/p/portforward", "", ["create"]),
        ("DELETE", f"{PODS}/p/exec", "", ["delete"]),
        ("PATCH", f"{PODS}/p/portforward", "application/merge-patch+json", ["patch"]),
        ("GET", f"{PODS}/p/log", "", ["get"]),
        ("GET", f"{PODS}/p/proxy/x", "", ["get"]),
        ("DELETE", PODS, "", ["deletecollection"]),
        ("PUT", "/some/path", "", ["put"]),
    ],
)
async def test_a_request_needs_every_permission_that_its_effect_needs(
    bench: Bench, method: str, target: str, content_type: str, verbs: list[str]
) -> None:
    headers = (f"Content-Type: {content_type}",) if content_type else ()
    body = b"{}" if method in {"PUT", "PATCH"} else b""
    await bench.ask(method, target, headers=headers, body=body)
    [asked] = bench.authorizer.asked
    assert [item.verb for item in asked] == verbs
    bench.authorizer.rule = lambda info: deny() if info.verb == verbs[-1] else allow()
    assert (await bench.ask(method, target, headers=headers, body=body)).status == 403
    assert len(bench.upstream.requests) == 1


def token_request(*audiences: str) -> bytes:
    return json.dumps({"kind": "TokenRequest", "spec": {"audiences": audiences}}).encode()


def protobuf_token_request(*audiences: bytes) -> bytes:
    def field(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    spec = b"".join(field(1, audience) for audience in audiences) + b"\x20\x90\x1c"
    return b"k8s\0" + field(1, field(1, b"v1") + field(2, b"TokenRequest")) + field(2, field(1, b"") + field(2, spec))


PROTOBUF = "application/vnd.kubernetes.protobuf"


@pytest.mark.parametrize(
    ("content_type", "body", "audiences"),
    [
        ("application/json", token_request("istio-ca"), ("istio-ca",)),
        ("", token_request("a", "b"), ("a", "b")),
        ("application/json", b"{}", ()),
        ("application/json", b'{"spec":null}', ()),
        (PROTOBUF, protobuf_token_request(b"a", b"b"), ("a", "b")),
        (PROTOBUF, protobuf_token_request(), ()),
        (PROTOBUF, token_request("a"), None),
        (PROTOBUF, protobuf_token_request(b"a")[:-4], None),
        (PROTOBUF, protobuf_token_request(b"a") + b"\x12\x00", None),
        ("application/json", protobuf_token_request(b"a"), None),
        ("application/json", b"", None),
        ("application/json", b"[]", None),
        ("application/json", b'{"spec":[]}', None),
        ("application/json", b'{"spec":{"audiences":"a"}}', None),
        ("application/json", b'{"spec":{"audiences":[1]}}', None),
        ("application/json", b'{"spec":{"audiences":["a"]},"spec":{"audiences":["b"]}}', None),
        ("application/json", b'{"spec":{"audiences":["a"],"Audiences":["b"]}}', None),
        ("application/json", b"[" * 100_000, None),
        ("application/yaml", b"spec: {}", None),
        ("application/cbor", b"\xd9\xd9\xf7\xa0", None),
    ],
)
async def test_the_audiences_of_a_token_are_read_before_the_decision(
    bench: Bench, content_type: str, body: bytes, audiences: tuple[str, ...] | None
) -> None:
    headers = tuple(f"Content-Type: {item}" for item in (content_type,) if item)
    if not body:
        headers = (*headers, "Content-Length: 0")
    answer = await bench.ask("POST", "/api/v1/namespaces/a/serviceaccounts/x/token", headers=headers, body=body)
    assert answer.status == 200
    [[asked]] = bench.authorizer.asked
    assert asked.audiences == audiences
    assert bench.upstream.requests[0].body == body


async def test_the_token_is_read_again_when_its_file_changes(bench: Bench) -> None:
    await bench.ask("GET", PODS)
    bench.upstream.token_file.write_text("rotated-token\n", encoding="ascii")
    await bench.ask("GET", PODS)
    tokens = [item.header("authorization") for item in bench.upstream.requests]
    assert tokens == ["Bearer pod-token", "Bearer rotated-token"]


async def test_a_token_that_rotates_under_way_costs_one_more_try(bench: Bench) -> None:
    def respond(received: Received) -> Reply:
        if received.header("authorization") == "Bearer rotated-token":
            return Reply(parts=b"ok")
        bench.upstream.token_file.write_text("rotated-token", encoding="ascii")
        return Reply(status=401)

    bench.upstream.respond = respond
    answer = await bench.ask("GET", PODS)
    assert (answer.status, answer.body) == (200, b"ok")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_token_that_is_not_accepted_is_our_fault_and_says_so(bench: Bench, method: str) -> None:
    bench.upstream.respond = lambda _: Reply(status=401)
    answer = await bench.ask(method, PODS)
    assert answer.status == 503
    assert "service's own token" in answer.json()["message"]
    assert len(bench.upstream.requests) == (2 if method == "GET" else 1)


async def test_a_401_of_a_proxied_backend_is_its_own(bench: Bench) -> None:
    bench.upstream.respond = lambda _: Reply(status=401, parts=b"who are you?")
    answer = await bench.ask("GET", f"{PODS}/p/proxy/")
    assert (answer.status, answer.body) == (401, b"who are you?")


@pytest.mark.parametrize(
    ("sent", "first", "last"),
    [
        pytest.param("kubectl/v1.37.2 (linux/amd64)", "kubectl/v1.37.2 ", " (linux/amd64)", id="a product first"),
        pytest.param("Helm/4.3.1", "Helm/4.3.1 ", "", id="a product alone"),
        pytest.param("x" * 300, "", " " + "x" * 300, id="a product that would push the client out"),
        pytest.param("(a comment)", "", " (a comment)", id="no product"),
        pytest.param("", "", "", id="nothing"),
    ],
)
async def test_the_user_agent_is_the_cli_s_and_names_the_client(bench: Bench, sent: str, first: str, last: str) -> None:
    await bench.ask("GET", PODS, headers=(f"User-Agent: {sent}",))
    [received] = bench.upstream.requests
    assert received.header("user-agent") == f"{first}{AGENT.username} command/cmd-1{last}"[:256]


async def test_a_client_name_of_any_characters_is_sent_escaped(bench: Bench) -> None:
    client = Client(username="oidc:Zoë 100%\r\nX: y" + "z" * 300)
    session = bench.gateway.open(client=client, tool=Tool.KUBECTL, command_id="cmd-2")
    await bench.ask("GET", PODS, token=session.token)
    [received] = bench.upstream.requests
    expected = "oidc:Zo%C3%AB%20100%25%0D%0AX:%20y" + "z" * 300
    assert received.header("impersonate-extra-k8s-mcp.io%2fclient") == expected
    assert received.header("user-agent") == f"{expected} command/cmd-2"[:256]
