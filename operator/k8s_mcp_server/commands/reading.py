"""Commands that read a manifest or values from standard input."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.errors import CommandRefused

if TYPE_CHECKING:
    from k8s_mcp_server.execution.pipeline import Pipeline, Stage

_FLAGS: Final = ("-f", "--filename", "--values")


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
            "`-f -` reads standard input, and there is none.",
            instead="Pass the text in the stdin argument; or as a file in the files argument, and name it after -f.",
        )


def _reads(stage: Stage) -> bool:
    words = stage.argv[: stage.argv.index("--")] if "--" in stage.argv else stage.argv
    joined = {f"{flag}=-" for flag in _FLAGS} | {"-f-"}
    apart = any(first in _FLAGS and second == "-" for first, second in pairwise(words))
    return apart or not joined.isdisjoint(words)
