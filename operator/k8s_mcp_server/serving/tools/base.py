"""What the server needs of a tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcp.types import CallToolResult
    from mcp.types import Tool as ToolDescription

    from k8s_mcp_server.policy.identity import Client

    Report = Callable[[float, float | None, str], Awaitable[None]]
    """Tells the client: seconds so far, seconds at most, what happens."""


class AgentTool(Protocol):
    """One MCP tool: how it is described, whom it is shown to, what it does."""

    @property
    def description(self) -> ToolDescription:
        """As ``tools/list`` gives it."""

    def visible_to(self, client: Client) -> bool:
        """Whether ``tools/list`` names it for this client. Not a permission: ``call`` decides again."""

    async def call(self, client: Client, arguments: Mapping[str, Any], *, report: Report) -> CallToolResult:
        """Answer a call. What a client did wrong is a result, not an exception."""
