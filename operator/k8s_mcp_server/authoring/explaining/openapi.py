"""As much OpenAPI v3 as kubectl asks for before it writes: that the server validates fields (``fieldValidation``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

ROOT: Final = "/openapi/v3"


def openapi(path: str, *, documents: Mapping[str, Any]) -> dict[str, Any] | None:
    """The index at ``/openapi/v3``, or the document of one group and version; None for another path."""
    versions = dict(_versions(documents))
    if path == ROOT:
        return {"paths": {key: {"serverRelativeURL": f"{ROOT}/{key}"} for key in versions}}
    return versions.get(path.removeprefix(f"{ROOT}/"))


def _versions(documents: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for prefix in ("api", "apis"):
        for group in documents[f"/{prefix}"]["items"]:
            name = group.get("metadata", {}).get("name", "")
            for version in group.get("versions") or ():
                key = "/".join(part for part in (prefix, name, version["version"]) if part)
                paths = {
                    f"/{key}/{item['resource']}/{{name}}": _operation(name, version["version"], item)
                    for item in version.get("resources") or ()
                }
                yield key, {"openapi": "3.0.0", "info": {"title": name, "version": "v1"}, "paths": paths}


def _operation(group: str, version: str, item: Mapping[str, Any]) -> dict[str, Any]:
    kind = (item.get("responseKind") or {}).get("kind", "")
    return {
        "patch": {
            "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
        }
    }
