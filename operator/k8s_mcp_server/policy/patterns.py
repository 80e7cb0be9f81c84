"""Names and globs: the one place that says what ``*`` matches.

A glob knows only ``*`` (any run of characters, also none). Matching is linear in the length of the name, whatever the
glob: globs come from policies, names from clients, and neither may make the other slow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Glob:
    """A pattern with at least one ``*``; ``text`` is how the policy wrote it."""

    text: str

    @cached_property
    def _parts(self) -> tuple[str, ...]:
        return tuple(self.text.split("*"))

    @property
    def prefix(self) -> str:
        """What comes before the first ``*``."""
        return self._parts[0]

    def matches(self, name: str) -> bool:
        """Whether the whole of ``name`` has this form."""
        first, *middle, last = self._parts
        if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
            return False
        position, end = len(first), len(name) - len(last)
        for part in middle:
            found = name.find(part, position, end)
            if found < 0:
                return False
            position = found + len(part)
        return True


@dataclass(frozen=True)
class Names:
    """Literal names and globs; matches when any of them does."""

    literals: frozenset[str] = frozenset()
    globs: tuple[Glob, ...] = ()

    @classmethod
    def of(cls, patterns: Iterable[str]) -> Names:
        """Sort patterns into literals and globs."""
        patterns = tuple(dict.fromkeys(patterns))
        return cls(
            literals=frozenset(item for item in patterns if "*" not in item),
            globs=tuple(Glob(item) for item in patterns if "*" in item),
        )

    def __bool__(self) -> bool:
        return bool(self.literals or self.globs)

    def matches(self, name: str) -> bool:
        """Whether a literal or a glob matches ``name``."""
        return name in self.literals or self.matches_glob(name)

    def matches_glob(self, name: str) -> bool:
        """Whether a glob, not a literal, matches ``name``."""
        return any(glob.matches(name) for glob in self.globs)

    @property
    def everything(self) -> bool:
        """Whether every name matches, because a glob is nothing but stars."""
        return any(not glob.text.strip("*") for glob in self.globs)

    @property
    def texts(self) -> tuple[str, ...]:
        """The patterns as they were written."""
        return (*sorted(self.literals), *(glob.text for glob in self.globs))

    def __str__(self) -> str:
        return ", ".join(self.texts)
