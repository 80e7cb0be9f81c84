"""Writes that a policy makes dry runs: nothing may be stored, whatever the client sends."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from k8s_mcp_server.gateway import protobuf
from k8s_mcp_server.gateway.dryrun import UnreadableBody, dry_run_body
from k8s_mcp_server.policy.decision import Decision, Reason
from k8s_mcp_server.policy.request import RequestInfo
from tests.support.gateway_bench import Bench, allow
from tests.support.raw_http import request

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

MAPS = "/api/v1/namespaces/a/configmaps"
PROTOBUF = "application/vnd.kubernetes.protobuf"
# What Go's clients send for DeleteOptions{gracePeriodSeconds: 5, dryRun: [x]}: an envelope with type and object.
TYPE = b"\x0a\x13\x0a\x02v1\x12\x0dDeleteOptions"
GRACE = b"\x08\x05"


def envelope(options: bytes, *, more: bytes = b"") -> bytes:
    return b"k8s\0" + TYPE + b"\x12" + bytes([len(options)]) + options + more


def dry(info: RequestInfo) -> Decision:
    return replace(allow(), dry_run=info.verb != "get")


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        pytest.param("POST", MAPS, f"{MAPS}?dryRun=All", id="create"),
        pytest.param("PUT", f"{MAPS}/x", f"{MAPS}/x?dryRun=All", id="update"),
        pytest.param("PATCH", f"{MAPS}/x?force=true", f"{MAPS}/x?force=true&dryRun=All", id="patch"),
        pytest.param("PATCH", f"{MAPS}/x?dryRun=None", f"{MAPS}/x?dryRun=All", id="what the client says is replaced"),
        pytest.param("POST", f"{MAPS}?dryRun=", f"{MAPS}?dryRun=All", id="also when it is empty"),
        pytest.param("DELETE", f"{MAPS}/x", f"{MAPS}/x?dryRun=All", id="delete"),
        pytest.param("DELETE", MAPS, f"{MAPS}?dryRun=All", id="deletecollection"),
    ],
)
async def test_every_write_carries_the_parameter(bench: Bench, method: str, target: str, expected: str) -> None:
    bench.authorizer.rule = dry
    body = b"" if method == "DELETE" else b"{}"
    answer = await bench.ask(method, target, body=body) if body else await bench.ask(method, target)
    assert answer.status == 200
    assert bench.upstream.requests[0].target == expected
    assert (bench.session.dry_runs, bench.session.writes) == (1, 0)


async def test_a_read_is_left_alone(bench: Bench) -> None:
    bench.authorizer.rule = dry
    await bench.ask("GET", f"{MAPS}/x")
    assert bench.upstream.requests[0].target == f"{MAPS}/x"
    assert (bench.session.dry_runs, bench.session.writes) == (0, 0)


async def test_writes_that_are_made_are_counted_but_not_the_client_s_own_dry_runs(bench: Bench) -> None:
    await bench.ask("POST", MAPS, body=b"{}")
    await bench.ask("POST", f"{MAPS}?dryRun=All", body=b"{}")
    assert (bench.session.dry_runs, bench.session.writes) == (0, 1)
    await bench.ask("DELETE", f"{MAPS}/x?dryRun=All")
    assert bench.session.writes == 1
    await bench.ask("DELETE", f"{MAPS}/x?dryRun=All", body=b"{}")  # the API server does not look at the query then
    assert bench.session.writes == 2


@pytest.mark.parametrize("target", [f"{MAPS}/x", MAPS], ids=["delete", "deletecollection"])
@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", ""])
async def test_the_body_of_a_delete_is_rewritten(bench: Bench, target: str, content_type: str) -> None:
    bench.authorizer.rule = dry
    body = b'{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background","dryRun":[]}'
    headers = (f"Content-Type: {content_type}",) if content_type else ()
    assert (await bench.ask("DELETE", target, body=body, headers=headers)).status == 200
    sent = bench.upstream.requests[0]
    assert json.loads(sent.body) == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "propagationPolicy": "Background",
        "dryRun": ["All"],
    }
    assert sent.header("content-length") == str(len(sent.body))


async def test_a_chunked_body_is_rewritten_too(bench: Bench) -> None:
    bench.authorizer.rule = dry
    client = await bench.connect()
    head = request("DELETE", f"{MAPS}/x", token=bench.session.token, headers=("Transfer-Encoding: chunked",))
    await client.send(head + b"2\r\n{}\r\n0\r\n\r\n")
    assert (await client.response()).status == 200
    assert json.loads(bench.upstream.requests[0].body) == {"dryRun": ["All"]}


async def test_a_protobuf_body_is_rewritten(bench: Bench) -> None:
    bench.authorizer.rule = dry
    headers = (f"Content-Type: {PROTOBUF}",)
    answer = await bench.ask("DELETE", f"{MAPS}/x", body=envelope(GRACE), headers=headers)
    assert answer.status == 200
    options = protobuf.unwrap(bench.upstream.requests[0].body)
    assert options == GRACE + b"\x2a\x03All"
    assert TYPE in bench.upstream.requests[0].body


def test_what_a_protobuf_body_said_about_dry_runs_is_replaced() -> None:
    said = envelope(b"\x2a\x04None" + GRACE + b"\x2a\x01x")
    assert protobuf.unwrap(dry_run_body(said, content_type=PROTOBUF)) == GRACE + b"\x2a\x03All"


def test_a_long_message_keeps_its_length() -> None:
    policy = b"\x22\x90\x03" + b"x" * 400
    rewritten = dry_run_body(b"k8s\0" + b"\x12\x93\x03" + policy, content_type=PROTOBUF)
    assert protobuf.unwrap(rewritten) == policy + b"\x2a\x03All"


BAD = [
    pytest.param(b"{", "application/json", id="broken JSON"),
    pytest.param(b"[]", "application/json", id="no object"),
    pytest.param(b'{"dryRun":["All"],"dryRun":[]}', "application/json", id="a key twice"),
    pytest.param(b'{"dryRun":["All"],"DryRun":[]}', "application/json", id="a key in two cases"),
    pytest.param(b'{"DRYRUN":[]}', "application/json", id="a field that another reader may know"),
    pytest.param(b'{"spec":{}}', "application/json", id="a field of something else"),
    pytest.param(b"\xff{}", "application/json", id="no UTF-8"),
    pytest.param(b"[" * 100_000, "application/json", id="JSON without end"),
    pytest.param(b"dryRun: []", "application/yaml", id="YAML"),
    pytest.param(b"\xa0", "application/cbor", id="CBOR"),
    pytest.param(b"\x08\x05", PROTOBUF, id="protobuf without an envelope"),
    pytest.param(envelope(b"\x08"), PROTOBUF, id="half a protobuf field"),
    pytest.param(envelope(GRACE) + b"\x12\x00", PROTOBUF, id="two objects in an envelope"),
    pytest.param(envelope(GRACE, more=b"\x1a\x04gzip"), PROTOBUF, id="an encoded object"),
    pytest.param(b"k8s\0" + TYPE, PROTOBUF, id="an empty envelope"),
]


@pytest.mark.parametrize(("body", "content_type"), BAD)
def test_a_body_that_cannot_be_read_with_certainty_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(UnreadableBody):
        dry_run_body(body, content_type=content_type)


async def test_a_refused_body_sends_nothing_and_is_recorded_as_denied(bench: Bench) -> None:
    bench.authorizer.rule = dry
    answer = await bench.ask("DELETE", f"{MAPS}/x", body=b"dryRun: []", headers=("Content-Type: application/yaml",))
    assert answer.status == 400
    assert "it would be a dry run" in answer.json()["message"]
    assert bench.upstream.requests == []
    [record] = await bench.recorded(1)
    assert record.decision.reason is Reason.NO_DRY_RUN
    assert (bench.session.requests_denied, bench.session.dry_runs) == (1, 0)
