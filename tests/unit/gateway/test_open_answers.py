"""Watches and upgraded connections: answers that stay open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from tests.support.fake_upstream import Reply
from tests.support.gateway_bench import Bench, Namespaces, allow, cut_to, deny
from tests.support.pod_lists import PODS
from tests.support.raw_http import request
from tests.support.waiting import eventually

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Events:
    """A watch's events, given one by one."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (event := await self.queue.get()) is not None:
            yield event

    def add(self, name: str, namespace: str) -> bytes:
        line = json.dumps({"type": "ADDED", "object": {"metadata": {"name": name, "namespace": namespace}}}) + "\n"
        self.queue.put_nowait(line.encode())
        return line.encode()


async def test_a_filtered_watch_sends_its_head_at_once_and_its_events_as_they_come(bench: Bench) -> None:
    events = Events()
    bench.authorizer.rule = lambda _: cut_to("a")
    bench.upstream.respond = lambda _: Reply(parts=aiter(events))
    client = await bench.connect()
    await client.send(request("GET", "/api/v1/pods?watch=1", token=bench.session.token))
    assert (await client.head())[0] == 200
    events.add("hidden", "b")
    line = events.add("seen", "a")
    assert await client.chunk() == line
    events.queue.put_nowait(None)
    assert await client.chunk() == b""


async def test_a_watch_is_not_held_back(bench: Bench) -> None:
    events = Events()
    bench.upstream.respond = lambda _: Reply(parts=aiter(events))
    client = await bench.connect()
    await client.send(request("GET", f"{PODS}?watch=1", token=bench.session.token))
    assert (await client.head())[0] == 200
    line = events.add("x", "a")
    assert await client.chunk() == line
    events.queue.put_nowait(None)


async def test_a_watch_that_cannot_be_cut_any_more_breaks_off(bench: Bench) -> None:
    events = Events()
    bench.authorizer.rule = lambda _: cut_to("a")
    bench.upstream.respond = lambda _: Reply(parts=aiter(events))
    client = await bench.connect()
    await client.send(request("GET", "/api/v1/pods?watch=1", token=bench.session.token))
    await client.head()
    events.queue.put_nowait(b'{"type":"ADDED","object":{"metadata":{"secret":"s"}}}\n')
    assert b"secret" not in await client.rest()


async def test_a_new_decision_narrows_or_ends_a_running_watch(bench: Bench) -> None:
    events = Events()
    bench.authorizer.rule = lambda _: cut_to("a", "b")
    bench.upstream.respond = lambda _: Reply(parts=aiter(events))
    client = await bench.connect()
    await client.send(request("GET", "/api/v1/pods?watch=1", token=bench.session.token))
    await client.head()
    first = events.add("x", "b")
    assert await client.chunk() == first
    bench.authorizer.rule = lambda _: cut_to("a")
    bench.gateway.revalidate()
    events.add("hidden", "b")
    second = events.add("y", "a")
    assert await client.chunk() == second
    bench.authorizer.rule = lambda _: deny("The policy is gone.")
    bench.gateway.revalidate()
    assert await client.is_closed()
    [record] = await bench.recorded(1)
    assert (record.decision.message, record.status) == ("The policy is gone.", 200)
    assert bench.session.denials == ["The policy is gone."]
    assert (bench.session.requests_filtered, bench.session.requests_denied) == (1, 1)
    assert bench.session.requests_revoked == 1
    assert bench.session.denial_reasons == {Reason.NOT_ALLOWED}


@pytest.mark.parametrize(("before", "after"), [(allow(), cut_to("a")), (cut_to("a"), allow())], ids=["cut", "whole"])
async def test_a_watch_that_would_have_to_run_otherwise_ends_as_denied(
    bench: Bench, before: Decision, after: Decision
) -> None:
    events = Events()
    bench.authorizer.rule = lambda _: before
    bench.upstream.respond = lambda _: Reply(parts=aiter(events))
    client = await bench.connect()
    await client.send(request("GET", "/api/v1/pods?watch=1", token=bench.session.token))
    await client.head()
    bench.authorizer.rule = lambda _: after
    bench.gateway.revalidate()
    bench.gateway.revalidate()
    assert (bench.session.requests_denied, bench.session.denial_reasons) == (1, {Reason.NOT_ALLOWED})
    assert "Run the command again" in bench.session.denials[0]
    assert await client.is_closed()
    [record] = await bench.recorded(1)
    assert (record.decision.verdict, record.decision.matched) == (Verdict.DENY, after.matched)


async def test_a_closed_session_ends_what_it_has_open_at_once(bench: Bench) -> None:
    events = Events()
    bench.upstream.respond = lambda _: Reply(parts=aiter(events))
    client = await bench.connect()
    await client.send(request("GET", "/api/v1/pods?watch=1", token=bench.session.token))
    await client.head()
    await bench.gateway.close_session(bench.session)
    assert await client.is_closed()
    assert bench.session.connections == set()
    assert (await bench.ask("GET", PODS)).status == 401


async def test_a_client_that_leaves_takes_its_request_with_it(bench: Bench) -> None:
    gone = asyncio.Event()

    async def forever() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0)
        finally:
            gone.set()

    bench.upstream.respond = lambda _: Reply(parts=forever())
    client = await bench.connect()
    await client.send(request("GET", f"{PODS}/p/log?follow=true", token=bench.session.token))
    await client.head()
    client.writer.transport.abort()
    [record] = await bench.recorded(1)
    assert record.status == 200
    assert bench.session.in_flight == set()


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: abc", "Sec-WebSocket-Version: 13")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
        if data.endswith(b"bye"):
            return


async def test_an_upgraded_connection_carries_bytes_both_ways(bench: Bench) -> None:
    switched = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", "xyz"), ("X-Other", "o")]
    bench.upstream.respond = lambda _: Reply(status=101, headers=switched, parts=b"")
    bench.upstream.spliced = echo
    client = await bench.connect()
    await client.send(request("GET", f"{PODS}/p/exec?command=id", token=bench.session.token, headers=UPGRADE))
    status, headers = await client.head()
    assert (status, headers["upgrade"], headers["sec-websocket-accept"]) == (101, "websocket", "xyz")
    assert "x-other" not in headers
    data = b"0123456789" * 200_000
    sending = asyncio.create_task(client.send(data + b"bye"))
    async with asyncio.timeout(10):
        assert await client.reader.readexactly(len(data) + 3) == data + b"bye"
    await sending
    assert await client.is_closed()
    [received] = bench.upstream.requests
    assert received.header("connection") == "Upgrade"
    assert received.header("sec-websocket-key") == "abc"
    [[asked]] = bench.authorizer.asked
    assert (asked.verb, asked.upgrade) == ("create", True)
    [record] = await bench.recorded(1)
    assert record.status == 101


async def test_an_upgrade_that_is_declined_is_answered(bench: Bench) -> None:
    bench.upstream.respond = lambda _: Reply(status=403, parts=b'{"kind":"Status"}')
    answer = await bench.ask("GET", f"{PODS}/p/exec", headers=UPGRADE)
    assert (answer.status, answer.body) == (403, b'{"kind":"Status"}')


async def test_a_policy_that_goes_ends_an_upgraded_connection(bench: Bench) -> None:
    switched = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    bench.upstream.respond = lambda _: Reply(status=101, headers=switched, parts=b"")
    bench.upstream.spliced = echo
    client = await bench.connect()
    await client.send(request("GET", f"{PODS}/p/exec", token=bench.session.token, headers=UPGRADE))
    await client.head()
    bench.authorizer.rule = lambda _: deny()
    bench.gateway.revalidate()
    assert await client.is_closed()
    assert (bench.session.requests_denied, bench.session.denial_reasons) == (1, {Reason.NOT_ALLOWED})


async def test_a_policy_that_goes_ends_logs_that_are_followed(bench: Bench) -> None:
    events = Events()
    bench.upstream.respond = lambda _: Reply(parts=aiter(events))
    client = await bench.connect()
    await client.send(request("GET", f"{PODS}/p/log?follow=true", token=bench.session.token))
    await client.head()
    bench.authorizer.rule = lambda _: deny()
    bench.gateway.revalidate()
    assert await client.is_closed()
    assert (bench.session.requests_denied, bench.session.denial_reasons) == (1, {Reason.NOT_ALLOWED})


async def test_a_policy_that_goes_ends_an_upload(bench: Bench) -> None:
    client = await bench.connect()
    await client.send(request("POST", PODS, token=bench.session.token, headers=("Content-Length: 1000",)) + b"x" * 10)
    await eventually(lambda: bench.session.requests_allowed == 1)
    bench.authorizer.rule = lambda _: deny("The policy is gone.")
    bench.gateway.revalidate()
    assert await client.is_closed()
    assert bench.session.denials == ["The policy is gone."]
    assert bench.upstream.requests == []


async def test_a_command_whose_request_is_taken_back_is_to_end(bench: Bench) -> None:
    bench.upstream.respond = lambda _: Reply(parts=aiter(Events()))
    client = await bench.connect()
    await client.send(request("GET", "/api/v1/pods?watch=1", token=bench.session.token))
    await client.head()
    bench.gateway.revalidate()
    assert not bench.session.ended.is_set()
    bench.authorizer.rule = lambda _: deny("The policy is gone.")
    bench.gateway.revalidate()
    assert bench.session.ended.is_set()
    assert bench.session.ended_by is not None
    assert bench.session.ended_by.message == "The policy is gone."


async def test_a_command_whose_client_has_nothing_left_is_to_end_also_between_requests(bench: Bench) -> None:
    assert (await bench.ask("GET", PODS)).status == 200
    bench.authorizer.lost = deny("Blocked.")
    bench.gateway.revalidate()
    assert bench.session.ended.is_set()
    assert (bench.session.ended_by, bench.session.requests_revoked) == (bench.authorizer.lost, 0)


async def test_the_words_of_an_exec_are_not_recorded(bench: Bench) -> None:
    target = f"{PODS}/p/exec?command=mysql&command=-phunter2&stdin=true&container=db"
    await bench.ask("POST", target)
    bench.authorizer.rule = lambda _: deny()
    await bench.ask("POST", target)
    records = await bench.recorded(2)
    assert {record.target for record in records} == {f"{PODS}/p/exec?command=…&command=…&stdin=true&container=…"}
    assert "hunter2" not in repr(records)


async def test_a_protocol_switch_that_nobody_asked_for_is_no_answer(bench: Bench) -> None:
    bench.upstream.respond = lambda _: Reply(status=101, headers=[("Connection", "Upgrade"), ("Upgrade", "x")])
    assert (await bench.ask("GET", PODS)).status == 502


def test_a_cut_by_namespace_knows_namespaces_by_name() -> None:
    assert Namespaces(frozenset({"a"})).allows(namespace="", name="a")
