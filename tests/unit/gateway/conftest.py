"""A gateway in front of a fake API server, decided by what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from k8s_mcp_server.gateway.front import FrontLimits
from k8s_mcp_server.gateway.gateway import Gateway
from k8s_mcp_server.gateway.pool import UpstreamLimits
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.fake_upstream import FakeUpstream
from tests.support.gateway_bench import AGENT, OURSELVES, Bench, FakeAuthorizer, RecordingAudit


@pytest.fixture
def front_limits() -> FrontLimits:
    return FrontLimits()


@pytest.fixture
def upstream_limits() -> UpstreamLimits:
    return UpstreamLimits(connect_seconds=2, response_seconds=5)


@pytest.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[FakeUpstream]:
    server = await FakeUpstream(tmp_path).start()
    yield server
    await server.stop()


@pytest.fixture
async def bench(
    upstream: FakeUpstream, front_limits: FrontLimits, upstream_limits: UpstreamLimits
) -> AsyncIterator[Bench]:
    authorizer, audit, metrics = FakeAuthorizer(), RecordingAudit(), Metrics()
    gateway = Gateway(
        api_server=upstream.api_server,
        authorizer=authorizer,
        metrics=metrics,
        audit=audit,
        service_account=OURSELVES,
        front_limits=front_limits,
        upstream_limits=upstream_limits,
    )
    await gateway.start()
    session = gateway.open(client=AGENT, tool=Tool.KUBECTL, command_id="cmd-1")
    bench = Bench(gateway, upstream, authorizer, audit, metrics, session)
    yield bench
    for client in bench.clients:
        client.writer.transport.abort()
    await gateway.close()
    await asyncio.sleep(0)
