"""What reaches the API server, and what of its answer reaches the command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.fake_upstream import Received, Reply
from tests.support.raw_http import request
from tests.support.gateway_bench import AGENT, OURSELVES, Bench

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_an_allowed_get_reaches_the_api_server_as_ourselves_and_its_answer_the_command(bench: Bench) -> None:
    bench.upstream.respond = lambda _: Reply(parts=b'{"kind":"PodList"}')

    answer = await bench.ask("GET", "/api/v1/namespaces/team-a/pods?limit=500")

    assert (answer.status, answer.body) == (200, b'{"kind":"PodList"}')
    [received] = bench.upstream.requests
    assert (received.method, received.target) == ("GET", "/api/v1/namespaces/team-a/pods?limit=500")
    assert received.header("authorization") == "Bearer pod-token"
    assert received.header("impersonate-user") == OURSELVES
    assert received.header("impersonate-extra-k8s-mcp.io%2fclient") == AGENT.username
    [record] = await bench.recorded(1)
    assert received.header("audit-id") == record.audit_id
