"""``check_access``: who you are here, what you may do, whether you may do one thing, and whom to ask for more.

Shown to everybody who is authenticated, above all to those whom no policy names.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from mcp.types import CallToolResult, TextContent, ToolAnnotations
from mcp.types import Tool as ToolDescription

from k8s_mcp_server.commands.files import read_files
from k8s_mcp_server.errors import CommandRefused, Unavailable
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.admission import NotAdmittedError
from k8s_mcp_server.serving.arguments import read_stdin
from k8s_mcp_server.serving.text import escape_hidden

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.serving.checking import AccessChecker
    from k8s_mcp_server.serving.finding import Finding
    from k8s_mcp_server.serving.grants import Grants
    from k8s_mcp_server.serving.tools.base import Report

NAME: Final = "check_access"
_SHOWN_ARGUMENTS: Final = 5
_OF_A_REQUEST: Final = ("tool", "verb", "resource", "namespace", "name")
_OF_A_COMMAND: Final = ("command", "stdin", "files")
_VERB: Final = re.compile(r"[a-z]{1,63}")
_LONGEST: Final = 253


class CheckAccessTool:
    """Shows the caller its own access.

    Args:
        grants: what policies say.
        checker: answers about one request or command.
        cluster: the cluster's name.
    """

    def __init__(self, *, grants: Grants, checker: AccessChecker, cluster: str) -> None:
        self._grants = grants
        self._checker = checker
        self._cluster = cluster
        text = {"type": "string"}
        self._description = ToolDescription(
            name=NAME,
            description=(
                "May I? For a `command` line (with its stdin, files), or verb and resource: yes, or what is missing "
                "and what works now. Without arguments: who you are and all you may do."
            ),
            input_schema={
                "type": "object",
                "properties": {
                    **dict.fromkeys(("command", "stdin"), text),
                    "files": {"type": "object"},
                    **dict.fromkeys(_OF_A_REQUEST, text),
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
        """Everybody may ask."""
        return True

    async def call(self, client: Client, arguments: Mapping[str, Any], *, report: Report) -> CallToolResult:
        """Say what the client may do."""
        del report
        if not arguments:
            return self._everything(client)
        try:
            return self._found(await self._find(client, arguments))
        except CommandRefused as refusal:
            return self._refused(refusal.reason, refusal.message, refusal.instead)
        except NotAdmittedError as refusal:
            return self._refused(refusal.reason, refusal.message, "wait, then ask again")
        except Unavailable as error:
            return self._refused("Unavailable", str(error), "ask again later")

    async def _find(self, client: Client, arguments: Mapping[str, Any]) -> Finding:
        known = {*_OF_A_REQUEST, *_OF_A_COMMAND}
        if unknown := [repr(str(name)[:64]) for name in arguments if name not in known]:
            names = ", ".join(unknown[:_SHOWN_ARGUMENTS])
            instead = "pass `command`, or `verb`, `resource`, `namespace` and `name`, or nothing"
            raise CommandRefused("UnknownArgument", f"unknown argument {names}", instead=instead)
        stated = _text(arguments, "tool").removeprefix("execute_")
        if stated and stated not in set(Tool):
            raise CommandRefused("InvalidArgument", f"no tool is called {stated!r}", instead=f"pass {', '.join(Tool)}")
        if "command" in arguments:
            return await self._checker.command(
                client,
                _text(arguments, "command", longest=None),
                tool=Tool(stated) if stated else None,
                stdin=read_stdin(arguments.get("stdin")),
                files=read_files(arguments.get("files")),
            )
        verb, resource = _text(arguments, "verb").lower(), _text(arguments, "resource")
        if not _VERB.fullmatch(verb) or not resource:
            raise CommandRefused(
                "InvalidArgument",
                "`verb` and `resource` are needed",
                instead="pass verb get, list, watch, create, update, patch or delete, and a resource such as pods/log",
            )
        return await self._checker.request(
            client,
            tool=Tool(stated or Tool.KUBECTL),
            verb=verb,
            resource=resource,
            namespace=_text(arguments, "namespace"),
            name=_text(arguments, "name"),
        )

    def _everything(self, client: Client) -> CallToolResult:
        access = self._grants.access(client)
        return CallToolResult(
            content=[TextContent(type="text", text=f"Cluster: {self._cluster}\n{escape_hidden(access.render())}")],
            structured_content={"cluster": self._cluster, **access.as_dict()},
        )

    def _found(self, finding: Finding) -> CallToolResult:
        yes = "yes, as far as can be told before" if finding.notes else "yes"
        lines = [
            yes if finding.allowed else "no",
            *finding.requests,
            *(f"missing: {each}" for each in finding.missing),
            *finding.notes,
        ]
        if finding.allowed and not finding.requests:
            lines.append("it asks nothing of the cluster that is not everybody's")
        if finding.rules:
            lines += ["These rules of a policy would allow what is missing:", finding.rules.rstrip()]
        if finding.next_command and all(finding.next_command not in each for each in finding.missing):
            lines.append(f"works now: {finding.next_command}")
        fields = {key: value for key, value in asdict(finding).items() if value or key == "allowed"}
        return CallToolResult(
            content=[TextContent(type="text", text=escape_hidden("\n".join(lines)))],
            structured_content={"cluster": self._cluster, **fields},
        )

    def _refused(self, reason: str, message: str, instead: str) -> CallToolResult:
        text = f"[k8s-mcp-server] refused\n{reason}: {message}" + (f"\nhint: {instead}" if instead else "")
        return CallToolResult(
            content=[TextContent(type="text", text=escape_hidden(text))],
            structured_content={
                "cluster": self._cluster,
                "status": "refused",
                "reason": reason,
                "message": message,
                "hint": instead,
            },
            is_error=True,
        )


def _text(arguments: Mapping[str, Any], name: str, *, longest: int | None = _LONGEST) -> str:
    value = arguments.get(name, "")
    if not isinstance(value, str) or (longest is not None and len(value) > longest):
        raise CommandRefused("InvalidArgument", f"`{name}` must be a short string")
    return value
