"""An MCP client as an agent has one: a URL, a token, and calls that block until the answer is there."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from k8s_mcp_server.serving.form import fields_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.types import CallToolResult

_CALL_SECONDS = 120.0  # more than a command may take


def text_of(result: CallToolResult) -> str:
    """Everything that a model would read: the text blocks joined."""
    return "\n".join(block.text for block in result.content if block.type == "text")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool answered.

    Args:
        fields: of the result, with what the command put out.
        text: everything that a model would read: the text blocks joined.
    """

    fields: dict[str, Any]
    text: str

    @property
    def status(self) -> str:
        """The result's status; empty when it has none."""
        return str(self.fields.get("status", ""))

    @property
    def stdout(self) -> str:
        """What the command printed."""
        return str(self.fields.get("stdout", ""))

    @property
    def everything(self) -> str:
        """All that the client got, for proofs that something was not in it."""
        return f"{self.text}\n{self.fields}"


@dataclass(frozen=True, slots=True)
class Agent:
    """Calls the service's tools as one client.

    Args:
        url: of the MCP endpoint.
        token: of our audience.
        host: the Host header, where the URL has an address and not a name that the service knows as its own.
    """

    url: str
    token: str
    host: str = ""

    @property
    def account(self) -> str:
        """The name of its ServiceAccount, which is also that of its own policy where `AgentFactory` made one."""
        claims = self.token.split(".")[1]
        subject: str = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["sub"]
        return subject.rpartition(":")[2]

    def kubectl(self, command: str, **arguments: Any) -> Answer:
        """Call ``execute_kubectl``."""
        return self.call("execute_kubectl", {"command": command, **arguments})

    def check_access(self) -> Answer:
        """Call ``check_access``."""
        return self.call("check_access", {})

    def http_status(self) -> int:
        """What a request with its token is answered with; 401 for one that is no identity here."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json, text/event-stream"}
        return httpx2.post(self.url, json=body, headers=headers, timeout=_CALL_SECONDS).status_code

    def prompt(self, name: str, **arguments: str) -> str:
        """The text of a prompt."""
        return asyncio.run(self._prompt(name, arguments))

    async def _prompt(self, name: str, arguments: dict[str, str]) -> str:
        async with self._client() as client:
            content = (await client.get_prompt(name, arguments)).messages[0].content
        assert content.type == "text"
        return content.text

    def tools(self) -> list[str]:
        """The names of the tools that it is offered."""
        return asyncio.run(self._tools())

    async def _tools(self) -> list[str]:
        async with self._client() as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        """Call any tool over a new connection."""
        return asyncio.run(self._call(tool, arguments))

    async def _call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        async with self._client() as client:
            result = await client.call_tool(tool, arguments)
        return Answer(fields=fields_of(result), text=text_of(result))

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        headers = {"Authorization": f"Bearer {self.token}", **({"Host": self.host} if self.host else {})}
        async with (
            asyncio.timeout(_CALL_SECONDS),
            httpx2.AsyncClient(headers=headers, timeout=_CALL_SECONDS) as http,
            Client(streamable_http_client(self.url, http_client=http)) as client,
        ):
            yield client
