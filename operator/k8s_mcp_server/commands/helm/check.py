"""Early refusals for helm that teach: what cannot work here, and what to write instead.

**Not a boundary**, like all checks of words: the sandbox has no other files, programs or addresses, and the gateway
decides on each request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.files import find_file
from k8s_mcp_server.commands.helm.catalog import CHART_OPERAND
from k8s_mcp_server.commands.helm.words import HelmCommand, read_helm
from k8s_mcp_server.errors import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_STDIN: Final = "-"
_REMOTE: Final = re.compile(r"(?:https|oci)://[^\s]+|[a-z0-9][-a-z0-9]*/[A-Za-z0-9][-A-Za-z0-9._]*")


def is_remote(chart: str) -> bool:
    """Whether a chart is one of a repository or registry, by its form."""
    return _REMOTE.fullmatch(chart) is not None


def check_helm(words: Sequence[str], files: Collection[str] = ()) -> None:
    """Refuse what cannot work.

    Args:
        words: the words after ``helm``.
        files: names of the files that the command gets.

    Raises:
        CommandRefused: with the word for the cause and what to write instead.
    """
    command = read_helm(words)
    if command.asks_for_help:
        return
    _check_values(command, files)
    _check_chart(command, files)


def _check_values(command: HelmCommand, files: Collection[str]) -> None:
    given = [value for value in command.values("values") if value is not None]
    for name in (part.strip() for value in given for part in value.split(",")):
        if name != _STDIN and not find_file(name, files):
            raise _no_file(name, "-f values.yaml")
    for value in command.values("set-file"):
        key, _, path = (value or "").partition("=")
        if path.strip() != _STDIN and not find_file(path, files):
            raise _no_file(path, f"--set-file {key or 'KEY'}=values.txt")


def _no_file(name: str, write: str) -> CommandRefused:
    what = "an address" if "://" in name else "no file of this command"
    return CommandRefused(
        "NoFiles",
        f"{name[:80]} is {what}, and nothing else can be read from here.",
        instead=f"Pass its text in the files argument, and write `{write}`; or use --set, or -f - with stdin.",
    )


def _check_chart(command: HelmCommand, files: Collection[str]) -> None:
    at = CHART_OPERAND.get(command.name)
    operands = command.operands
    if at is None or not -len(operands) <= at < len(operands) or find_file(operands[at], files):
        return
    if command.name != "lint" and (command.has("repo") or is_remote(operands[at])):
        return
    raise CommandRefused(
        "NoChart",
        f"{operands[at][:80]} is neither a folder in the files argument nor REPOSITORY/CHART or oci://HOST/CHART.",
        instead="Pass the chart's files, such as chart/Chart.yaml and chart/templates/app.yaml, in the files argument, "
        f"and write: `helm {command.name} … ./chart`",
    )
