"""Which tools a caller sees, and ``check_access``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from k8s_mcp_server.serving.caller import NotAuthenticatedError
from k8s_mcp_server.serving.mcp_server import AgentServer
from tests.support.serving import Service, policy, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as running:
        yield running


async def listed(service: Service, *, as_: str, mode: str = "auto") -> list[str]:
    async with asyncio.timeout(20), service.client(as_=as_, mode=mode) as client:
        return [tool.name for tool in (await client.list_tools()).tools]


@MODES
async def test_each_caller_sees_the_tools_that_its_policies_give(service: Service, mode: str) -> None:
    assert await listed(service, as_="alice", mode=mode) == ["execute_kubectl", "check_access"]
    assert await listed(service, as_="bob", mode=mode) == ["check_access"]


async def test_the_list_follows_the_policy(service: Service) -> None:
    service.store.set(policy("readers", "bob"))

    assert await listed(service, as_="bob") == ["execute_kubectl", "check_access"]
    assert await listed(service, as_="alice") == ["check_access"]


async def test_nothing_can_be_run_from_stale_policies(service: Service) -> None:
    service.store.seconds_old = 60

    assert await listed(service, as_="alice") == ["check_access"]


@MODES
async def test_an_unknown_tool_is_an_error_result(service: Service, mode: str) -> None:
    async with asyncio.timeout(20), service.client(mode=mode) as client:
        result = await client.call_tool("execute_bash", {"command": "id"})

    assert result.is_error
    assert result.content[0].type == "text"
    assert "Unknown tool" in result.content[0].text


async def test_schemas_are_strict_and_outputs_are_described(service: Service) -> None:
    async with asyncio.timeout(20), service.client() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}

    execute = tools["execute_kubectl"]
    assert execute.input_schema["additionalProperties"] is False
    assert execute.input_schema["required"] == ["command"]
    assert execute.output_schema is not None
    assert "stdout" in execute.output_schema["properties"]
    assert execute.annotations is not None
    assert execute.annotations.destructive_hint is True


@MODES
async def test_check_access_says_who_you_are_and_what_you_may_do(service: Service, mode: str) -> None:
    async with asyncio.timeout(20), service.client(mode=mode) as client:
        result = await client.call_tool("check_access", {})

    assert result.structured_content is not None
    assert result.structured_content["username"] == "system:serviceaccount:team-a-agents:alice"
    assert result.structured_content["cluster"] == "test"
    assert result.content[0].type == "text"
    assert "readers" in result.content[0].text
    assert "team-a" in result.content[0].text


async def test_check_access_answers_also_whom_no_policy_names(service: Service) -> None:
    async with asyncio.timeout(20), service.client(as_="bob") as client:
        result = await client.call_tool("check_access", {})

    assert not result.is_error
    assert result.content[0].type == "text"
    assert "system:serviceaccount:team-a-agents:bob" in result.content[0].text
    assert "No access policy names you" in result.content[0].text
    assert "readers" not in result.content[0].text


async def test_check_access_takes_no_arguments(service: Service) -> None:
    async with asyncio.timeout(20), service.client() as client:
        result = await client.call_tool("check_access", {"who": "bob"})

    assert result.is_error
    assert result.structured_content is not None
    assert result.structured_content["reason"] == "UnknownArgument"


async def test_without_the_edge_nobody_is_served() -> None:
    server = AgentServer([], cluster="test", version="1")

    with pytest.raises(NotAuthenticatedError):
        await server.list_tools()
    with pytest.raises(NotAuthenticatedError):
        await server.call_tool("check_access", {})


async def test_the_server_names_its_cluster(service: Service) -> None:
    async with asyncio.timeout(20), service.client() as client:
        assert client.server_info is not None
        assert client.server_info.title == "Kubernetes cluster test"
        assert "check_access" in (client.instructions or "")
