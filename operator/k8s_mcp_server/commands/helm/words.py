"""helm's words, read as helm itself reads them (cobra and pflag), and written anew without any doubt.

Helm parses its global flags once before it knows the subcommand, by which it may take another flag's value for a flag;
what is written here has each value joined to its flag and the operands behind ``--``, so that there is one meaning.
"""

from __future__ import annotations

import difflib
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.helm.catalog import (
    ALIASES,
    FLAGS,
    GLOBAL_FLAGS,
    GROUPS,
    REFUSED,
    REFUSED_FLAGS,
    SAME_WITHOUT,
    SWITCHES_REFUSED,
    FlagSpec,
    Value,
)
from k8s_mcp_server.errors import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_BOOLEANS: Final = frozenset({"1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_KNOWN_ELSEWHERE: Final = {
    "add": "repo list",
    "get-values": "get values",
    "search": "search repo",
    "remove": "uninstall",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmFlag:
    """A flag that is given: its long name, and its value or None."""

    name: str
    value: str | None = None

    def word(self) -> str:
        """As one word."""
        return f"--{self.name}" if self.value is None else f"--{self.name}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HelmCommand:
    """One helm command.

    Args:
        name: the subcommand, such as ``install`` or ``get values``; empty for helm alone.
        flags: in order.
        operands: in order.
    """

    name: str
    flags: tuple[HelmFlag, ...] = ()
    operands: tuple[str, ...] = ()

    def words(self) -> tuple[str, ...]:
        """The words after ``helm`` that mean this and nothing else."""
        flags = tuple(flag.word() for flag in self.flags)
        return (*self.name.split(), *flags, *(("--", *self.operands) if self.operands else ()))

    def shown(self) -> str:
        """As a person would write it."""
        flags = (flag.word() for flag in self.flags)
        return shlex.join(["helm", *self.name.split(), *self.operands, *flags])

    def has(self, name: str) -> bool:
        """Whether a switch is given and on, or a flag with a value is given."""
        given = self.values(name)
        return bool(given) and given[-1] not in _FALSE

    def values(self, name: str) -> tuple[str | None, ...]:
        """Every value of a flag, in order."""
        return tuple(flag.value for flag in self.flags if flag.name == name)

    def value(self, name: str) -> str:
        """The last value of a flag, as pflag counts it; empty when it is not given."""
        return next((value for value in reversed(self.values(name)) if value is not None), "")

    def without(self, *names: str) -> HelmCommand:
        """The same without these flags."""
        return replace(self, flags=tuple(flag for flag in self.flags if flag.name not in names))

    def with_flag(self, name: str, value: str | None = None) -> HelmCommand:
        """The same with the flag set to this, and to nothing else."""
        return replace(self, flags=(*self.without(name).flags, HelmFlag(name=name, value=value)))

    @property
    def asks_for_help(self) -> bool:
        """Whether nothing but help is printed."""
        return self.name in ("", "help") or self.has("help")


def read_helm(words: Sequence[str]) -> HelmCommand:
    """Read the words after ``helm``.

    Raises:
        CommandRefused: a subcommand or flag is not known or does not work here, or a flag is not complete.
    """
    reader = _Reader(words)
    return reader.read()


def subcommand_of(words: Sequence[str]) -> str:
    """The subcommand, as far as it can be told; for records, so nothing is refused."""
    plain = [word for word in words if not word.startswith("-")]
    for count in (2, 1):
        name = _resolved(plain[:count])
        if name in FLAGS or name in REFUSED:
            return name
    return "?" if plain else ""


def _resolved(words: Sequence[str]) -> str:
    if not words:
        return ""
    first = ALIASES.get(words[0], words[0])
    if first not in GROUPS or len(words) == 1:
        return first
    name = f"{first} {words[1]}"
    return ALIASES.get(name, name)


class _Reader:
    def __init__(self, words: Sequence[str]) -> None:
        self._words = list(words)
        self._plain: list[str] = []
        self._flags: list[HelmFlag] = []
        self._name = ""

    def read(self) -> HelmCommand:
        rest = iter(self._words)
        for word in rest:
            if word == "--":
                self._plain += rest
            elif word.startswith("--"):
                self._long(word[2:], rest)
            elif word.startswith("-") and word != "-":
                self._short(word[1:], rest)
            else:
                self._plain.append(word)
                self._name = self._name or self._find_name()
        name = self._check_name()
        taken = len(name.split()) if name else 0
        return HelmCommand(name=name, flags=tuple(self._flags), operands=tuple(self._plain[taken:]))

    def _find_name(self) -> str:
        name = _resolved(self._plain)
        return name if name in FLAGS or name in REFUSED else ""

    def _check_name(self) -> str:
        helps = any(flag.name == "help" for flag in self._flags)
        if self._name in FLAGS or (self._name and helps) or not self._plain:
            return self._name
        if self._name:
            what, instead = REFUSED[self._name]
            raise CommandRefused("NotAvailable", f"`helm {self._name}` {what}.", instead=f"{instead}.")
        if helps and _resolved(self._plain[:1]) in GROUPS:
            return _resolved(self._plain[:1])
        raise _unknown(self._plain, self._words)

    def _known(self) -> Mapping[str, FlagSpec]:
        return {**GLOBAL_FLAGS, **FLAGS.get(self._name, {})}

    def _long(self, text: str, rest: Iterator[str]) -> None:
        name, equals, value = text.partition("=")
        spec = self._known().get(name)
        if spec is None:
            raise self._unknown_flag(f"--{name}", name)
        self._add(spec, value if equals else None, rest, shown=f"--{name}")

    def _short(self, letters: str, rest: Iterator[str]) -> None:
        known = {spec.letter: spec for spec in self._known().values() if spec.letter}
        for index, letter in enumerate(letters):
            spec, behind = known.get(letter), letters[index + 1 :]
            if spec is None:
                raise self._unknown_flag(f"-{letter}", letter)
            if spec.value is Value.NONE and not behind.startswith("="):
                self._add(spec, None, rest, shown=f"-{letter}")
                continue
            joined = behind.removeprefix("=") if behind else None
            self._add(spec, joined, rest, shown=f"-{letter}")
            return

    def _add(self, spec: FlagSpec, value: str | None, rest: Iterator[str], *, shown: str) -> None:
        if spec.value is Value.NEEDED and value is None:
            value = next(rest, None)
            if value is None or (value.startswith("-") and value != "-"):
                raise CommandRefused(
                    "IncompleteFlag",
                    f"{shown} needs a value.",
                    instead=f"Join it to the flag: `--{spec.name}=VALUE`.",
                )
        if spec.value is Value.NONE and value is not None and value not in _BOOLEANS:
            raise CommandRefused(
                "IncompleteFlag", f"{shown} is a switch: it takes no value.", instead=f"Write: `--{spec.name}`"
            )
        self._flags.append(HelmFlag(name=spec.name, value=value))

    def _unknown_flag(self, shown: str, name: str) -> CommandRefused:
        if name in REFUSED_FLAGS and len(name) > 1:
            why, advice = REFUSED_FLAGS[name]
            write = f"Write: `{self._without(name)}`" if name in SAME_WITHOUT else ""
            instead = ". ".join(filter(None, (write, advice)))
            return CommandRefused("FixedFlag", f"{why}: {shown} is not available.", instead=instead)
        where = f"`helm {self._name}`" if self._name else "helm, before its subcommand,"
        near = difflib.get_close_matches(name, self._known(), n=1) if len(name) > 1 else []
        instead = (
            f"Did you mean --{near[0]}?" if near else f"`helm help {self._name}`".replace(" `", "`") + " lists them."
        )
        return CommandRefused("UnknownFlag", f"{where} has no flag {shown[:40]}.", instead=instead)

    def _without(self, name: str) -> str:
        kept: list[str] = []
        words = iter(self._words)
        for word in words:
            if word.partition("=")[0] != f"--{name}":
                kept.append(word)
            elif "=" not in word and name not in SWITCHES_REFUSED:
                next(words, None)
        return shlex.join(["helm", *kept])


def _unknown(plain: Sequence[str], words: Sequence[str]) -> CommandRefused:
    first = _resolved(plain[:1])
    if first in GROUPS:
        return _unknown_in_group(first, plain, words)
    message = f"helm has no subcommand `{first[:40]}`, and there are no plugins here."
    nearest = _KNOWN_ELSEWHERE.get(first) or next(iter(difflib.get_close_matches(first, [*FLAGS, *GROUPS], n=1)), None)
    if nearest is None:
        instead = "Start with one such as list, status, install, upgrade."
    elif nearest in GROUPS:
        instead = f"Did you mean `helm {nearest}`?"
    else:
        instead = _write(nearest, plain[:1], words)
    return CommandRefused("UnknownSubcommand", message, instead=instead)


def _unknown_in_group(group: str, plain: Sequence[str], words: Sequence[str]) -> CommandRefused:
    offered = sorted(name.split()[1] for name in FLAGS if name.startswith(f"{group} "))
    listed = f"Write one of: {', '.join(offered) or 'none works here'}."
    if len(plain) == 1:
        return CommandRefused("UnknownSubcommand", f"`helm {group}` needs a second word.", instead=listed)
    near = difflib.get_close_matches(plain[1], offered, n=1)
    return CommandRefused(
        "UnknownSubcommand",
        f"`helm {group} {plain[1][:40]}` is no subcommand of helm.",
        instead=_write(f"{group} {near[0]}", plain[:2], words) if near else listed,
    )


def _write(name: str, typed: Sequence[str], words: Sequence[str]) -> str:
    """The command with another subcommand than the one that was typed."""
    rest = list(words)
    for word in typed:
        rest.remove(word)
    return f"Write: `{shlex.join(['helm', *name.split(), *rest])}`"
