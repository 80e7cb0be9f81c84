"""Reads istioctl's words against the catalogue; what is not in it is refused, with what is nearest."""

from __future__ import annotations

import difflib
import re
import shlex
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.files import find_file
from k8s_mcp_server.commands.istioctl import catalog, flags
from k8s_mcp_server.commands.istioctl.catalog import SUBCOMMANDS, Group, Offered, Operand, Refused
from k8s_mcp_server.commands.istioctl.invocation import Invocation
from k8s_mcp_server.errors import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from k8s_mcp_server.commands.istioctl.catalog import Path
    from k8s_mcp_server.commands.istioctl.flags import Flag

_IDENTITY: Final = "The service connects as itself for you, so who asks, whom, and what istioctl keeps cannot be chosen"
_HELP: Final = ("help",)
_STDIN: Final = "-"


def read_words(words: Sequence[str], files: Collection[str] = ()) -> Invocation:
    """Understand the words after ``istioctl``.

    Args:
        words: as the client wrote them.
        files: names of the files that the command is given.

    Raises:
        CommandRefused: the subcommand, a flag, its value or an operand is not offered; says what to write instead.
    """
    reader = _Reader(words, files=dict.fromkeys(files))
    reader.read()
    if reader.path == _HELP:
        return _help(reader)
    if not reader.path:
        if "help" in reader.flags:
            return reader.invocation()
        raise _incomplete(())
    entry = SUBCOMMANDS[reader.path]
    invocation = reader.invocation()
    if invocation.wants_help:
        return Invocation(path=invocation.path, flags={"help": ("true",)}, operands=())
    if isinstance(entry, Group):
        raise _incomplete(reader.path, reader.operands)
    if isinstance(entry, Refused):
        command = " ".join(reader.path)
        raise CommandRefused("NotAvailable", f"`istioctl {command}` {entry.effect}.", instead=entry.instead)
    _check_operands(invocation, entry)
    if entry.operand is Operand.FILE:
        for operand in invocation.operands:
            _check_file(operand, operand, reader.files)
    return invocation


class _Reader:
    """Goes through the words once, as cobra and pflag do."""

    def __init__(self, words: Sequence[str], *, files: Mapping[str, object]) -> None:
        self._words = tuple(words)
        self.files = files
        self._at = 0
        self.path: Path = ()
        self.flags: dict[str, tuple[str, ...]] = {}
        self.operands: list[str] = []

    def invocation(self) -> Invocation:
        return Invocation(path=self.path, flags=self.flags, operands=tuple(self.operands))

    def read(self) -> None:
        while self._at < len(self._words):
            word = self._words[self._at]
            self._at += 1
            if word == "--":
                self.operands += self._words[self._at :]
                return
            if word.startswith("--"):
                self._long(word[2:])
            elif word.startswith("-") and word != "-":
                self._short(word[1:])
            else:
                self._plain(word)

    def _plain(self, word: str) -> None:
        longer = catalog.next_path(self.path, word) if not self.operands and self.path != _HELP else None
        if longer is not None:
            self.path = longer
        elif not self.path:
            raise _unknown_subcommand(word, self._words)
        else:
            self.operands.append(word)

    def _long(self, text: str) -> None:
        name, equals, joined = text.partition("=")
        flag = next((flag for flag in self._known() if flag.name == name), None)
        if flag is None:
            raise self._unknown(f"--{name}", name)
        if flag.is_switch:
            self._switch(flag, joined if equals else "")
        else:
            self._value(flag, joined if equals else self._following(flag))

    def _short(self, letters: str) -> None:
        for at, letter in enumerate(letters):
            flag = next((flag for flag in self._known() if flag.short == letter), None)
            if flag is None:
                raise self._unknown(f"-{letter}", flags.FIXED_SHORT.get(letter, ""))
            rest = letters[at + 1 :]
            if flag.is_switch and not rest.startswith("="):
                self._switch(flag, "")
                continue
            text = rest.removeprefix("=")
            if flag.is_switch:
                self._switch(flag, text)
            else:
                self._value(flag, text if rest else self._following(flag))
            return

    def _known(self) -> tuple[Flag, ...]:
        entry = SUBCOMMANDS.get(self.path)
        return (*flags.GLOBAL, *(entry.flags if isinstance(entry, Offered) else ()))

    def _following(self, flag: Flag) -> str:
        if self._at >= len(self._words):
            raise CommandRefused("UnknownFlag", f"{flag} has no value.", instead=f"Write: {flag} VALUE")
        self._at += 1
        return self._words[self._at - 1]

    def _switch(self, flag: Flag, text: str) -> None:
        is_on = flags.read_switch(text)
        if is_on is None:
            raise CommandRefused("UnknownFlag", f"{flag} is on or off.", instead=f"Write: {flag} or {flag}=false")
        self._add(flag, "true" if is_on else "false")

    def _value(self, flag: Flag, text: str) -> None:
        if flag.values is None or not flag.values.fullmatch(text):
            instead = flag.instead or "`--help` after the subcommand shows what it takes."
            raise CommandRefused("UnknownFlag", f"{flag} {text[:80]} is not offered here.", instead=instead)
        text = _STDIN if flag.names_file and text == "/dev/stdin" else text
        if flag.names_file:
            _check_file(text, f"{flag} {text}", self.files)
        self._add(flag, text)

    def _add(self, flag: Flag, text: str) -> None:
        self.flags[flag.name] = (*self.flags.get(flag.name, ()), text)

    def _unknown(self, shown: str, name: str) -> CommandRefused:
        entry = SUBCOMMANDS.get(self.path)
        if isinstance(entry, Refused):  # what it does is the better reason
            return CommandRefused(
                "NotAvailable", f"`istioctl {' '.join(self.path)}` {entry.effect}.", instead=entry.instead
            )
        if name in flags.FIXED:
            message = f"{_IDENTITY}: {shown[:40]} is not available."
            return CommandRefused("FixedTarget", message, instead="Leave it out.")
        names = [flag.name for flag in self._known()]
        nearest = difflib.get_close_matches(name, names, n=1) or names
        offered = ", ".join(f"--{each}" for each in (nearest if len(nearest) == 1 else names))
        subcommand = " ".join(self.path)
        instead = f"Write the subcommand first, then its flags; offered after `istioctl {subcommand}`: {offered}."
        return CommandRefused("UnknownFlag", f"The flag {shown[:40]} is not offered here.", instead=instead)


def _help(reader: _Reader) -> Invocation:
    """``help SUBCOMMAND`` as what it means."""
    path: Path = ()
    for word in reader.operands:
        longer = catalog.next_path(path, word)
        if longer is None:
            raise _unknown_subcommand(word, reader.operands)
        path = longer
    return Invocation(path=path, flags={"help": ("true",)}, operands=())


def _check_operands(invocation: Invocation, entry: Offered) -> None:
    least, most = (0, 0) if entry.in_place in invocation.flags else entry.operands
    count = len(invocation.operands)
    command = " ".join(invocation.path)
    if count > most:
        raise CommandRefused(
            "UnknownOperand",
            f"`istioctl {command}` takes {most or 'no'} operand{'' if most == 1 else 's'} here; "
            f"`{invocation.operands[most][:80]}` is one too many.",
            instead="Leave it out; files and folders cannot be read, text goes into the stdin argument.",
        )
    if count < least:
        raise CommandRefused(
            "UnknownOperand",
            f"`istioctl {command}` needs {least} operand{'' if least == 1 else 's'}.",
            instead=f"Write: `istioctl {command} {' '.join(['POD.NAMESPACE'] * least)}`",
        )


def _check_file(name: str, written: str, files: Mapping[str, object]) -> None:
    if name == _STDIN or (re.fullmatch(flags.FILE_NAME, name) and find_file(name, files)):
        return
    raise CommandRefused(
        "NoFiles",
        f"`{written[:80]}` is a local file, and it was not given: a command sees only what is in its `files` argument.",
        instead='Pass files={"config.yaml": "…"} and name it so; or pass the text in the stdin argument, and write: -',
    )


def _incomplete(path: Path, operands: Sequence[str] = ()) -> CommandRefused:
    command = " ".join(("istioctl", *path))
    named = f" `{operands[0][:40]}` is none of them." if operands else ""
    return CommandRefused(
        "UnknownSubcommand",
        f"`{command}` needs a subcommand.{named}",
        instead=f"After `{command}` there can be: {', '.join(_offered_after(path))}.",
    )


def _unknown_subcommand(word: str, words: Sequence[str]) -> CommandRefused:
    message = f"istioctl has no subcommand `{word[:40]}` here."
    if "istioctl" in words:
        rest = list(words)[list(words).index("istioctl") + 1 :]
        return CommandRefused("UnknownSubcommand", message, instead=f"Write: `istioctl {shlex.join(rest)}`")
    near = difflib.get_close_matches(word, _offered_after(()), n=1)
    meant = shlex.join(near[0] if each == word else each for each in words) if near else ""
    instead = f"Write: `istioctl {meant}`" if near else f"There are: {', '.join(_offered_after(()))}."
    return CommandRefused("UnknownSubcommand", message, instead=instead)


def _offered_after(path: Path) -> tuple[str, ...]:
    """The words after ``path`` that lead to anything that is offered."""
    offered = [each for each, entry in SUBCOMMANDS.items() if isinstance(entry, Offered)]
    depth = len(path) + 1
    return tuple(word for word in catalog.words_after(path) if any(each[:depth] == (*path, word) for each in offered))
