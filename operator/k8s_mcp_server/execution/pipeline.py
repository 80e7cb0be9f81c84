"""What is to be run: programs joined by pipes, and nothing that a shell would add."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class StderrTo(StrEnum):
    """Where a stage's standard error goes.

    ``capture``: into the result's ``stderr``. ``stdout``: into the pipe (or result) that the stage's standard
    output would reach, as ``2>&1`` does, even when the output itself is discarded. ``discard``: nowhere.
    """

    CAPTURE = "capture"
    STDOUT = "stdout"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartAccess:
    """How helm reaches chart hosts: through the gateway, and with what the client never sees.

    Args:
        repositories: helm's ``repositories.yaml``, credentials included.
        registries: its ``config.json`` of registries, likewise.
        authorities: PEM of those that sign the hosts' certificates, beside the gateway's own.
        cache: the client's folder of indexes and charts.
    """

    repositories: bytes = field(repr=False)
    registries: bytes = field(repr=False)
    authorities: bytes = field(repr=False)
    cache: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One program of a pipeline.

    Args:
        argv: its words; the first is the program's name, never a path.
        stderr: where standard error goes.
        discard_stdout: whether standard output goes nowhere (``>/dev/null``).
        helper: one more program that it may start, as ``kubectl diff`` does; empty for none.
        forwards_ports: whether it is a CLI that listens on a local port and connects to it.
        grace_seconds: how long it may take to end in order (SIGTERM) before it is made to (SIGKILL), when its time is
            over or its client gone.
        charts: for helm, where its charts come from; None for a command that reaches no chart host.
    """

    argv: tuple[str, ...]
    stderr: StderrTo = StderrTo.CAPTURE
    discard_stdout: bool = False
    helper: str = ""
    forwards_ports: bool = False
    grace_seconds: float = 0.0
    charts: ChartAccess | None = None

    @property
    def program(self) -> str:
        """The program's name."""
        return self.argv[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Stages, the output of each being the input of the next.

    Args:
        stages: at least one.
        stdin: text that the command line itself gave to the first stage (a here-document), or None.
    """

    stages: tuple[Stage, ...]
    stdin: bytes | None = None
