"""Tokens of commands: unguessable, one command each, worthless afterwards; and the account of what was asked."""

from __future__ import annotations

import asyncio

import pytest

from k8s_mcp_server.gateway.served import MOST_CONNECTIONS_OF_A_COMMAND, MOST_HELD_BYTES
from k8s_mcp_server.gateway.session import CommandSession, Sessions
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.tools import Tool
from tests.support.fake_upstream import Received, Reply
from tests.support.gateway_bench import AGENT, Bench, allow, cut_to, deny
from tests.support.raw_http import request
from tests.support.waiting import eventually

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

PODS = "/api/v1/namespaces/a/pods"


def session() -> CommandSession:
    return CommandSession(command_id="c", client=AGENT, tool=Tool.KUBECTL)


def test_tokens_are_long_and_never_shown() -> None:
    first, second = session(), session()
    assert first.token != second.token
    assert len(first.token) >= 43
    assert first.token not in repr(first)


@pytest.mark.parametrize("token", ["", "x", "é", "\udcff"])
def test_an_unknown_token_has_no_session(token: str) -> None:
    sessions = Sessions()
    sessions.add(session())
    assert sessions.find(token) is None


def test_a_token_is_found_until_it_is_removed() -> None:
    sessions, first = Sessions(), session()
    sessions.add(first)
    assert sessions.find(first.token) is first
    assert list(sessions) == [first]
    sessions.remove(first)
    sessions.remove(first)
    assert sessions.find(first.token) is None


def test_the_account_counts_and_remembers_each_denial_once() -> None:
    subject = session()
    assert not subject.filtered
    for decision in (allow(), cut_to("a"), deny("x"), deny("x"), deny("y")):
        subject.count(decision)
    assert (subject.requests_allowed, subject.requests_filtered, subject.requests_denied) == (1, 1, 3)
    assert subject.filtered
    assert subject.denials == ["x", "y"]
    assert list(subject.policies) == ["team-a"]
    for number in range(100):
        subject.count(deny(str(number)))
    assert len(subject.denials) == 20


async def test_each_request_is_decided_for_the_command_whose_token_it_carries(bench: Bench) -> None:
    other = bench.gateway.open(client=AGENT, tool=Tool.HELM, command_id="cmd-2")
    await bench.ask("GET", PODS, token=other.token)
    assert (bench.session.requests_allowed, other.requests_allowed) == (0, 1)
    [record] = await bench.recorded(1)
    assert (record.command_id, record.tool) == ("cmd-2", "helm")


async def test_an_unknown_token_is_a_recorded_401(bench: Bench) -> None:
    answer = await bench.ask("GET", PODS, token="x" * 43)
    assert (answer.status, answer.headers["www-authenticate"], answer.json()["reason"]) == (
        401,
        "Bearer",
        "Unauthorized",
    )
    [record] = await bench.recorded(1)
    assert (record.command_id, record.client.username, record.status) == ("", "", 401)
    assert record.target == PODS


async def test_a_command_has_a_bounded_number_of_connections(bench: Bench) -> None:
    for _ in range(MOST_CONNECTIONS_OF_A_COMMAND):
        assert (await bench.ask("GET", PODS)).status == 200
    refused = await bench.ask("GET", PODS)
    assert (refused.status, refused.headers["retry-after"], refused.headers["connection"]) == (429, "1", "close")
    other = bench.gateway.open(client=AGENT, tool=Tool.KUBECTL, command_id="cmd-2")
    assert (await bench.ask("GET", PODS, token=other.token)).status == 200


async def test_a_client_has_a_bounded_number_of_requests_under_way_over_all_its_commands(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k8s_mcp_server.gateway.served.MOST_REQUESTS_OF_A_CLIENT", 2)
    arrived, answered = asyncio.Semaphore(0), asyncio.Event()

    async def slowly(_: Received) -> Reply:
        arrived.release()
        await answered.wait()
        return Reply()

    bench.upstream.respond = slowly
    second = bench.gateway.open(client=AGENT, tool=Tool.KUBECTL, command_id="cmd-2")
    running = [await bench.connect() for _ in range(2)]
    async with asyncio.timeout(10):
        for client, session in zip(running, (bench.session, second), strict=True):
            await client.send(request("GET", PODS, token=session.token))
            await arrived.acquire()

    waiting = await bench.connect()
    await waiting.send(request("POST", PODS, token=second.token, body=b"{}"))
    refused = await waiting.response()
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    status = refused.json()
    assert (status["reason"], status["details"]) == ("TooManyRequests", {"retryAfterSeconds": 1})
    assert "connection" not in refused.headers

    answered.set()
    other = bench.gateway.open(client=Client(username="oidc:bob"), tool=Tool.KUBECTL, command_id="cmd-3")
    assert (await bench.ask("GET", PODS, token=other.token)).status == 200
    assert [(await client.response()).status for client in running] == [200, 200]
    await waiting.send(request("POST", PODS, token=second.token, body=b"{}"))
    assert (await waiting.response()).status == 200
    assert [record.decision.reason for record in await bench.recorded(5)].count(Reason.TOO_MANY_REQUESTS) == 1
    assert len(bench.upstream.requests) == 4


async def test_a_command_has_a_bounded_size_of_bodies_that_are_read_ahead(bench: Bench) -> None:
    review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    size = MOST_HELD_BYTES // 2
    whole = request("POST", review, token=bench.session.token, body=b" " * size)
    waiting = [await bench.connect() for _ in range(2)]
    for client in waiting:
        await client.send(whole[:-1])
    await eventually(lambda: bench.session.held_bytes == MOST_HELD_BYTES - 2)
    refused = await bench.ask("POST", review, body=b" " * 3)
    assert (refused.status, refused.headers["retry-after"], refused.headers["connection"]) == (429, "1", "close")
    other = bench.gateway.open(client=AGENT, tool=Tool.KUBECTL, command_id="cmd-2")
    assert (await bench.ask("POST", review, token=other.token, body=b" " * 3)).status == 400
    for client in waiting:
        await client.send(whole[-1:])
        assert (await client.response()).status == 400
    assert bench.session.held_bytes == 0
    assert (await bench.ask("POST", review, body=b" " * 3)).status == 400


async def test_connections_that_show_no_token_give_way_to_newer_ones(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("k8s_mcp_server.gateway.gateway.MOST_UNAUTHENTICATED", 3)
    command = await bench.connect()
    await command.send(request("GET", PODS, token=bench.session.token))
    assert (await command.response()).status == 200
    strangers = [await bench.connect() for _ in range(5)]
    assert [await client.is_closed() for client in strangers[:2]] == [True, True]
    assert (await bench.ask("GET", PODS)).status == 200
    await command.send(request("GET", PODS, token=bench.session.token))
    assert (await command.response()).status == 200
    await strangers[-1].send(request("GET", PODS, token=bench.session.token))
    assert (await strangers[-1].response()).status == 200


async def test_closing_the_gateway_ends_what_is_running(bench: Bench) -> None:
    arrived = asyncio.Event()

    async def never(_: Received) -> Reply:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    bench.upstream.respond = never
    client = await bench.connect()
    await client.send(request("GET", PODS, token=bench.session.token))
    async with asyncio.timeout(10):
        await arrived.wait()
        await bench.gateway.close()
    assert await client.is_closed()
    [record] = bench.audit.records
    assert record.status == 0


async def test_metrics_count_decisions_and_forwarded_requests(bench: Bench) -> None:
    bench.authorizer.rule = lambda info: deny() if info.verb == "create" else allow()
    await bench.ask("GET", PODS)
    await bench.ask("POST", PODS, body=b"{}")
    await bench.recorded(2)
    sample = bench.metrics.registry.get_sample_value
    assert sample("k8s_mcp_decisions_total", {"verdict": "exact", "reason": "AllowedByRule"}) == 1
    assert sample("k8s_mcp_decisions_total", {"verdict": "deny", "reason": "NotAllowed"}) == 1
    assert sample("k8s_mcp_upstream_requests_total", {"method": "GET", "code": "200"}) == 1
    assert sample("k8s_mcp_upstream_requests_total", {"method": "POST", "code": "200"}) is None
