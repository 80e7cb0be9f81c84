"""A result has the cluster's output once: as text, or as fields for who asks for them in the URL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx2
import pytest

from k8s_mcp_server.serving.form import fields_of
from tests.support.agent import text_of
from tests.support.executing import MODES
from tests.support.serving import DONE, Service

if TYPE_CHECKING:
    from mcp.types import CallToolResult

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

OUT, ERR, FILE = "printed-7d1c", "warned-7d1c", "written-7d1c"


async def answered(service: Service, *, mode: str, query: str = "") -> CallToolResult:
    service.executor.result = replace(
        DONE, stdout=OUT.encode(), stderr=ERR.encode(), files={"report.txt": FILE.encode()}
    )
    async with asyncio.timeout(20), service.client(mode=mode, query=query) as client:
        return await client.call_tool("execute_kubectl", {"command": "get pods"})


@MODES
@pytest.mark.parametrize("query", ["", "?results=text", "?results=structured"])
async def test_what_a_command_put_out_is_sent_once(service: Service, mode: str, query: str) -> None:
    result = await answered(service, mode=mode, query=query)
    sent = result.model_dump_json()
    assert [sent.count(word) for word in (OUT, ERR, FILE)] == [1, 1, 1]
    assert fields_of(result)["exit_code"] == 0
    assert "succeeded, exit code 0" in text_of(result)


@MODES
async def test_who_asks_for_nothing_else_gets_text_and_no_structured_content_that_would_replace_it(
    service: Service, mode: str
) -> None:
    result = await answered(service, mode=mode)
    assert result.structured_content is None
    assert all(word in text_of(result) for word in (OUT, ERR, FILE))
    assert fields_of(result)["status"] == "succeeded"


@MODES
async def test_who_asks_for_fields_gets_them_and_our_own_note(service: Service, mode: str) -> None:
    result = await answered(service, mode=mode, query="?results=structured")
    assert result.structured_content is not None
    assert result.structured_content["stdout"] == OUT
    assert result.structured_content["files"] == {"report.txt": FILE}
    assert not any(word in text_of(result) for word in (OUT, ERR, FILE))


@MODES
@pytest.mark.parametrize(("query", "is_structured"), [("", False), ("?results=structured", True)])
async def test_only_who_gets_fields_is_promised_them(
    service: Service, mode: str, query: str, *, is_structured: bool
) -> None:
    async with asyncio.timeout(20), service.client(mode=mode, query=query) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        await client.call_tool("execute_kubectl", {"command": "get pods; id"})  # the SDK's client checks the schema
    schema = tools["execute_kubectl"].output_schema
    assert ("stdout" in (schema or {}).get("properties", {})) is is_structured


@pytest.mark.parametrize(("query", "is_structured"), [("", False), ("?results=structured", True)])
async def test_access_has_structured_content_for_who_asks_for_it(
    service: Service, query: str, *, is_structured: bool
) -> None:
    async with asyncio.timeout(20), service.client(query=query) as client:
        result = await client.call_tool("check_access", {})
    assert (result.structured_content is not None) is is_structured
    assert fields_of(result)["username"] == "system:serviceaccount:team-a-agents:alice"
    assert "system:serviceaccount:team-a-agents:alice" in text_of(result)


async def test_a_form_that_there_is_not_is_refused_with_those_that_there_are(service: Service) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"Authorization": "Bearer alice", "Accept": "application/json, text/event-stream"}
    async with httpx2.AsyncClient(headers=headers, timeout=20) as http:
        answer = await http.post(f"{service.url}?results=xml", json=body)
    assert answer.status_code == 400
    assert answer.json()["error_description"] == "results in the URL is text or structured; without it, text"
