"""Reads a CLI's words as far as messages and audit need: where its verb is, and which flags are given.

What a flag's value is depends on the verb (pflag decides it), so this stays an estimate that is good enough to
explain and to record. Nothing is allowed because of it: the gateway decides on requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8s_mcp_server.commands.catalog import KUBECTL_GLOBAL_VALUE_FLAGS, KUBECTL_SHORT_SWITCHES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag as it is given.

    Args:
        name: without dashes; ``-`` for ``_`` as pflag reads it in long flags.
        value: what is joined to it (``-oyaml``, ``--output=yaml``), or the word after it, which may not be its
            value; None at the end.
        joined: whether ``value`` is surely its value.
        is_short: one letter after one dash.
    """

    name: str
    value: str | None
    joined: bool
    is_short: bool

    def __str__(self) -> str:
        return f"-{self.name}" if self.is_short else f"--{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KubectlWords:
    """A kubectl command's words, without the program's name.

    Args:
        verb: the first word that is no flag, empty when there is none.
        operands: the words after it that are no flags; values of the verb's own flags may be among them.
        flags: in order, up to ``--``.
    """

    verb: str
    operands: tuple[str, ...]
    flags: tuple[Flag, ...]


def read_kubectl_words(words: Sequence[str]) -> KubectlWords:
    """Read the words after ``kubectl``."""
    flags: list[Flag] = []
    plain: list[str] = []
    skip = False
    for index, word in enumerate(words):
        if skip:
            skip = False
            continue
        if word == "--":
            break
        if word == "-" or not word.startswith("-"):
            plain.append(word)
            continue
        following = words[index + 1] if index + 1 < len(words) else None
        found = list(_flags_of(word, following=following))
        flags += found
        skip = bool(found) and not found[-1].joined and found[-1].name in KUBECTL_GLOBAL_VALUE_FLAGS
    return KubectlWords(verb=plain[0] if plain else "", operands=tuple(plain[1:]), flags=tuple(flags))


def _flags_of(word: str, *, following: str | None) -> Iterator[Flag]:
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        name = name.replace("_", "-")
        yield Flag(name=name, value=value if equals else following, joined=bool(equals), is_short=False)
        return
    letters = word[1:]
    for index, letter in enumerate(letters):
        rest = letters[index + 1 :]
        if letter in KUBECTL_SHORT_SWITCHES and not rest.startswith("="):
            yield Flag(name=letter, value=None, joined=True, is_short=True)
            continue
        short_value = rest.removeprefix("=") if rest else following
        yield Flag(name=letter, value=short_value, joined=bool(rest), is_short=True)
        return
