"""Reads YAML and JSON as kubectl does, and remembers on which line each field stands.

Stricter than a plain YAML loader: a key that is there twice is an error (the API server's strict decoding refuses it,
too), and a time without quotation marks stays the text that Kubernetes takes it for.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from k8s_mcp_server.authoring.errors import UnusableInput

STDIN: Final = "-"
SUFFIXES: Final = (".yaml", ".yml", ".json")
FieldPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One object of a file.

    Args:
        source: the file as it was named, or ``-``.
        body: the object.
        node: where its parts stand in the text; None for what was made here.
    """

    source: str
    body: Mapping[str, Any]
    node: yaml.Node | None = None

    @property
    def kind(self) -> str:
        """Its ``kind``; empty when it states none."""
        return _text(self.body.get("kind"))

    @property
    def group(self) -> str:
        """The API group of its ``apiVersion``; empty for the core group."""
        group, slash, _ = _text(self.body.get("apiVersion")).partition("/")
        return group if slash else ""

    @property
    def name(self) -> str:
        """Its ``metadata.name``; empty when it states none."""
        metadata = self.body.get("metadata")
        return _text(metadata.get("name")) if isinstance(metadata, Mapping) else ""

    def line(self, path: FieldPath = ()) -> int:
        """The line, from 1, of the field at ``path``, or of the nearest thing around it that the text has."""
        node = self.node
        line = node.start_mark.line if node is not None else 0
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            line, node = found
        return line + 1


def read_documents(sources: Iterable[str]) -> Iterator[Document]:
    """Every object of the files; folders are read with what is below them, ``-`` is standard input.

    A ``List``, as kubectl prints it, counts as its items. Empty documents are left out.

    Raises:
        UnusableInput: a file cannot be read.
    """
    for source in sources:
        for file in _files(source):
            yield from parse_documents(_read(file), source=file)


def parse_documents(text: str, *, source: str) -> Iterator[Document]:
    """Every object of a text of YAML documents.

    Raises:
        UnusableInput: it is no YAML, or a document is no object.
    """
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                break
            if isinstance(node, yaml.ScalarNode) and not node.value:
                continue
            body = loader.construct_document(node)
            if not isinstance(body, dict):
                raise UnusableInput(f"{source}:{node.start_mark.line + 1}: not an object")
            yield from _flattened(Document(source=source, body=body, node=node))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UnusableInput(f"{source}:{_where(error)}") from error
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Safe YAML without timestamps, and with every key once."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - yaml's own signature
    ) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _files(source: str) -> Iterator[str]:
    path = Path(source)
    if source == STDIN or not path.is_dir():
        yield source
        return
    yield from (str(file) for file in sorted(path.rglob("*")) if file.suffix in SUFFIXES and file.is_file())


def _read(source: str) -> str:
    try:
        return sys.stdin.read() if source == STDIN else Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise UnusableInput(f"{source}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnusableInput(f"{source}: not UTF-8 text") from error


def _flattened(document: Document) -> Iterator[Document]:
    items = document.body.get("items")
    if not document.kind.endswith("List") or not isinstance(items, list):
        yield document
        return
    for index, item in enumerate(items):
        found = _child(document.node, "items")
        inner = _child(found[1], index) if found else None
        if isinstance(item, Mapping):
            yield Document(source=document.source, body=item, node=inner[1] if inner else None)


def _child(node: yaml.Node | None, step: str | int) -> tuple[int, yaml.Node] | None:
    """The line of a field (its key's, for an object) and its value."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == step:
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        value = node.value[step]
        return value.start_mark.line, value
    return None


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error) or "too deeply nested"
    return f"{mark.line + 1}: {problem}" if mark is not None else f" {problem}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
