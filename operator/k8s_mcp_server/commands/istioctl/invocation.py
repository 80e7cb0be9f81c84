"""One istioctl command line, understood, and written anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What a command line says.

    Args:
        path: the subcommand, by its canonical words.
        flags: by long name: the values, in order, or one of ``true`` and ``false`` for a switch.
        operands: what is no flag.
    """

    path: tuple[str, ...]
    flags: Mapping[str, tuple[str, ...]]
    operands: tuple[str, ...]

    def value(self, name: str, default: str = "") -> str:
        """The last value of a flag; that is the one that counts."""
        values = self.flags.get(name, ())
        return values[-1] if values else default

    def is_on(self, name: str, *, default: bool = False) -> bool:
        """Whether a switch is on."""
        return self.value(name, "true" if default else "false") == "true"

    @property
    def wants_help(self) -> bool:
        """Whether it prints help, and nothing else."""
        return self.is_on("help")

    def words(self) -> tuple[str, ...]:
        """The words that istioctl gets, without its name: no flag can be read as anything else."""
        flags = (f"--{name}={value}" for name, values in self.flags.items() for value in values)
        return (*self.path, *flags, *(("--", *self.operands) if self.operands else ()))
