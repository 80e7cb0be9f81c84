"""Calls of an execute tool, and what their results hold."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.serving import Service

if TYPE_CHECKING:
    from mcp.types import CallToolResult


MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


async def run(
    service: Service, arguments: dict[str, Any], *, as_: str = "alice", mode: str = "auto", query: str = ""
) -> CallToolResult:
    async with asyncio.timeout(20), service.client(as_=as_, mode=mode, query=query) as client:
        return await client.call_tool("execute_kubectl", arguments)


def counted(service: Service, outcome: str) -> float | None:
    labels = {"cli": "kubectl", "outcome": outcome}
    return service.metrics.registry.get_sample_value("k8s_mcp_commands_total", labels)


def in_flight(service: Service) -> float | None:
    return service.metrics.registry.get_sample_value("k8s_mcp_commands_in_flight", {"cli": "kubectl"})
