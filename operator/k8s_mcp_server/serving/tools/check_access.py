"""``check_access``: who you are here, what you may do, and whom to ask for more.

Shown to everybody who is authenticated, above all to those whom no policy names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mcp.types import CallToolResult, TextContent, ToolAnnotations
from mcp.types import Tool as ToolDescription

from k8s_mcp_server.serving.text import escape_hidden

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.serving.grants import Grants
    from k8s_mcp_server.serving.tools.base import Report

NAME: Final = "check_access"
_SHOWN_ARGUMENTS: Final = 5


class CheckAccessTool:
    """Shows the caller its own access.

    Args:
        grants: what policies say.
        cluster: the cluster's name.
    """

    def __init__(self, *, grants: Grants, cluster: str) -> None:
        self._grants = grants
        self._cluster = cluster
        self._description = ToolDescription(
            name=NAME,
            title="Check access",
            description=(
                f"Who you are for the Kubernetes cluster {cluster}, which policies name you, what you may do in which "
                "namespaces, your limits, and whom to ask for more. Call it first, and after a denial."
            ),
            input_schema={"type": "object", "properties": {}, "additionalProperties": False},
            output_schema={
                "type": "object",
                "properties": {"cluster": {"type": "string"}},
                "required": ["cluster"],
            },
            annotations=ToolAnnotations(
                read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
            ),
        )

    @property
    def description(self) -> ToolDescription:
        """As ``tools/list`` gives it."""
        return self._description

    def visible_to(self, client: Client) -> bool:
        """Everybody may ask."""
        return True

    async def call(self, client: Client, arguments: Mapping[str, Any], *, report: Report) -> CallToolResult:
        """Say what the client may do."""
        if arguments:
            names = ", ".join(repr(str(name)[:64]) for name in list(arguments)[:_SHOWN_ARGUMENTS])
            text = f"[k8s-mcp-server] refused\nUnknownArgument: check_access takes no arguments, and got {names}"
            return CallToolResult(
                content=[TextContent(type="text", text=text)],
                structured_content={"cluster": self._cluster, "status": "refused", "reason": "UnknownArgument"},
                is_error=True,
            )
        access = self._grants.access(client)
        return CallToolResult(
            content=[TextContent(type="text", text=f"Cluster: {self._cluster}\n{escape_hidden(access.render())}")],
            structured_content={"cluster": self._cluster, **access.as_dict()},
        )
