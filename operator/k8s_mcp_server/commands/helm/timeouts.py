"""helm's own time limit, below that of the command: an operation that helm ends itself it also marks as failed."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.helm.catalog import FLAGS

if TYPE_CHECKING:
    from k8s_mcp_server.commands.helm.words import HelmCommand

GRACE_SECONDS: Final = 4  # between the signal that asks helm to stop and the one that makes it
_LAST_SECONDS: Final = 1  # to say how it ended
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]*\.?[0-9]+|[0-9]+\.)(ns|us|µs|μs|ms|s|m|h)")


def grace(seconds: float) -> float:
    """How much of a command's time is kept to end it in order."""
    return min(GRACE_SECONDS, seconds / 4)


def bounded(command: HelmCommand, *, seconds: float) -> tuple[HelmCommand, str]:
    """The command with a ``--timeout`` that ends before its own time does, and what to tell of it.

    An operation that is undone when it fails gets half of that, for undoing it takes as long again. What is no
    duration is left for helm to refuse.

    Args:
        seconds: that the command has left.
    """
    if "timeout" not in FLAGS.get(command.name, {}) or command.name == "template" or command.asks_for_help:
        return command, ""
    most = seconds - grace(seconds) - _LAST_SECONDS
    if command.has("rollback-on-failure") or command.has("atomic"):
        most /= 2
    most = max(1, math.floor(most))
    given = command.value("timeout")
    asked = read_duration(given) if given else math.inf
    if asked is None or 0 < asked <= most:
        return command, ""
    note = f"--timeout {given} was cut to {most}s, which ends before the command's own time does" if given else ""
    return command.with_flag("timeout", f"{most}s"), note


def read_duration(text: str) -> float | None:
    """Seconds of a duration as Go writes it (``time.ParseDuration``): ``90s``, ``1m30s``; None for anything else."""
    if text == "0":
        return 0.0
    parts = list(_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        return None
    return sum(float(part[1]) * _UNITS[part[2]] for part in parts)
