"""The current objects of one resource, put together from two sources that may contradict each other.

Watch events are quick, but some are never sent: kopf lists again after a 410 and compares with nothing, so
that a deletion in the gap is lost for ever. Full LISTs miss nothing, but are seconds old. Resource versions
decide which of the two is newer; Kubernetes guarantees since 1.35 that those of one resource compare as
integers (KEP-5504), and before it they did.

A resource version says nothing of the schema that an object was served through: after a change of its CRD the same
version has other fields. So a LIST is compared by its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import msgspec

from k8s_mcp_server.errors import Unavailable

Value = TypeVar("Value")


class _Metadata(msgspec.Struct):
    name: str
    resource_version: str = msgspec.field(name="resourceVersion", default="")


class _Header(msgspec.Struct):
    metadata: _Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedObject:
    """One object of a LIST; decoded in full only when it has changed."""

    name: str
    resource_version: str
    raw: bytes | msgspec.Raw

    @classmethod
    def from_raw(cls, raw: bytes | msgspec.Raw) -> ListedObject:
        """Read the name and version of an object.

        Raises:
            Unavailable: it has none.
        """
        try:
            metadata = msgspec.json.decode(raw, type=_Header).metadata
        except msgspec.DecodeError as error:
            raise Unavailable(f"a listed object cannot be read: {error}") from error
        return cls(name=metadata.name, resource_version=metadata.resource_version, raw=raw)

    def body(self) -> dict[str, Any]:
        """The whole object."""
        return msgspec.json.decode(self.raw, type=dict[str, Any])

    def digest(self) -> bytes:
        """Of its bytes."""
        return hashlib.blake2b(self.raw, digest_size=16).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A complete LIST.

    Args:
        resource_version: the list's own.
        requested_at: when it was asked for; what it says is at least as new as this.
        items: every object.
    """

    resource_version: str
    requested_at: float
    items: tuple[ListedObject, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Generic[Value]):
    """An object as last seen; ``digest`` is that of a LIST, empty where an event told of it."""

    version: int | None
    resource_version: str
    value: Value
    digest: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """What a LIST changed: anything that matters, and the objects whose deletion no event had told."""

    changed: bool
    dropped: frozenset[str] = field(default_factory=frozenset)


class ObjectCache(Generic[Value]):
    """The objects of one cluster-scoped resource by name.

    Args:
        read: makes the value of an object; gets the value it had before, or None. Must not raise.
        matters: the part of a value whose change counts as one.
    """

    def __init__(
        self,
        read: Callable[[Mapping[str, Any], Value | None], Value],
        *,
        matters: Callable[[Value], object] = lambda value: value,
    ) -> None:
        self._read = read
        self._matters = matters
        self._entries: dict[str, Entry[Value]] = {}
        self._deleted: dict[str, int] = {}
        self._listed: int | None = None
        self.synced_at: float | None = None

    @property
    def listed_version(self) -> int | None:
        """The resource version of the last LIST; None before it, and where it is no number."""
        return self._listed

    def __iter__(self) -> Iterator[Value]:
        return (entry.value for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def apply(self, event_type: str | None, body: Mapping[str, Any]) -> bool:
        """Take one watch event, unless something newer is known already. Says whether anything that matters changed.

        Args:
            event_type: ``ADDED``, ``MODIFIED``, ``DELETED``, or None for what a watcher's own listing found.
            body: the whole object.
        """
        name = body["metadata"]["name"]
        resource_version = str(body["metadata"].get("resourceVersion", ""))
        version = _as_number(resource_version)
        known = self._entries.get(name)
        if self._is_late(name, version):
            return False
        if event_type == "DELETED":
            if version is not None:
                self._deleted[name] = version
            return self._entries.pop(name, None) is not None
        if known is not None and known.resource_version == resource_version:
            return False
        entry = self._entry(body, resource_version, known)
        self._entries[name] = entry
        return self._differ(known, entry)

    def replace(self, listing: Listing) -> Replaced:
        """Take a full LIST as the truth, except for what an event has told that is newer than the list."""
        listed = _as_number(listing.resource_version)
        if listed is None or (self._listed is not None and listed < self._listed):
            self._deleted.clear()  # another history, such as a restored backup: nothing here is newer
            newer: dict[str, Entry[Value]] = {}
        else:
            self._deleted = {name: version for name, version in self._deleted.items() if version > listed}
            newer = {
                name: entry
                for name, entry in self._entries.items()
                if entry.version is not None and entry.version > listed
            }
        current = {item.name: self._listed_entry(item) for item in listing.items if item.name not in self._deleted}
        current |= newer
        before, self._entries = self._entries, current
        self._listed, self.synced_at = listed, listing.requested_at
        return Replaced(
            changed=before.keys() != current.keys()
            or any(self._differ(before[name], entry) for name, entry in current.items()),
            dropped=frozenset(before.keys() - current.keys()),
        )

    def clear(self) -> None:
        """Forget every object, and that there ever was a LIST; versions already seen stay old."""
        self._entries = {}
        self.synced_at = None

    def _is_late(self, name: str, version: int | None) -> bool:
        if version is None:
            return False
        known = self._entries.get(name)
        newest = max(
            self._listed or 0,
            self._deleted.get(name, 0),
            (known.version or 0) if known is not None else 0,
        )
        return version <= newest

    def _differ(self, before: Entry[Value] | None, after: Entry[Value]) -> bool:
        if before is None:
            return True
        return before is not after and self._matters(before.value) != self._matters(after.value)

    def _listed_entry(self, item: ListedObject) -> Entry[Value]:
        known, digest = self._entries.get(item.name), item.digest()
        if known is not None and known.digest == digest:
            return known
        return replace(self._entry(item.body(), item.resource_version, known), digest=digest)

    def _entry(self, body: Mapping[str, Any], resource_version: str, known: Entry[Value] | None) -> Entry[Value]:
        return Entry(
            version=_as_number(resource_version),
            resource_version=resource_version,
            value=self._read(body, known.value if known is not None else None),
        )


def _as_number(resource_version: str) -> int | None:
    return int(resource_version) if resource_version.isascii() and resource_version.isdigit() else None
