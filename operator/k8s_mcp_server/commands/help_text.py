"""Help texts of command-line programs (cobra's), cut to what an agent needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_HEADING: Final = re.compile(r"^[A-Z][A-Za-z /()-]*:$")
_ENTRY: Final = re.compile(r"^ {2}([a-z][a-z0-9-]*) +(\S.*)$")  # the longest name of a list has one blank behind it
_FLAG: Final = re.compile(r"^\s+(?:-\w, )?--([a-z][a-z0-9-]*)")
_LONGEST_DESCRIPTION: Final = 600
_LONGEST_FLAG: Final = 110
_MOST_EXAMPLES: Final = 14
_FOOTER: Final = "Use "


def subcommands(text: str) -> dict[str, str]:
    """The subcommands that a help text lists, with the line that it has about each."""
    found: dict[str, str] = {}
    for heading, lines in _sections(text):
        if "Commands" in heading:
            found |= {entry[1]: entry[2] for line in lines if (entry := _ENTRY.match(line))}
    return found


def trim(text: str, *, without: Collection[str] = ()) -> str:
    """Description, usage, examples and flags, shortened; `subcommands` has the rest.

    Args:
        text: as the program printed it.
        without: flags, without dashes, that cannot be used here.
    """
    parts: list[str] = []
    for heading, lines in _sections(text):
        if not heading:
            parts.append(_paragraphs(lines))
        elif heading.startswith(("Options", "Flags")):
            parts.append("\n".join([heading, *_flags(lines, without=without)]))
        elif heading.startswith("Examples"):
            kept = [line for line in lines if line.strip()]
            parts.append("\n".join([heading, *kept[:_MOST_EXAMPLES]]))
        elif heading.startswith(("Usage", "Aliases")):
            parts.append("\n".join([heading, *(line for line in lines if line.strip())]))
    return "\n\n".join(part for part in parts if part)


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """Headings and the lines below them; the first has none."""
    heading: str = ""
    lines: list[str] = []
    for line in text.replace("\t", "    ").splitlines():
        if line.startswith(_FOOTER):
            continue
        if _HEADING.match(line):
            yield heading, lines
            heading, lines = line, []
        else:
            lines.append(line.rstrip())
    yield heading, lines


def _paragraphs(lines: list[str]) -> str:
    text = "\n".join(line.strip() for line in lines).strip()
    return text if len(text) <= _LONGEST_DESCRIPTION else f"{text[:_LONGEST_DESCRIPTION].rpartition(' ')[0]} …"


def _flags(lines: list[str], *, without: Collection[str]) -> Iterator[str]:
    """Each flag on one line, with the first sentence of what it says."""
    entries: list[str] = []
    for line in lines:
        if _FLAG.match(line):
            entries.append(line.strip())
        elif line.strip() and entries:
            entries[-1] += f" {line.strip()}"
    for entry in entries:
        name = _FLAG.match(f"  {entry}")
        if name is None or name[1] in without or name[1] == "help":
            continue
        first = re.split(r"(?<=[a-z)'\"])\. ", entry)[0]
        yield f"  {first if len(first) <= _LONGEST_FLAG else first[:_LONGEST_FLAG].rpartition(' ')[0] + ' …'}"
