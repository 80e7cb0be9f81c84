"""How much confinement the operator of this service asks for, and what the kernel was seen to give."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SandboxLevel(StrEnum):
    """The confinement without which no command is run.

    ``required``: Landlock ABI 4 or newer, so files *and* TCP ports. ``filesystem``: ABI 1 to 3 will do; the network
    is then left to a NetworkPolicy. Whatever the level, all that the kernel offers is used.
    """

    REQUIRED = "required"
    FILESYSTEM = "filesystem"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxReport:
    """What a sandboxed process was seen to be unable to do.

    Args:
        abi: the kernel's Landlock ABI, 0 for none.
        level: the best level that this node gives; None when it gives none.
        reason: why a better level is not available, for people; empty at ``required``.
        signals_confined: whether Landlock confines signals (ABI 6, Linux 6.12). Below, seccomp refuses every call
            that signals, so that a process can signal no other, and not itself either.
    """

    abi: int
    level: SandboxLevel | None
    reason: str = ""
    signals_confined: bool = False

    def satisfies(self, wanted: SandboxLevel) -> bool:
        """Whether commands may be run when ``wanted`` was asked for."""
        return self.level is not None and (self.level is wanted or wanted is SandboxLevel.FILESYSTEM)
