"""How policy commands print: text for people, JSON or YAML for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import typer
import yaml

_GAP: Final = "   "


class Format(StrEnum):
    """What is printed."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


class _Dumper(yaml.SafeDumper):
    """YAML as policies are written: lists of words on one line, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Never write an anchor: people do not read them."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002 - yaml's own
        """Indent lists below their key."""
        super().increase_indent(flow, indentless=False)


def _represent_list(dumper: yaml.SafeDumper, value: Sequence[Any]) -> yaml.Node:
    words = all(isinstance(item, str | int) for item in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=words)


def _represent_word(dumper: yaml.SafeDumper, value: StrEnum) -> yaml.Node:
    return dumper.represent_str(value.value)


_Dumper.add_multi_representer(StrEnum, _represent_word)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(tuple, _represent_list)


def to_yaml(*documents: Mapping[str, Any]) -> str:
    """Documents as YAML, in the order of their keys."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=116)


def emit(value: Any, *, form: Format, text: str, notes: Iterable[str] = ()) -> None:
    """Print ``value`` for machines, or ``text`` for people.

    Args:
        notes: what should be known about the answer; for machines they go to standard error.
    """
    if form is Format.JSON:
        text = json.dumps(value, indent=2, ensure_ascii=False)
    elif form is Format.YAML:
        text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=116).rstrip("\n")
    if text:
        typer.echo(text)
    for note in notes:
        typer.echo(note, err=form is not Format.TEXT)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as kubectl prints them; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def good(text: str) -> str:
    """Green, on a terminal."""
    return typer.style(text, fg=typer.colors.GREEN)


def bad(text: str) -> str:
    """Red, on a terminal."""
    return typer.style(text, fg=typer.colors.RED)


def odd(text: str) -> str:
    """Yellow, on a terminal: worth a second look."""
    return typer.style(text, fg=typer.colors.YELLOW)


def counted(number: int, noun: str) -> str:
    """``1 policy``, ``2 policies``."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else many}"
