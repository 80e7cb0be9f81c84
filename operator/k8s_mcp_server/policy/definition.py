"""The fields of a policy that this version of the server reads, to be compared with those that a CRD declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from k8s_mcp_server.policy.model import SpecModel


def read_fields() -> frozenset[str]:
    """Every field that this server reads, such as ``spec.rules[].fromRBAC``."""
    return frozenset(_of_model(SpecModel, "spec"))


def declared_fields(schema: Mapping[str, Any]) -> frozenset[str]:
    """Every field below ``spec`` that a CRD's schema (``openAPIV3Schema``) declares, likewise.

    The API server drops every other one from what it stores and serves.
    """
    return frozenset(_of_schema(_mapping(_mapping(schema.get("properties")).get("spec")), "spec"))


def _of_model(model: type[BaseModel], path: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        here = f"{path}.{field.alias or name}"
        yield here
        for child, is_listed in _models(field.annotation):
            yield from _of_model(child, f"{here}[]" if is_listed else here)


def _models(annotation: Any, *, is_listed: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """The models inside of an annotation, and whether a list holds them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, is_listed
        return
    for argument in get_args(annotation):
        yield from _models(argument, is_listed=is_listed or getattr(annotation, "__origin__", None) is tuple)


def _of_schema(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, child in _mapping(schema.get("properties")).items():
        yield f"{path}.{name}"
        yield from _of_schema(_mapping(child), f"{path}.{name}")
    if "items" in schema:
        yield from _of_schema(_mapping(schema["items"]), f"{path}[]")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
