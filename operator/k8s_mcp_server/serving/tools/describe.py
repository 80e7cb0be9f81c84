"""``describe_kubectl`` and its like: the CLI's real help, cut short, and marked with what the caller may do."""

from __future__ import annotations

import difflib
import shlex
from typing import TYPE_CHECKING, Any, Final

from mcp.types import CallToolResult, TextContent, ToolAnnotations
from mcp.types import Tool as ToolDescription

from k8s_mcp_server.commands.help_text import subcommands, trim
from k8s_mcp_server.commands.kubectl import FIXED_FLAGS, why_unavailable
from k8s_mcp_server.commands.rights import KUBECTL_RIGHTS
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.abilities import CLUSTER, places
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.help import UnknownSubcommandError
from k8s_mcp_server.serving.text import escape_hidden

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8s_mcp_server.policy.case import DecisionContext
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.serving.grants import Grants
    from k8s_mcp_server.serving.help import HelpReader
    from k8s_mcp_server.serving.tools.base import Report

_MOST_PLACES: Final = 3
_MOST_WORDS: Final = 4
_MAX_COMMAND: Final = 200


class DescribeTool:
    """Explains one CLI.

    Args:
        tool: which.
        reader: has its help.
        grants: who may see it, and what they may do.
    """

    def __init__(self, tool: Tool, *, reader: HelpReader, grants: Grants) -> None:
        self._tool = tool
        self._reader = reader
        self._grants = grants
        self._description = ToolDescription(
            name=f"describe_{tool.value}",
            description=f"{tool.value} help, marked with what you may do.",
            input_schema={
                "type": "object",
                "properties": {
                    "command": {"type": "string", "description": f"such as {_EXAMPLES[tool]!r}; left out: an overview"}
                },
                "additionalProperties": False,
            },
            annotations=ToolAnnotations(read_only_hint=True),
        )

    @property
    def description(self) -> ToolDescription:
        """As ``tools/list`` gives it."""
        return self._description

    def visible_to(self, client: Client) -> bool:
        """Whether a policy lets the client use this CLI."""
        return self._tool in self._grants.tools(client)

    async def call(self, client: Client, arguments: Mapping[str, Any], *, report: Report) -> CallToolResult:
        """The help of the subcommand that ``command`` begins with, or an overview."""
        del report
        if (denial := self._grants.standing(client, tool=self._tool).denial) is not None:
            return _answer(f"{denial.reason}: {denial.message}\nhint: {denial.hint}", is_error=True)
        command = arguments.get("command") or ""
        if set(arguments) - {"command"} or not isinstance(command, str) or len(command) > _MAX_COMMAND:
            return _answer(f"pass `command`: a subcommand of {self._tool.value}, such as {_EXAMPLES[self._tool]!r}")
        words = _subcommand_words(command, tool=self._tool)
        try:
            text = await self._reader.read(self._tool, words)
        except UnknownSubcommandError as error:
            return _answer(_unknown(error, tool=self._tool), is_error=True)
        except Unavailable as error:
            return _answer(f"Unavailable: {error}; try again", is_error=True)
        context = self._grants.context(client, tool=self._tool)
        if not words:
            return _answer(self._overview(text, context))
        path = words[:1] if " ".join(words[:2]) not in _paths(self._tool) else words[:2]
        mark = _mark(self._tool, " ".join(path), context)
        return _answer(f"{self._tool.value} {' '.join(path)}: {mark}\n\n{trim(text, without=_hidden(self._tool))}")

    def _overview(self, text: str, context: DecisionContext) -> str:
        lines = [f"describe_{self._tool.value}(command) shows one of these in full:"]
        for name, about in subcommands(text).items():
            mark = _mark(self._tool, name, context)
            lines.append(f"{name}: {about}" + (f" [{mark}]" if mark != _WORKS else ""))
        return "\n".join(lines)


_WORKS: Final = "works"
_EXAMPLES: Final = {
    Tool.KUBECTL: "rollout restart",
    Tool.HELM: "upgrade",
    Tool.ISTIOCTL: "proxy-config",
    Tool.ARGOCD: "app get",
}


def _mark(tool: Tool, path: str, context: DecisionContext) -> str:
    """What the caller's policies make of a subcommand."""
    if tool is not Tool.KUBECTL:
        return _WORKS
    if unavailable := why_unavailable(path):
        return f"not here: it {unavailable}"
    right = KUBECTL_RIGHTS.get(path) or KUBECTL_RIGHTS.get(path.partition(" ")[0])
    if right is None:
        return _WORKS
    found = places(right, context)
    if not found:
        return f"not allowed: needs {right}"
    more = f" and {len(found) - _MOST_PLACES} more" if len(found) > _MOST_PLACES else ""
    where = ", ".join(found[:_MOST_PLACES])
    return f"allowed in {where}{more}" if found != (CLUSTER,) else f"allowed in {CLUSTER}"


def _paths(tool: Tool) -> frozenset[str]:
    return frozenset(KUBECTL_RIGHTS) if tool is Tool.KUBECTL else frozenset()


def _hidden(tool: Tool) -> frozenset[str]:
    return frozenset(FIXED_FLAGS) if tool is Tool.KUBECTL else frozenset()


def _subcommand_words(command: str, *, tool: Tool) -> list[str]:
    """The words up to the first flag, without the CLI's name."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    words = words[1:] if words[:1] == [tool.value] else words
    plain: list[str] = []
    for word in words[:_MOST_WORDS]:
        if word.startswith("-"):
            break
        plain.append(word)
    return plain


def _unknown(error: UnknownSubcommandError, *, tool: Tool) -> str:
    parent = " ".join((tool.value, *error.parent))
    near = difflib.get_close_matches(error.word, error.known, n=3)
    known = ", ".join(near or error.known)
    return f"UnknownSubcommand: {parent} has no {error.word[:40]!r}; it has {known}"


def _answer(text: str, *, is_error: bool = False) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=escape_hidden(text))], is_error=is_error)
