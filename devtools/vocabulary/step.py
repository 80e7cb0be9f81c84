"""One kubectl command of the vocabulary, and how lines of text become such steps."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

DOCUMENTED = "+ "


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command.

    Args:
        line: as it is written, ``{mark}`` and ``{namespace}`` unfilled, with what is piped into it.
        words: kubectl's arguments, unfilled too.
        manifest: the name of what is piped into it; empty for nothing.
        until: a command that does not end by itself is ended once this is in what it printed; empty for others.
        is_documented: whether docs/kubectl.md shows it.
    """

    line: str
    words: tuple[str, ...]
    manifest: str = ""
    until: str = ""
    is_documented: bool = False

    def arguments(self, **names: str) -> list[str]:
        """kubectl's arguments with the placeholders filled."""
        filled = list(self.words)
        for name, value in names.items():
            filled = [word.replace(f"{{{name}}}", value) for word in filled]
        return filled


Scenario = tuple[Step, ...]
"""Commands that run one after the other."""


def read_step(line: str) -> Step:
    """A step from ``[+ ]ARGUMENTS [< MANIFEST] [@ UNTIL]``."""
    is_documented = line.startswith(DOCUMENTED)
    text, _, until = line.removeprefix(DOCUMENTED).partition(" @ ")
    command, _, manifest = text.partition(" < ")
    return Step(
        line=text.strip(),
        words=tuple(shlex.split(command)),
        manifest=manifest.strip(),
        until=until.strip(),
        is_documented=is_documented,
    )


def read_scenarios(text: str) -> tuple[Scenario, ...]:
    """Scenarios, which blank lines separate."""
    blocks = (block.strip().splitlines() for block in text.strip().split("\n\n"))
    return tuple(tuple(read_step(line) for line in block) for block in blocks)


def read_lines(text: str) -> tuple[Scenario, ...]:
    """One scenario for each line."""
    return tuple((read_step(line),) for line in text.strip().splitlines() if line.strip())
