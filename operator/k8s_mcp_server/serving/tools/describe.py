"""``describe_kubectl`` and its like: the CLI's real help, cut short, and marked with what the caller may do."""

from __future__ import annotations

import difflib
import shlex
from typing import TYPE_CHECKING, Any, Final

from mcp.types import CallToolResult, TextContent, ToolAnnotations
from mcp.types import Tool as ToolDescription

from k8s_mcp_server.commands.help_text import subcommands, trim
from k8s_mcp_server.commands.offers import FLAGS_REFUSED, offer_of
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.abilities import CLUSTER, Right, places
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.help import UnknownSubcommandError
from k8s_mcp_server.serving.text import escape_hidden

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from k8s_mcp_server.policy.case import DecisionContext
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.serving.grants import Grants
    from k8s_mcp_server.serving.help import HelpReader
    from k8s_mcp_server.serving.tools.base import Report

_MOST_PLACES: Final = 3
_MOST_WORDS: Final = 5
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
            path, text = await self._reader.read(self._tool, words)
        except UnknownSubcommandError as error:
            return _answer(_unknown(error, tool=self._tool), is_error=True)
        except Unavailable as error:
            return _answer(f"Unavailable: {error}; try again", is_error=True)
        context = self._grants.context(client, tool=self._tool)
        if not path:
            more = self._marked(path, text, context)
            return _answer(f"describe_{self._tool.value}(command) shows one of these in full:\n{more}")
        about = f"{self._tool.value} {path}: {self._mark(path, context)}"
        below = self._marked(path, text, context)
        whole = trim(text, without=FLAGS_REFUSED[self._tool])
        return _answer("\n\n".join(filter(None, (about, whole, below))))

    def _marked(self, path: str, text: str, context: DecisionContext) -> str:
        """The subcommands that a help text lists, each with its mark."""
        lines = []
        for name, about in subcommands(text).items():
            mark = self._mark(f"{path} {name}".strip(), context)
            lines.append(f"{name}: {about}" + (f" [{mark}]" if mark != _WORKS else ""))
        return "\n".join(lines)

    def _mark(self, path: str, context: DecisionContext) -> str:
        """What the caller's policies make of a subcommand."""
        offer = offer_of(self._tool, path, istio_namespace=context.environment.istio_namespace)
        if offer.unavailable:
            return f"not here: it {offer.unavailable}"
        if not offer.forms:
            return _WORKS
        found = next(filter(None, (_where(form, context) for form in offer.forms)), "")
        if not found:
            needed = " and ".join(map(str, _lacking(offer.forms[0], context)))
            return f"not allowed: needs {needed}"
        return f"{found}; {offer.also}" if offer.also else found


_WORKS: Final = "works"
_EXAMPLES: Final = {
    Tool.KUBECTL: "rollout restart",
    Tool.HELM: "upgrade",
    Tool.ISTIOCTL: "proxy-config",
    Tool.ARGOCD: "app get",
}


def _lacking(form: Iterable[Right], context: DecisionContext) -> list[Right]:
    return [right for right in form if not places(right, context)] or list(form)


def _where(form: tuple[Right, ...], context: DecisionContext) -> str:
    """Where the caller has all of these rights, in words; empty when one of them is nowhere, or all at no one place."""
    found = {right: places(right, context) for right in form}
    if not all(found.values()):
        return ""
    if context.tool is Tool.ARGOCD:
        return f"allowed for {_some(found[form[-1]])}"  # the right that is more than reading
    ordinary = [set(found[right]) for right in form if not right.namespace and found[right] != (CLUSTER,)]
    if not ordinary:
        return f"allowed in {CLUSTER}"
    common = sorted(set.intersection(*ordinary))
    return f"allowed in {_some(common)}" if common else ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_PLACES} more" if len(names) > _MOST_PLACES else ""
    return f"{', '.join(names[:_MOST_PLACES])}{more}"


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
