"""Lists that are cut on their way to the command."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from tests.support.fake_upstream import Reply
from tests.support.gateway_bench import Bench, cut_to
from tests.support.pod_lists import PODS, item
from tests.support.raw_http import request

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


JSON = [("Content-Type", "application/json")]


async def test_a_filtered_list_is_asked_for_as_json_and_cut(bench: Bench) -> None:
    items = [{"metadata": {"name": name, "namespace": space}} for name, space in (("x", "a"), ("y", "b"))]
    document = {"kind": "PodList", "metadata": {"resourceVersion": "7", "remainingItemCount": 5}, "items": items}
    bench.authorizer.rule = lambda _: cut_to("a")
    bench.upstream.respond = lambda _: Reply(headers=[*JSON, ("ETag", '"e"')], parts=json.dumps(document).encode())
    answer = await bench.ask(
        "GET",
        "/api/v1/pods?limit=500&includeObject=None",
        headers=("Accept: application/vnd.kubernetes.protobuf", "Accept-Encoding: gzip", 'If-None-Match: "e"'),
    )
    assert answer.status == 200
    assert answer.json()["items"] == items[:1]
    assert answer.json()["metadata"] == {"resourceVersion": "7"}
    assert "etag" not in answer.headers
    [received] = bench.upstream.requests
    assert received.target == "/api/v1/pods?includeObject=Metadata"
    assert received.header("accept") == "application/json"
    assert received.header("accept-encoding") is None
    assert received.header("if-none-match") is None
    assert bench.session.filtered


async def test_the_pages_of_a_filtered_list_cannot_be_counted(bench: Bench) -> None:
    bench.authorizer.rule = lambda _: cut_to("a")
    bench.upstream.respond = lambda _: Reply(parts=b'{"items":[]}')
    answer = await bench.ask("GET", "/api/v1/pods?limit=1&fieldSelector=metadata.namespace%3Db")
    assert answer.json() == {"items": []}
    assert bench.upstream.requests[0].target == "/api/v1/pods?fieldSelector=metadata.namespace%3Db"


async def test_a_page_that_nobody_asked_for_is_withheld(bench: Bench) -> None:
    bench.authorizer.rule = lambda _: cut_to("a")
    bench.upstream.respond = lambda _: Reply(parts=b'{"metadata":{"continue":"t"},"items":[]}')
    assert (await bench.ask("GET", "/api/v1/pods")).status == 502


async def test_an_exact_list_is_paged_as_the_client_likes(bench: Bench) -> None:
    bench.upstream.respond = lambda _: Reply(parts=b'{"metadata":{"continue":"t"}}')
    answer = await bench.ask("GET", f"{PODS}?limit=1&continue=s")
    assert answer.json() == {"metadata": {"continue": "t"}}
    assert bench.upstream.requests[0].target == f"{PODS}?limit=1&continue=s"


@pytest.mark.parametrize("query", ["continue=eyJydiI6MX0", "watch=1&continue=x"])
async def test_a_filtered_list_is_not_continued(bench: Bench, query: str) -> None:
    bench.authorizer.rule = lambda _: cut_to("a")
    answer = await bench.ask("GET", f"/api/v1/pods?{query}")
    assert (answer.status, answer.json()["reason"]) == (410, "Expired")
    assert bench.upstream.requests == []


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(headers=[("Content-Type", "application/vnd.kubernetes.protobuf")]), id="protobuf"),
        pytest.param(Reply(headers=[("Content-Type", "application/yaml")]), id="yaml"),
        pytest.param(Reply(headers=[]), id="no content type"),
        pytest.param(Reply(headers=[*JSON, ("Content-Encoding", "gzip")]), id="compressed"),
        pytest.param(Reply(status=206), id="partial"),
        pytest.param(Reply(status=302, headers=[("Location", "/x")]), id="redirect"),
        pytest.param(Reply(parts=b'{"kind":"Pod","metadata":{"name":"hidden","namespace":"b"}}'), id="no list"),
    ],
)
@pytest.mark.parametrize("query", ["", "?watch=1"], ids=["list", "watch"])
async def test_an_answer_that_cannot_be_cut_is_withheld(bench: Bench, reply: Reply, query: str) -> None:
    bench.authorizer.rule = lambda _: cut_to("a")
    bench.upstream.respond = lambda _: reply
    client = await bench.connect()
    await client.send(request("GET", f"/api/v1/pods{query}", token=bench.session.token))
    data = await client.response() if not query or reply.parts == b"{}" else None
    if data is not None:
        assert (data.status, b"hidden" in data.body) == (502, False)
    else:
        assert b"hidden" not in await client.rest()


async def test_a_large_filtered_list_arrives_while_it_is_sent(bench: Bench) -> None:
    bench.authorizer.rule = lambda _: cut_to("a")
    arrived = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield b'{"kind":"PodList","items":[' + item("c")
        for _ in range(4):
            yield b"," + item("a", 200_000)
        yield b"," + item("c")
        await arrived.wait()
        yield b',{"metadata":{"name":"y","namespace":"a"}}]}'

    bench.upstream.respond = lambda _: Reply(parts=parts())
    client = await bench.connect()
    await client.send(request("GET", "/api/v1/pods", token=bench.session.token))
    status, headers = await client.head()
    assert (status, headers["transfer-encoding"]) == (200, "chunked")
    body = await client.chunk()
    arrived.set()
    while part := await client.chunk():
        body += part
    assert [len(json.dumps(entry)) > 100_000 for entry in json.loads(body)["items"]] == [True] * 4 + [False]


async def test_a_large_filtered_list_that_turns_out_to_be_none_breaks_off(bench: Bench) -> None:
    bench.authorizer.rule = lambda _: cut_to("a")
    large = b",".join([item("a", 200_000)] * 4)
    bench.upstream.respond = lambda _: Reply(parts=b'{"kind":"PodList","items":[' + large + b',{"secret":1}]}')
    client = await bench.connect()
    await client.send(request("GET", "/api/v1/pods", token=bench.session.token))
    assert (await client.head())[0] == 200
    rest = await client.rest()
    assert b"secret" not in rest
    assert not rest.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("query", ["", "?watch=1"], ids=["list", "watch"])
async def test_an_error_about_a_filtered_answer_is_passed_on(bench: Bench, query: str) -> None:
    bench.authorizer.rule = lambda _: cut_to("a")
    bench.upstream.respond = lambda _: Reply(status=410, parts=b'{"kind":"Status","reason":"Expired"}')
    answer = await bench.ask("GET", f"/api/v1/pods{query}")
    assert (answer.status, answer.body) == (410, b'{"kind":"Status","reason":"Expired"}')


async def test_a_filtered_verdict_without_a_cut_passes_nothing(bench: Bench) -> None:
    bench.authorizer.rule = lambda _: Decision(verdict=Verdict.FILTERED, reason=Reason.ALLOWED_BY_RULE)
    assert (await bench.ask("GET", "/api/v1/pods")).status == 502
    assert bench.upstream.requests == []
