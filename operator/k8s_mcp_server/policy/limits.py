"""What one client may use of the server: limits that policies state, and which of them holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Protocol

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits in force for a client.

    Args:
        timeout_seconds: longest run of one command.
        output_bytes: what of one command's output reaches the client.
        memory_bytes: memory of each process of a command.
        concurrent_commands: commands at the same time, for each replica.
        commands_per_minute: commands started in a minute, for each replica.
    """

    timeout_seconds: int = 60
    output_bytes: int = 100_000
    memory_bytes: int = 512 * MEBIBYTE
    concurrent_commands: int = 4
    commands_per_minute: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedLimits:
    """The limits that one policy states; None where it says nothing. Units as in `Limits`."""

    timeout_seconds: int | None = None
    output_bytes: int | None = None
    memory_bytes: int | None = None
    concurrent_commands: int | None = None
    commands_per_minute: int | None = None


class StatesLimits(Protocol):
    """Anything that states limits: a policy."""

    @property
    def limits(self) -> StatedLimits:
        """What it states."""


def effective_limits(policies: Iterable[StatesLimits], *, defaults: Limits) -> Limits:
    """Per field the lowest that any of the policies states, else the server's default.

    Every policy that names the client counts, whatever its state: a limit never goes away by suspending or by time.
    """
    stated = [policy.limits for policy in policies]
    values: dict[str, int] = {}
    for field in fields(Limits):
        candidates = [value for item in stated if (value := getattr(item, field.name)) is not None]
        values[field.name] = min(candidates) if candidates else getattr(defaults, field.name)
    return Limits(**values)
