"""What needs a shell, rewritten into what runs here: ``xargs``, loops and a command inside a command.

Estimates, for the hint of a refusal; the client sends what is suggested as a command of its own, if it wants to.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.words import read_kubectl_words
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8s_mcp_server.execution.pipeline import Stage

_SUBSTITUTION: Final = re.compile(r"\$\(([^()`;&<>]+)\)|`([^()`;&<>]+)`")
_LOOP: Final = re.compile(r"\s*(for|while|until|if|case|select)\s")
_FOR: Final = re.compile(r"\s*for\s+(\w+)\s+in\s+([^;\n$`]+?)\s*[;\n]\s*do\s+([^;\n]+?)\s*[;\n]\s*done\s*")
_CONDITION: Final = re.compile(
    r"\s*(?:while|until|if)\s+(?P<asked>[^;\n]+?)\s*[;\n]\s*(?:do|then)\s+(?P<done>[^;\n]+?)\s*[;\n]"
)
_ALWAYS: Final = frozenset({"true", ":"})
_PIPED_LOOP: Final = re.compile(r"\s*\|\s*(?:while|for|until)\s")
_BLANKS: Final = " \t\n"
_OF_THE_SHELL: Final = frozenset({"alias", "cd", "export", "set", "source", "unset", "."})
_DOUBLE_QUOTED_FIELDS: Final = re.compile(r'''"([^"'$`\\]*\$[0-9][^"'`\\]*)"''')
_XARGS_VALUES: Final = frozenset({"-n", "-I", "-P", "-L", "-d", "-s", "-E"})
_TAKE_OBJECTS: Final = frozenset({"get", "describe", "delete", "label", "annotate", "scale", "patch"})
_NAMES_ONLY: Final = re.compile(r"-oname|--output=name|-o=name")


def inner_command(text: str) -> str:
    """The first command of a bundled CLI inside a command, such as that in ``logs $(kubectl get pods -o name)``."""
    found = _SUBSTITUTION.search(text)
    inner = (found[1] or found[2]).strip() if found else ""
    return inner if inner.partition(" ")[0] in set(Tool) else ""


def inner_first(text: str) -> str:
    """What to write in place of a command with another one inside."""
    inner = inner_command(text)
    if not inner:
        return "Run the inner command in a call of its own, and write its result here."
    return f"Write: `{inner}`; then put what it prints in its place, in a call of its own."


def without_loop(text: str) -> str:
    """The text before a loop that reads from a pipe."""
    return _PIPED_LOOP.split(text)[0]


def without_broken_lines(text: str) -> str:
    """The text with its lines joined where a backslash was followed by blanks."""
    return re.sub(r"\s*\\[ \t]*\n\s*", " ", text).strip()


def with_word_quoted(text: str, at: int) -> str:
    """The text with the word at this place in single quotes; empty where that is not as simple."""
    start = max(text.rfind(blank, 0, at) for blank in _BLANKS) + 1
    end = min((place for blank in f"{_BLANKS}|" if (place := text.find(blank, at)) >= 0), default=len(text))
    word = text[start:end]
    return "" if "'" in word or not start else f"{text[:start]}'{word}'{text[end:]}"


def is_of_the_shell(command: str) -> bool:
    """Whether a command only changes the shell that runs it."""
    return command.partition(" ")[0] in _OF_THE_SHELL


def in_single_quotes(text: str) -> str:
    """The text with a program of awk's that is in double quotes in single ones; empty where there is none."""
    changed = _DOUBLE_QUOTED_FIELDS.sub(lambda found: f"'{found[1]}'", text)
    return changed if changed != text else ""


def check_loop(text: str) -> None:
    """Refuse a loop or a condition.

    Raises:
        CommandRefused: with the first command to send.
    """
    opening = _LOOP.match(text)
    if opening is None:
        return
    message = f"There is no shell here: `{opening[1]}` repeats or chooses commands, and one call runs one pipeline."
    if (loop := _FOR.fullmatch(text)) is not None:
        variable, words, body = loop[1], loop[2].split(), loop[3]
        first = re.sub(rf"\$(\{{{variable}\}}|{variable}\b)", words[0], body).replace(f'"{words[0]}"', words[0])
        rest = f"; the same for {', '.join(words[1:6])}" if words[1:] else ""
        raise CommandRefused("ShellLoop", message, instead=f"Write: `{first}`{rest}. kubectl takes several names, too.")
    if (first := _of_condition(text)) and not inner_command(text):
        raise CommandRefused("ShellLoop", message, instead=f"Write: `{first}`; then choose by what it prints.")
    inner = inner_command(text)
    first = f"Write: `{inner}`; then name" if inner else "Name"
    raise CommandRefused("ShellLoop", message, instead=f"{first} what it prints in the next call, several at once.")


def _of_condition(text: str) -> str:
    """The command that a condition asks, or what hangs on one that always holds; empty where that is no CLI's."""
    found = _CONDITION.match(text)
    if found is None:
        return ""
    first = found["done"] if found["asked"] in _ALWAYS else found["asked"].removeprefix("! ")
    return first if first.partition(" ")[0] in set(Tool) and "$" not in first else ""


def without_xargs(before: Sequence[Stage], xargs: Stage) -> CommandRefused:
    """The refusal of ``… | xargs kubectl …``, with the same as a pipeline where kubectl can read the objects itself."""
    message = "`xargs` cannot be run here."
    words = _command_of(xargs.argv[1:])
    first = list(before[0].argv)
    read = read_kubectl_words(words[1:])
    lists_names = len(before) == 1 and first[0] == Tool.KUBECTL and _names_only(first)
    if lists_names and words[:1] == [Tool.KUBECTL.value] and read.verb in _TAKE_OBJECTS and "{}" not in words:
        listed = shlex.join(_as_yaml(first))
        return CommandRefused(
            "UnknownProgram", message, instead=f"Write: `{listed} | {shlex.join([*words, '-f', '-'])}`"
        )
    listed = " | ".join(shlex.join(stage.argv) for stage in before)
    then = f"`{shlex.join(words)} NAME…`" if words[:1] == [Tool.KUBECTL.value] else "use the names"
    return CommandRefused(
        "UnknownProgram",
        message,
        instead=f"Write: `{listed}`; then {then} in a second call: kubectl takes several names at once.",
    )


def _command_of(words: Sequence[str]) -> list[str]:
    """What xargs would run."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in _XARGS_VALUES and rest:
            rest.pop(0)
    return rest


def _names_only(words: Sequence[str]) -> bool:
    joined = " ".join(words)
    return bool(_NAMES_ONLY.search(joined)) or "-o name" in joined or "--output name" in joined


def _as_yaml(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for index, word in enumerate(words):
        if _NAMES_ONLY.fullmatch(word):
            kept.append("-oyaml")
        elif word == "name" and words[index - 1] in ("-o", "--output"):
            kept.append("yaml")
        else:
            kept.append(word)
    return kept
