"""From a client's text to a pipeline: the tool's CLI first, then text filters or the same CLI again."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.argocd.check import argocd_helper, check_argocd
from k8s_mcp_server.commands.helm.check import check_helm
from k8s_mcp_server.commands.istioctl.check import check_istioctl
from k8s_mcp_server.commands.kubectl import check_kubectl, kubectl_helper
from k8s_mcp_server.commands.rewrite import without_xargs
from k8s_mcp_server.commands.tokenizer import tokenize
from k8s_mcp_server.commands.typed import (
    by_its_name,
    decoded,
    shown,
    with_file_named,
    with_text_as_input,
    without_wrapping,
)
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.execution.binaries import FILTERS
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from k8s_mcp_server.execution.pipeline import Pipeline, Stage

_FILTER_ADVICE: Final = {
    "base64": "Use jq's @base64d, such as jq -r '.data.key | @base64d'.",
    "tac": "Write: sed '1!G;h;$!d'",
}
_NEEDLESS: Final = {
    **dict.fromkeys(("cat", "less", "more"), "the output comes back as it is"),
    **dict.fromkeys(("tee", "pbcopy", "xclip"), "the output comes back to you"),
}
_SAME_AS: Final = {
    **dict.fromkeys(("egrep", "rg", "ag"), ("grep", "-E")),
    "fgrep": ("grep", "-F"),
    **dict.fromkeys(("gawk", "mawk"), ("awk",)),
    "gojq": ("jq",),
}
MOST_CLI_STAGES: Final = 3
CHECKS: Final[Mapping[Tool, Callable[[Sequence[str], Collection[str]], None]]] = {
    Tool.KUBECTL: check_kubectl,
    Tool.HELM: check_helm,
    Tool.ISTIOCTL: check_istioctl,
    Tool.ARGOCD: check_argocd,
}
"""For each CLI that the service knows how to run, what refuses the words after its name, given the names of the files
that the command gets; other CLIs are not served."""
_HELPERS: Final[Mapping[str, Callable[[Sequence[str]], str]]] = {
    Tool.KUBECTL: kubectl_helper,
    Tool.ARGOCD: argocd_helper,
}


def parse_command(command: str, *, cli: Tool, files: Collection[str] = ()) -> Pipeline:
    """Read a command line.

    Args:
        command: as the client wrote it; the name of ``cli`` at the start is optional.
        cli: the tool that was called.
        files: names of the files that it is given.

    Returns:
        A pipeline whose first stage, and every later one that is no filter, is ``cli``. Nothing about access is
        decided yet.

    Raises:
        CommandRefused: it cannot be run; says what to write instead.
    """
    pipeline = with_text_as_input(tokenize(without_wrapping(command)))
    pipeline = replace(pipeline, stages=tuple(by_its_name(stage, cli=cli) for stage in pipeline.stages))
    first, *later = pipeline.stages
    stages: tuple[Stage, ...] = (_first_stage(first, pipeline=pipeline, cli=cli, files=files),)
    for stage in later:
        if stage.program == "xargs":
            raise without_xargs(stages, stage)
        stages = (*stages, _later_stage(stage, pipeline=pipeline, before=stages, cli=cli))
    _check_count(stages, cli=cli)
    for stage in stages:
        if stage.program == cli and (check := CHECKS.get(cli)) is not None:
            check(stage.argv[1:], files)
    return replace(pipeline, stages=tuple(map(_with_helper, stages)))


def _with_helper(stage: Stage) -> Stage:
    helper = _HELPERS.get(stage.program)
    return replace(stage, helper=helper(stage.argv[1:])) if helper is not None else stage


def _check_count(stages: Sequence[Stage], *, cli: Tool) -> None:
    """Each such stage is a client of its own, with its own memory and requests."""
    count = sum(stage.program == cli for stage in stages)
    if count > MOST_CLI_STAGES:
        raise CommandRefused(
            "TooManyStages",
            f"A pipeline may run {cli} {MOST_CLI_STAGES} times; this one runs it {count} times.",
            instead=f"Write it as several calls; one {cli} command takes several resources and names at once.",
        )


def _first_stage(stage: Stage, *, pipeline: Pipeline, cli: Tool, files: Collection[str]) -> Stage:
    program = stage.program
    if program == cli:
        return stage
    if program in set(Tool):
        raise _other_tool(program, cli=cli)
    if program == "cat" and (better := with_file_named(pipeline.stages, files)):
        raise CommandRefused(
            "UnknownProgram", "`cat` cannot be run here, and need not be.", instead=f"Write: `{better}`"
        )
    if program in ("cat", "echo", "printf"):
        rest = shown(pipeline.stages[1:]) or f"{cli} apply -f -"
        raise CommandRefused(
            "UnknownProgram",
            f"`{program}` cannot make the input here.",
            instead=f"Pass the text in the stdin argument, and write: `{rest}`",
        )
    if program in FILTERS:
        raise CommandRefused(
            "UnknownProgram",
            f"A pipeline starts with {cli}; `{program}` can only follow it.",
            instead=f"Write: `{cli} … | {shlex.join(stage.argv)}`",
        )
    return replace(stage, argv=(cli.value, *stage.argv))


def _later_stage(stage: Stage, *, pipeline: Pipeline, before: tuple[Stage, ...], cli: Tool) -> Stage:
    program = stage.program
    if program == cli or program in FILTERS:
        return stage
    if program in set(Tool):
        raise CommandRefused(
            "WrongTool",
            f"This tool runs {cli}; a policy allows each CLI on its own.",
            instead=f"Write: `{shown(before)}`; then pass what it prints in the stdin argument of execute_{program}.",
        )
    after = pipeline.stages[len(before) + 1 :]
    advice = _FILTER_ADVICE.get(program, "")
    if program in _SAME_AS:
        advice = f"Write: `{shown((*before, replace(stage, argv=(*_SAME_AS[program], *stage.argv[1:])), *after))}`"
    elif program == "base64" and (better := decoded(before)):
        advice = f"Write: `{better}`"
    elif program in _NEEDLESS:
        advice = f"Write: `{shown((*before, *after))}`; {_NEEDLESS[program]}."
    raise CommandRefused(
        "UnknownProgram",
        f"`{program[:40]}` cannot be run here. After a `|` there can be {cli} or one of: {', '.join(FILTERS)}.",
        instead=advice or "Use one of these, or leave the stage out and work on the output yourself.",
    )


def _other_tool(program: str, *, cli: Tool) -> CommandRefused:
    return CommandRefused(
        "WrongTool",
        f"This tool runs {cli}; a policy allows each CLI on its own.",
        instead=f"Call execute_{program} for `{program}`.",
    )
