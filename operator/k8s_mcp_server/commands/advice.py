"""What a command line tells about how it ended: exit codes that are answers, lines that never end, shorter ones."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.words import read_kubectl_words
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8s_mcp_server.commands.words import Flag
    from k8s_mcp_server.execution.pipeline import Pipeline, Stage

_SIGPIPE: Final = -13
_ANALYZER_FOUND_ISSUES: Final = 79  # istio.io/istio/istioctl/cmd/sysexits.go
_FEW_LINES: Final = 100
_ENDLESS: Final = {"get": ("watch", "w", "watch-only"), "logs": ("follow", "f"), "events": ("watch", "w")}
_WHOLE_OBJECTS: Final = ("json", "yaml")


def render(pipeline: Pipeline) -> str:
    """The command line again."""
    return " | ".join(shlex.join(stage.argv) for stage in pipeline.stages)


def answer_in_exit_code(pipeline: Pipeline, codes: Sequence[int]) -> str:
    """What exit codes other than 0 mean where they are answers and no failures; empty where one is a failure."""
    meanings = [
        _meaning(stage, code) for stage, code in zip(pipeline.stages, codes, strict=True) if code not in (0, _SIGPIPE)
    ]
    return "; ".join(meanings) if all(meanings) else ""


def _meaning(stage: Stage, code: int) -> str:
    if stage.program == Tool.ISTIOCTL and code == _ANALYZER_FOUND_ISSUES:
        return "istioctl found problems, and names them"
    if code != 1:
        return ""
    if stage.program == "grep":
        return "grep found no line"
    if stage.program != Tool.KUBECTL:
        return ""
    read = read_kubectl_words(stage.argv[1:])
    if read.verb == "diff":
        return "the cluster differs from the manifests"
    return "the answer is no" if (read.verb, *read.operands[:1]) == ("auth", "can-i") else ""


def without_following(pipeline: Pipeline) -> str:
    """The command line without ``--watch`` or ``--follow``; empty when it has neither."""
    first = pipeline.stages[0]
    read = read_kubectl_words(first.argv[1:])
    endless = _ENDLESS.get(read.verb, ())
    if first.program != Tool.KUBECTL or not any(flag.name in endless for flag in read.flags):
        return ""
    kept = [word for word in first.argv if _is_kept(word, endless)]
    tail = ["--tail=100"] if read.verb == "logs" and not _has(read.flags, "tail") else []
    return " | ".join([shlex.join([*kept, *tail]), *(shlex.join(stage.argv) for stage in pipeline.stages[1:])])


def _is_kept(word: str, endless: tuple[str, ...]) -> bool:
    name = word.lstrip("-").partition("=")[0]
    return not (word.startswith("-") and name in endless)


def narrower(pipeline: Pipeline, *, lines: int) -> str:
    """A command line like this one whose output is shorter.

    Args:
        lines: how many lines of the output were kept.
    """
    fewer = f" | head -n {max(1, min(_FEW_LINES, lines // 2))}"
    first, later = pipeline.stages[0], pipeline.stages[1:]
    read = read_kubectl_words(first.argv[1:])
    if later or first.program != Tool.KUBECTL:
        return render(pipeline) + fewer
    if read.verb == "logs" and not _has(read.flags, "tail"):
        return shlex.join([*first.argv, f"--tail={max(1, min(_FEW_LINES, lines // 2))}"])
    if read.verb == "get" and (whole := _whole_objects(first.argv)):
        return shlex.join(whole) + fewer
    return shlex.join(first.argv) + fewer


def _whole_objects(argv: Sequence[str]) -> list[str]:
    """The words without ``-o json`` or ``-o yaml``; empty when they have neither."""
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        joined = word.removeprefix("--output=").removeprefix("-o").removeprefix("=")
        if word in ("-o", "--output"):
            form = next(words, "")
            kept += [] if form in _WHOLE_OBJECTS else [word, form]
        elif joined == word or joined not in _WHOLE_OBJECTS:
            kept.append(word)
    return kept if len(kept) < len(argv) else []


def _has(flags: Sequence[Flag], name: str) -> bool:
    return any(flag.name == name for flag in flags)
