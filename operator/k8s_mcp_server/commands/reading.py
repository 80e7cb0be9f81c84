"""Commands that read a manifest or values from standard input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.helm.rehearsal import reads_stdin
from k8s_mcp_server.commands.helm.words import read_helm
from k8s_mcp_server.commands.words import KUBECTL, read_words
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from k8s_mcp_server.execution.pipeline import Pipeline, Stage

_FLAGS: Final = frozenset({"f", "file", "filename"})


def check_input(pipeline: Pipeline, *, stdin: bytes) -> None:
    """Refuse a command that would read nothing: some end well then, as if there were no difference or no object.

    Args:
        stdin: as the client passed it.

    Raises:
        CommandRefused: says where the text goes.
    """
    if not stdin and not pipeline.stdin and _reads(pipeline.stages[0]):
        raise CommandRefused(
            "NoInput",
            "`-` means standard input, and there is none.",
            instead="Pass the text in the stdin argument; or in the files argument, and write the file's name for `-`.",
        )


def _reads(stage: Stage) -> bool:
    words = stage.argv[1:]
    if stage.program == Tool.HELM:  # whose -f has two meanings
        return reads_stdin(read_helm(words))
    flags = read_words(words, vocabulary=KUBECTL).flags
    return any(flag.value == "-" and flag.name in _FLAGS for flag in flags)
