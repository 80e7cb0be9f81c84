"""The arguments of ``execute_*``: what is accepted, and what to write instead of the rest.

Checked here and not by the SDK, whose validation drops unknown arguments silently and answers bad ones with a library's
words. Here each becomes a structured refusal. What the command line itself says is read by `commands`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from k8s_mcp_server.commands.files import read_files
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.policy.tools import Tool

_FILES: Final = {
    Tool.KUBECTL: "name: text, for -f NAME or -k .",
    Tool.HELM: "name: text, for -f NAME; a chart as chart/Chart.yaml and so on, for ./chart",
}
_KNOWN: Final = ("command", "stdin", "files", "timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandArguments:
    """What the client asked to run.

    Args:
        command: the command line, still unread.
        stdin: standard input of the first stage, UTF-8.
        files: what it finds in its folder, by relative name.
        timeout: whole seconds asked for; None leaves it to the limit.
    """

    command: str
    stdin: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    timeout: int | None = None


def input_schema(tool: Tool) -> dict[str, Any]:
    """The JSON schema of the arguments, as ``tools/list`` publishes it."""
    pipes = " Pipes into grep, jq, yq, awk, sed, sort and the like work; there is no shell."
    return {
        "type": "object",
        "properties": {
            "command": {"type": "string", "description": f"Such as {_example(tool)!r}.{pipes}"},
            "stdin": {"type": "string", "description": "For -f -"},
            "files": {"type": "object", "description": _FILES.get(tool, "name: text, for -f NAME")},
            "timeout": {"type": "number", "description": "seconds"},
        },
        "required": ["command"],
        "additionalProperties": False,
    }


def read_arguments(arguments: Mapping[str, Any], *, tool: Tool) -> CommandArguments:
    """Check and convert the arguments of a call.

    Raises:
        CommandRefused: one of them cannot be used.
    """
    if unknown := sorted(str(name)[:64] for name in arguments if name not in _KNOWN):
        raise CommandRefused(
            "UnknownArgument",
            f"unknown argument {', '.join(map(repr, unknown[:5]))}",
            instead=f"pass {', '.join(_KNOWN)}; flags of {tool.value} belong in `command`",
        )
    return CommandArguments(
        command=_command(arguments.get("command"), tool=tool),
        stdin=read_stdin(arguments.get("stdin")),
        files=read_files(arguments.get("files")),
        timeout=_timeout(arguments.get("timeout")),
    )


def _command(value: object, *, tool: Tool) -> str:
    if not isinstance(value, str):
        raise CommandRefused(
            "InvalidCommand",
            "`command` must be a string",
            instead=f"write one command line, such as {_example(tool)!r}",
        )
    return value


def read_stdin(value: object) -> bytes:
    """The ``stdin`` argument. Raises CommandRefused."""
    if value is None:
        return b""
    if not isinstance(value, str):
        raise CommandRefused(
            "InvalidStdin",
            "`stdin` must be a string",
            instead="pass the text itself, for example the YAML of a manifest",
        )
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise CommandRefused(
            "InvalidStdin", "`stdin` holds half of a surrogate pair", instead="pass valid Unicode text"
        ) from None


def _timeout(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 1:
        raise CommandRefused(
            "InvalidTimeout",
            "`timeout` must be a number of seconds, 1 or more",
            instead="pass a number such as 60, or leave `timeout` out",
        )
    return math.ceil(value)


def _example(tool: Tool) -> str:
    return {
        "kubectl": "kubectl get pods -n team-a",
        "helm": "helm list -n team-a",
        "istioctl": "istioctl proxy-status",
        "argocd": "argocd app list",
    }[tool.value]
