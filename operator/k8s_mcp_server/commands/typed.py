"""What models write around a command and do not mean as a part of it: fences, prompts, comments, other quotes.

What has one meaning is taken off; what may have two is refused, with the command as it would be.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.files import find_file
from k8s_mcp_server.errors import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from k8s_mcp_server.execution.pipeline import Pipeline, Stage
    from k8s_mcp_server.policy.tools import Tool

_FENCE: Final = re.compile(r"\s*```[\w-]*[ \t]*\n(?P<inside>.*?)\n?[ \t]*```\s*", re.DOTALL)
_PROMPT: Final = re.compile(r"\s*\$[ \t]+(?=\S)")
_TYPOGRAPHIC: Final = re.compile(r"(?:(?<=\s)|(?<==))(?:[\u2013\u2014](?=\w)|[\u201c\u201d\u2018\u2019])")
_ASCII: Final = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'"})
_FIELD_OF_DATA: Final = re.compile(r"(?:-o=?|--output=)?jsonpath=\{\.data\.((?:[\w-]|\\\.)+)\}")
_SHELLS: Final = frozenset({"bash", "sh", "zsh"})


def without_wrapping(text: str) -> str:
    """The command without a code fence, lines of comments before it and a prompt.

    Raises:
        CommandRefused: it is a whole call in JSON, or written with typographic dashes or quotes.
    """
    if (fenced := _FENCE.fullmatch(text)) is not None:
        text = fenced["inside"]
    lines = text.split("\n")
    while len(lines) > 1 and (not lines[0].strip() or lines[0].lstrip().startswith("#")):
        lines.pop(0)
    text = _PROMPT.sub("", "\n".join(lines), count=1)
    if text.lstrip().startswith("#"):
        instead = f"Write: `{text.strip('# ')}`"
        raise CommandRefused("EmptyCommand", "This is a comment, and no command.", instead=instead)
    _check_json(text)
    _check_typography(text)
    return text


def _check_json(text: str) -> None:
    if not text.lstrip().startswith("{"):
        return
    try:
        call = json.loads(text)
    except ValueError:
        return
    command = call.get("command")
    instead = f"Write: `{command}`" if isinstance(command, str) and command else ""
    raise CommandRefused("NotACommand", "This is a JSON object, and `command` is one command line.", instead=instead)


def _check_typography(text: str) -> None:
    """In the first line: here-documents may say what they like."""
    first = text.partition("\n")[0]
    if _TYPOGRAPHIC.search(first) is None:
        return
    plain = re.sub(r"(?<=\s)\u2013(?=\w)", "-", re.sub(r"(?<=\s)\u2014(?=\w)", "--", first)).translate(_ASCII)
    raise CommandRefused(
        "Typography",
        "A dash or quote of this command is a typographic one, which no program reads as such.",
        instead=f"Write: `{plain}`",
    )


def with_text_as_input(pipeline: Pipeline) -> Pipeline:
    """``cat <<'EOF' | …`` and ``echo 'text' | …`` as what they mean: the input of what follows."""
    first, *later = pipeline.stages
    if not later or first.discard_stdout:
        return pipeline
    if first.argv in (("cat",), ("cat", "-")) and pipeline.stdin is not None:
        return replace(pipeline, stages=tuple(later))
    if first.program == "echo" and pipeline.stdin is None and not any(word.startswith("-") for word in first.argv[1:]):
        return replace(pipeline, stages=tuple(later), stdin=f"{' '.join(first.argv[1:])}\n".encode())
    return pipeline


def by_its_name(stage: Stage, *, cli: Tool) -> Stage:
    """A stage whose program is written as a path, as ``kubectl.exe`` or behind a ``!``, by its name.

    Raises:
        CommandRefused: it is a shell; says what of its text to write.
    """
    program = stage.program
    name = PurePosixPath(program.removeprefix("!")).name.removesuffix(".exe")
    if name == cli:
        return replace(stage, argv=(name, *stage.argv[1:]))
    if name in _SHELLS and "-c" in stage.argv[:-1]:
        inner = stage.argv[stage.argv.index("-c") + 1]
        message = "There is no shell here, and none is needed: one call runs one command or pipeline."
        raise CommandRefused("UnknownProgram", message, instead=f"Write: `{inner}`")
    return stage


def decoded(before: tuple[Stage, ...]) -> str:
    """A command line that shows the field of a Secret decoded, where `before` shows it encoded; empty for others."""
    words = list(before[-1].argv)
    fields = [(at, found[1]) for at, word in enumerate(words) if (found := _FIELD_OF_DATA.fullmatch(word)) is not None]
    if len(before) != 1 or len(fields) != 1:
        return ""
    at, name = fields[0]
    kept = [*words[:at], *words[at + 1 :]]
    kept = [word for word in kept if word not in ("-o", "--output")]
    return f"{shlex.join([*kept, '-o', 'json'])} | jq -r {shlex.quote(f'.data[{json.dumps(name)}] | @base64d')}"


def with_file_named(stages: Sequence[Stage], files: Collection[str]) -> str:
    """``cat FILE | kubectl apply -f -`` with the file where its text was read; empty where that is not as simple."""
    cat, *later = stages
    names = cat.argv[1:]
    if len(names) != 1 or not find_file(names[0], files) or not later or later[0].argv.count("-") != 1:
        return ""
    argv = tuple(names[0] if word == "-" else word for word in later[0].argv)
    return shown([replace(later[0], argv=argv), *later[1:]])


def shown(stages: tuple[Stage, ...] | list[Stage]) -> str:
    """A pipeline as a command line again."""
    return " | ".join(shlex.join(stage.argv) for stage in stages)
