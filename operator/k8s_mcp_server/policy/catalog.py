"""Which resources the API server serves and whether they are namespaced, as discovery said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """The scope of a resource, in the words of a CustomResourceDefinition."""

    NAMESPACED = "Namespaced"
    CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResource:
    """One served resource, with the verbs of its subresources. ``custom``: a CustomResourceDefinition makes it."""

    group: str
    resource: str
    kind: str
    scope: Scope
    short_names: tuple[str, ...] = ()
    verbs: frozenset[str] = frozenset()
    subresources: tuple[tuple[str, frozenset[str]], ...] = ()
    custom: bool = False


class Catalog:
    """An immutable view of discovery. What it does not know has no scope, and that is a deny."""

    def __init__(self, resources: Iterable[ApiResource] = ()) -> None:
        self._by_name = {(item.group, item.resource): item for item in resources}

    def __iter__(self) -> Iterator[ApiResource]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, *, group: str, resource: str) -> ApiResource | None:
        """The resource of that group and plural name, or None when discovery does not list it."""
        return self._by_name.get((group, resource))

    def scope_of(self, *, group: str, resource: str) -> Scope | None:
        """The resource's scope, or None when discovery does not list it."""
        found = self.find(group=group, resource=resource)
        return found.scope if found else None
