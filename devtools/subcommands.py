"""Every subcommand of a CLI, as its own help lists them, and the rows that tell of each in the CLI's document."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.help_text import subcommands

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

_HELP_SECONDS: Final = 30
_ALIASES: Final = re.compile(r"^Aliases:\n *(.*)$", re.MULTILINE)
HEAD: Final = ("| subcommand | as it was run | needs |", "|---|---|---|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subcommand:
    """One subcommand, or words before one.

    Args:
        aliases: other words for its last one.
        is_group: others follow it.
    """

    aliases: frozenset[str]
    is_group: bool


def tree(binary: Path, *, without: Collection[str] = ()) -> dict[str, Subcommand]:
    """Everything that the help of a CLI lists, by its words, such as ``rollout restart``.

    Args:
        without: words below which nobody needs to look; they themselves are listed.
    """
    return dict(_below(binary, "", without=without))


def _below(binary: Path, path: str, *, without: Collection[str]) -> Iterator[tuple[str, Subcommand]]:
    text = help_of(binary, *path.split())
    listed = subcommands(text)
    if path:
        names = _ALIASES.search(text)
        aliases = frozenset(names[1].split(", ")) - {path.rpartition(" ")[2]} if names else frozenset()
        yield path, Subcommand(aliases=aliases, is_group=bool(listed))
    for word in () if path in without else listed:
        yield from _below(binary, f"{path} {word}".strip(), without=without)


def help_of(binary: Path, *words: str) -> str:
    """The help text of a subcommand."""
    environment = {"HOME": "/nonexistent", "PATH": "/nonexistent"}
    command = [str(binary), *words, "--help"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_HELP_SECONDS, check=True
    ).stdout


def unlisted(text: str, *, cli: str, found: Mapping[str, Subcommand]) -> list[str]:
    """The subcommands that no row of a document begins with; groups need none."""
    return [
        path
        for path, subcommand in found.items()
        if not subcommand.is_group and not re.search(rf"^\| `(?:{cli} )?{re.escape(path)}[ `]", text, re.MULTILINE)
    ]


def works(path: str, *, example: str, needs: Iterable[str], aliases: Iterable[str] = ()) -> str:
    """The row of a subcommand that works.

    Args:
        example: as it was run.
        needs: what that run needed, as policies name it.
        aliases: other words for it.
    """
    also = ", ".join(f"`{alias}`" for alias in aliases)
    name = f"`{path}` ({also})" if also else f"`{path}`"
    return f"| {name} | `{_cell(example)}` | {'<br>'.join(needs) or 'nothing'} |"


def between(text: str, *, begin: str, end: str) -> tuple[str, str, str]:
    """A document in three parts: up to a mark, what is written between two marks, and from the second on."""
    before, _, rest = text.partition(begin)
    written, _, after = rest.partition(end)
    return before + begin, written.strip(), end + after


def refused(path: str, *, why: str, instead: str) -> str:
    """The row of a subcommand that is not offered."""
    return f"| `{path}` | not offered | {_cell(why)}. {_cell(instead)} |"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
