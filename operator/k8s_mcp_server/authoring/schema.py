"""Compares an object with the CRD's structural schema, as the API server does, and says what was probably meant.

Knows what our CRD uses: types, bounds, enums, patterns, sets. The CEL rules are left to the policy model, which holds
the same ones (tests/unit/policy/test_crd.py compares the two).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.authoring.resources import own_crd

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.documents import FieldPath

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong with the field at ``path``, for its author."""

    path: FieldPath
    message: str


def policy_schema() -> Schema:
    """The schema of an McpAccessPolicy, as the CRD declares it."""
    (version,) = own_crd()["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def check_value(value: object, schema: Schema, path: FieldPath = ()) -> Iterator[Problem]:
    """Everything that the schema has against a value, outermost first."""
    if schema.get("x-kubernetes-int-or-string"):
        schema = {**schema, "type": "integer" if isinstance(value, int) else "string"}
    if "type" not in schema:  # metadata: not ours to check
        return
    kind, check = _CHECKS[schema["type"]]
    is_number_of_another_kind = isinstance(value, bool) and kind is not bool
    if not isinstance(value, kind) or is_number_of_another_kind:
        yield Problem(path=path, message=f"must be {_ARTICLES[schema['type']]}, not {_shown(value)}")
        return
    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(_shown(item) for item in schema["enum"])
        yield Problem(
            path=path, message=f"must be one of {allowed}, not {_shown(value)}{_meant(value, schema['enum'])}"
        )
        return
    yield from check(value, schema, path)


def path_text(path: FieldPath) -> str:
    """A path as ``spec.rules[0].verbs``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _check_object(value: dict[str, Any], schema: Schema, path: FieldPath) -> Iterator[Problem]:
    fields: Mapping[str, Schema] = schema.get("properties", {})
    others = schema.get("additionalProperties")
    yield from _bounds(len(value), schema, path, low="minProperties", high="maxProperties", unit="entries")
    for name in schema.get("required", ()):
        if name not in value:
            yield Problem(path=path, message=f"{name} is missing")
    for name, item in value.items():
        if name in fields:
            yield from check_value(item, fields[name], (*path, name))
        elif isinstance(others, Mapping):
            yield from check_value(item, others, (*path, str(name)))
        elif fields:
            yield Problem(path=(*path, str(name)), message=f"unknown field{_meant(name, fields)}")


def _check_array(value: list[Any], schema: Schema, path: FieldPath) -> Iterator[Problem]:
    yield from _bounds(len(value), schema, path, low="minItems", high="maxItems", unit="entries")
    for index, item in enumerate(value):
        if schema.get("x-kubernetes-list-type") == "set" and item in value[:index]:
            yield Problem(path=(*path, index), message=f"{_shown(item)} is there twice")
        yield from check_value(item, schema["items"], (*path, index))


def _check_string(value: str, schema: Schema, path: FieldPath) -> Iterator[Problem]:
    yield from _bounds(len(value), schema, path, low="minLength", high="maxLength", unit="characters")
    pattern = schema.get("pattern")
    if pattern and not re.fullmatch(pattern.removesuffix("$"), value):
        yield Problem(path=path, message=f"{_shown(value)} does not have the form {pattern}")


def _check_integer(value: int, schema: Schema, path: FieldPath) -> Iterator[Problem]:
    yield from _bounds(value, schema, path, low="minimum", high="maximum", unit="")


_CHECKS: Final[Mapping[str, tuple[type, Callable[[Any, Schema, FieldPath], Iterator[Problem]]]]] = {
    "object": (dict, _check_object),
    "array": (list, _check_array),
    "string": (str, _check_string),
    "integer": (int, _check_integer),
    "boolean": (bool, lambda *_: iter(())),
}
_ARTICLES: Final = {
    "object": "an object",
    "array": "a list",
    "string": "text (in quotation marks, if it looks like something else)",
    "integer": "a whole number",
    "boolean": "true or false",
}


def _bounds(size: int, schema: Schema, path: FieldPath, *, low: str, high: str, unit: str) -> Iterator[Problem]:
    if size < schema.get(low, size):
        yield Problem(path=path, message=f"must be at least {schema[low]} {unit}".rstrip())
    if size > schema.get(high, size):
        yield Problem(path=path, message=f"must be at most {schema[high]} {unit}".rstrip())


def _meant(word: object, known: Any) -> str:
    names = [str(item) for item in known]
    near = difflib.get_close_matches(str(word), names, n=1, cutoff=0.5)
    if not near:  # difflib minds capitals
        near = [name for name in names if name.lower() == str(word).lower()]
    return f"; did you mean {near[0]}?" if near else ""


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return json.dumps(value, ensure_ascii=False, default=str)
