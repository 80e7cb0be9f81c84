"""Reads a CLI's words as far as messages and audit need: where its verb is, and which flags are given.

What a flag's value is depends on the verb (pflag decides it), so this stays an estimate that is good enough to
explain and to record. Nothing is allowed because of it: the gateway decides on requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

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
class Vocabulary:
    """What must be known of a CLI to read its words.

    Args:
        value_flags: flags of every subcommand that take the next word as their value, short ones by their letter.
        short_switches: short flags that are switches wherever they exist, so that others may follow in the same word.
    """

    value_flags: frozenset[str]
    short_switches: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A command's words, without the program's name.

    Args:
        plain: those that are no flags; values of a subcommand's own flags may be among them.
        flags: in order, up to ``--``.
    """

    plain: tuple[str, ...]
    flags: tuple[Flag, ...]


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


KUBECTL: Final = Vocabulary(value_flags=KUBECTL_GLOBAL_VALUE_FLAGS, short_switches=KUBECTL_SHORT_SWITCHES)


def read_kubectl_words(words: Sequence[str]) -> KubectlWords:
    """Read the words after ``kubectl``."""
    read = read_words(words, vocabulary=KUBECTL)
    return KubectlWords(verb=read.plain[0] if read.plain else "", operands=read.plain[1:], flags=read.flags)


def read_words(words: Sequence[str], *, vocabulary: Vocabulary) -> Words:
    """Read the words after the name of a CLI."""
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
        found = list(_flags_of(word, following=following, vocabulary=vocabulary))
        flags += found
        skip = bool(found) and not found[-1].joined and found[-1].name in vocabulary.value_flags
    return Words(plain=tuple(plain), flags=tuple(flags))


def without_flag(words: Sequence[str], *, flag: Flag, valueless: frozenset[str]) -> tuple[str, ...]:
    """The words again, without ``flag`` and the word that is its value.

    Args:
        valueless: flags that never take the next word.
    """
    kept: list[str] = []
    drop_next = False
    for index, word in enumerate(words):
        if drop_next:
            drop_next = False
            continue
        if word == "--":
            return (*kept, *words[index:])
        name = word.lstrip("-").partition("=")[0].replace("_", "-")
        if word == "-" or not word.startswith("-") or not _is_written_as(word, name=name, flag=flag):
            kept.append(word)
        else:
            drop_next = not flag.joined and flag.name not in valueless
    return tuple(kept)


def _is_written_as(word: str, *, name: str, flag: Flag) -> bool:
    if flag.is_short:
        return not word.startswith("--") and flag.name in word
    return word.startswith("--") and name == flag.name


def _flags_of(word: str, *, following: str | None, vocabulary: Vocabulary) -> Iterator[Flag]:
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        name = name.replace("_", "-")
        yield Flag(name=name, value=value if equals else following, joined=bool(equals), is_short=False)
        return
    letters = word[1:]
    for index, letter in enumerate(letters):
        rest = letters[index + 1 :]
        if letter in vocabulary.short_switches and not rest.startswith("="):
            yield Flag(name=letter, value=None, joined=True, is_short=True)
            continue
        short_value = rest.removeprefix("=") if rest else following
        yield Flag(name=letter, value=short_value, joined=bool(rest), is_short=True)
        return
