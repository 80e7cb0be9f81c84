"""The objects of a rendered chart: as much of each as a decision needs, read from text that anybody may have written.

Read event by event and to a fixed depth: what is kept does not grow with how deep a document is nested, and the C
library's own composer, which recurses, is not used. What cannot be told for certain is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from k8s_mcp_server.policy.catalog import ApiResource, Scope

HOOK: Final = "helm.sh/hook"
DELETE_POLICY: Final = "helm.sh/hook-delete-policy"
RESOURCE_POLICY: Final = "helm.sh/resource-policy"
MOST_BYTES: Final = 8 * 1024 * 1024
MOST_OBJECTS: Final = 2000
_ANY: Final[Mapping[str, Any]] = {}  # a mapping of which every key is kept
_CRD: Final = ("apiextensions.k8s.io", "CustomResourceDefinition")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_MERGE: Final = "<<"
_DEEPEST_LIST: Final = 3
_DEEPEST: Final = 200  # libyaml's time grows with the square of the depth of brackets

_OBJECT: Final[dict[str, Any]] = {
    "apiVersion": None,
    "kind": None,
    "metadata": {"name": None, "namespace": None, "generateName": None, "annotations": _ANY},
    "spec": {"group": None, "scope": None, "names": {"plural": None, "kind": None}},
}


def _with_items(depth: int) -> dict[str, Any]:
    return {**_OBJECT, "items": [_with_items(depth - 1)]} if depth else _OBJECT


_WANTED: Final = _with_items(_DEEPEST_LIST)


class UnreadableManifest(ValueError):
    """What was rendered cannot be read with certainty; the text says why, for the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartObject:
    """One object of a chart.

    Args:
        group: its API group; empty for the core group.
        namespace: as the manifest states it; empty for the release's.
        name: empty where the API server is to make one from ``generateName``.
        annotations: those of its metadata.
        defines: what it makes the API server serve, where it is a CustomResourceDefinition.
    """

    group: str
    kind: str
    namespace: str = ""
    name: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)
    defines: ApiResource | None = field(default=None, hash=False, compare=False)

    @property
    def hooks(self) -> frozenset[str]:
        """The events that it is a hook of; empty for a plain object."""
        return _listed(self.annotations.get(HOOK, ""))

    @property
    def delete_policies(self) -> frozenset[str]:
        """When a hook is deleted (``hookSetDeletePolicy`` in helm.sh/helm/v4/pkg/action/hooks.go has the default)."""
        return _listed(self.annotations.get(DELETE_POLICY, "")) or frozenset({"before-hook-creation"})

    @property
    def is_kept(self) -> bool:
        """Whether helm leaves it where it would delete it."""
        return self.annotations.get(RESOURCE_POLICY, "").strip().lower() == "keep"

    @property
    def is_crd(self) -> bool:
        """Whether it is a CustomResourceDefinition."""
        return (self.group, self.kind) == _CRD


def read_objects(text: str) -> tuple[ChartObject, ...]:
    """Every object of a stream of YAML documents, those in lists one by one.

    Raises:
        UnreadableManifest: it is no YAML, is too large, or says what an object is in a way that is not certain.
    """
    if len(text) > MOST_BYTES:
        raise UnreadableManifest(f"it is larger than {MOST_BYTES // 1024 // 1024} MiB")
    reader = _Reader(text)
    found: list[ChartObject] = []
    for document in reader.documents():
        for body in _flattened(document):
            found.append(_object(body))
            if len(found) > MOST_OBJECTS:
                raise UnreadableManifest(f"it has more than {MOST_OBJECTS} objects")
    return tuple(found)


class _Reader:
    """Composes the wanted parts of each document from libyaml's events."""

    def __init__(self, text: str) -> None:
        self._events = self._parse(text)
        self._anchors: dict[str, str] = {}

    @staticmethod
    def _parse(text: str) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(text, Loader=yaml.CBaseLoader)
        except (yaml.YAMLError, ValueError) as error:
            raise UnreadableManifest("it is no valid YAML") from error

    def documents(self) -> Iterator[Mapping[str, Any]]:
        """Those that hold anything."""
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            self._anchors = {}
            document = self._value(next(self._events), _WANTED)
            if isinstance(document, Mapping):
                yield document
            elif document:
                raise UnreadableManifest("a document of it is no object")

    def _value(self, event: yaml.Event, wanted: Any) -> Any:
        """What an event begins: a text, a mapping or list of the wanted parts, or None for what is passed over."""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor)
        if isinstance(event, yaml.ScalarEvent):
            value = "" if event.implicit[0] and event.value in _NULLS else event.value
            if event.anchor:
                self._anchors[event.anchor] = value
            return value
        if isinstance(event, yaml.MappingStartEvent) and isinstance(wanted, Mapping):
            return self._mapping(wanted)
        if isinstance(event, yaml.SequenceStartEvent) and isinstance(wanted, list):
            return self._sequence(wanted[0])
        self._pass_over(event)
        return None

    def _alias(self, anchor: str | None) -> str:
        """Only texts: what was passed over is not known, and what holds more could hold anything."""
        known = self._anchors.get(anchor or "")
        if known is None:
            raise UnreadableManifest("an alias stands where it must say what an object is")
        return known

    def _mapping(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in self._events:
            if isinstance(key, yaml.MappingEndEvent):
                return found
            if not isinstance(key, yaml.ScalarEvent) or key.value == _MERGE:
                raise UnreadableManifest("a key that is no text stands where it must say what an object is")
            value = next(self._events)
            if wanted is _ANY or key.value in wanted:
                found[key.value] = self._value(value, wanted.get(key.value))
            else:
                self._pass_over(value)
        raise UnreadableManifest("it is no valid YAML")

    def _sequence(self, wanted: Any) -> list[Any]:
        found: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                return found
            found.append(self._value(event, wanted))
        raise UnreadableManifest("it is no valid YAML")

    def _pass_over(self, event: yaml.Event) -> None:
        depth = _step(event)
        while depth:
            depth += _step(next(self._events))
            if depth > _DEEPEST:
                raise UnreadableManifest(f"it is nested deeper than {_DEEPEST} levels")


def _step(event: yaml.Event) -> int:
    if isinstance(event, yaml.CollectionStartEvent):
        return 1
    return -1 if isinstance(event, yaml.CollectionEndEvent) else 0


def _flattened(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The objects in a list, in the lists in it, or the object itself."""
    items = body.get("items")
    if not _text(body.get("kind")).endswith("List") or not isinstance(items, list):
        yield body
        return
    for item in items:
        if not isinstance(item, Mapping):
            raise UnreadableManifest("a list of it holds what is no object")
        yield from _flattened(item)


def _object(body: Mapping[str, Any]) -> ChartObject:
    metadata = body.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    group, slash, _ = _text(body.get("apiVersion")).partition("/")
    kind = _text(body.get("kind"))
    if not kind or not group:
        raise UnreadableManifest("a document of it has no kind or no apiVersion")
    annotations = metadata.get("annotations")
    annotations = annotations if isinstance(annotations, Mapping) else {}
    group = group if slash else ""
    return ChartObject(
        group=group,
        kind=kind,
        namespace=_text(metadata.get("namespace")),
        name=_text(metadata.get("name")),
        annotations={key: _text(value) for key, value in annotations.items()},
        defines=_defined(body.get("spec")) if (group, kind) == _CRD else None,
    )


def _defined(spec: object) -> ApiResource | None:
    """What a CustomResourceDefinition makes the API server serve; None when it does not say so."""
    if not isinstance(spec, Mapping) or not isinstance(names := spec.get("names"), Mapping):
        return None
    group, plural, kind = _text(spec.get("group")), _text(names.get("plural")), _text(names.get("kind"))
    try:
        scope = Scope(_text(spec.get("scope")))
    except ValueError:
        return None
    if not (group and plural and kind):
        return None
    return ApiResource(group=group, resource=plural, kind=kind, scope=scope, custom=True)


def _listed(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
