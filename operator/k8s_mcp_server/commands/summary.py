"""What of a command line is fit for the audit log: the CLI's own words and the names of flags, never a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.argocd.check import ARGOCD, find_subcommand
from k8s_mcp_server.commands.catalog import KUBECTL_VERBS
from k8s_mcp_server.commands.helm.words import subcommand_of
from k8s_mcp_server.commands.istioctl.catalog import find_path
from k8s_mcp_server.commands.istioctl.vocabulary import ISTIOCTL
from k8s_mcp_server.commands.words import KUBECTL, read_kubectl_words, read_words
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from k8s_mcp_server.commands.words import Vocabulary
    from k8s_mcp_server.execution.pipeline import Pipeline

_FLAG_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}")
_UNKNOWN: Final = "?"
_MAX_FLAGS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSummary:
    """A command without anything that its author may have meant to keep.

    Args:
        subcommand: words of the CLI's own catalogue, such as ``rollout status``; ``?`` for a word that is not in
            it.
        flags: names of the flags of the CLI's stages, sorted, such as ``--output`` or ``-o``; at most 32.
        stages: the programs' names.
    """

    subcommand: str
    flags: tuple[str, ...]
    stages: tuple[str, ...]


def summarize(pipeline: Pipeline) -> CommandSummary:
    """Summarise a pipeline that ``parse_command`` returned."""
    first = pipeline.stages[0]
    names: set[str] = set()
    for stage in pipeline.stages:
        if stage.program == first.program:
            vocabulary = _VOCABULARIES.get(stage.program, KUBECTL)
            names.update(str(flag) for flag in read_words(stage.argv[1:], vocabulary=vocabulary).flags)
    known = sorted({name if _FLAG_NAME.fullmatch(name.lstrip("-")) else _UNKNOWN for name in names})
    return CommandSummary(
        subcommand=_SUBCOMMANDS.get(first.program, _kubectl_subcommand)(first.argv[1:]),
        flags=tuple(known[:_MAX_FLAGS]),
        stages=tuple(stage.program for stage in pipeline.stages),
    )


def _argocd_subcommand(words: tuple[str, ...]) -> str:
    found = find_subcommand(read_words(words, vocabulary=ARGOCD).plain)
    return f"{found.path} {_UNKNOWN}".strip() if found.unknown else found.path


def _istioctl_subcommand(words: tuple[str, ...]) -> str:
    plain = read_words(words, vocabulary=ISTIOCTL).plain
    return " ".join(find_path(plain)) or (_UNKNOWN if plain else "")


def _kubectl_subcommand(words: tuple[str, ...]) -> str:
    read = read_kubectl_words(words)
    if not read.verb:
        return ""
    if read.verb not in KUBECTL_VERBS:
        return _UNKNOWN
    if read.operands and read.operands[0] in KUBECTL_VERBS[read.verb]:
        return f"{read.verb} {read.operands[0]}"
    return read.verb


_SUBCOMMANDS: Final[Mapping[str, Callable[[tuple[str, ...]], str]]] = {
    Tool.HELM: subcommand_of,
    Tool.ARGOCD: _argocd_subcommand,
    Tool.ISTIOCTL: _istioctl_subcommand,
}
_VOCABULARIES: Final[Mapping[str, Vocabulary]] = {Tool.ARGOCD: ARGOCD, Tool.ISTIOCTL: ISTIOCTL}
