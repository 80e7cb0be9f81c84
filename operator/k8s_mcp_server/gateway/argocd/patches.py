"""What a patch makes of an application, as far as that decides who may do it: its name, namespace and project.

``Patch`` in server/application/application.go of argo-cd v3 applies the patch to the application's JSON and then
updates **the application that the result names**. Its decoder takes ``Spec`` for ``spec``, too. So nothing is applied
here: a patch is read, what it may say about those three is known for each of its parts, and what could mean something
else is refused.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.gateway.argocd.objects import DEFAULT_PROJECT
from k8s_mcp_server.gateway.tokenrequest import unambiguous

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.argocd.objects import Application

_METADATA: Final = frozenset({"labels", "annotations", "finalizers"})  # what an update takes over of it
_TYPE: Final = frozenset({"apiVersion", "kind"})
_VALUED: Final = frozenset({"add", "replace"})
_MOVING: Final = frozenset({"move", "copy"})


class UnreadablePatch(ValueError):
    """What the patch would make of the application cannot be told; the text says why, for the client."""


def patched_project(patch: str, *, patch_type: str, application: Application) -> str:
    """The project that the application is in after the patch.

    Args:
        patch: as received.
        patch_type: ``json`` (also when empty) or ``merge``, as Argo CD has it.
        application: as it is.

    Raises:
        UnreadablePatch: the patch touches what an update does not take over, or could be read in two ways.
    """
    try:
        read: Any = json.loads(patch, object_pairs_hook=unambiguous)
    except (ValueError, RecursionError) as error:
        raise UnreadablePatch("it is no JSON, or has a key twice") from error
    if patch_type == "merge":
        return _merged(read, application)
    if patch_type in ("", "json"):
        return _operated(read, application)
    raise UnreadablePatch(f"the type {patch_type[:20]!r} is neither json nor merge")


def _merged(patch: Any, application: Application) -> str:
    if not isinstance(patch, dict):
        raise UnreadablePatch("a merge patch is an object")
    for key, value in patch.items():
        if key == "metadata":
            _check_metadata(value, application)
        elif key not in _TYPE | {"spec"}:
            raise _not_taken_over(key)
    return _project_in(patch["spec"], otherwise=application.project) if "spec" in patch else application.project


def _check_metadata(metadata: Any, application: Application) -> None:
    if not isinstance(metadata, dict):
        raise UnreadablePatch("metadata is an object")
    own = {"name": application.name, "namespace": application.namespace}
    for key, value in metadata.items():
        if key not in _METADATA and (key not in own or value != own[key]):
            raise _not_taken_over(f"metadata.{key}")


def _project_in(spec: Any, *, otherwise: str) -> str:
    """The project that a spec names; ``otherwise`` where it names none."""
    if not isinstance(spec, dict):
        raise UnreadablePatch("spec is an object")
    if any(key.casefold() == "project" for key in spec if key != "project"):
        raise UnreadablePatch("a key that some readers take for project")
    return _project(spec["project"]) if "project" in spec else otherwise


def _project(value: Any) -> str:
    if value is None:
        return DEFAULT_PROJECT
    if not isinstance(value, str):
        raise UnreadablePatch("spec.project is a text")
    return value or DEFAULT_PROJECT


def _operated(patch: Any, application: Application) -> str:
    if not isinstance(patch, list):
        raise UnreadablePatch("a JSON patch is a list of operations")
    project = application.project
    for operation in patch:
        if not isinstance(operation, dict) or not all(isinstance(operation.get(key), str) for key in ("op", "path")):
            raise UnreadablePatch("an operation has op and path")
        project = _after(operation, project)
    return project


def _after(operation: dict[str, Any], project: str) -> str:
    kind, place = operation["op"], _pointer(operation["path"])
    if kind == "test":
        return project
    if kind in _MOVING:
        _check_place(_pointer(operation.get("from")))
        _check_place(place)
        return project
    if kind in _VALUED and place == ["spec"]:
        return _project_in(operation.get("value"), otherwise=DEFAULT_PROJECT)
    if kind in _VALUED and place == ["spec", "project"]:
        return _project(operation.get("value"))
    if kind == "remove" and place == ["spec", "project"]:
        return DEFAULT_PROJECT
    if kind not in _VALUED | {"remove"}:
        raise UnreadablePatch(f"the operation {kind[:20]!r} is not known")
    _check_place(place)
    return project


def _check_place(place: list[str]) -> None:
    """Whether a change there is surely none of name, namespace or project."""
    match place:
        case ["spec", field, *_] if field.casefold() != "project":
            return
        case ["metadata", field, *_] if field in _METADATA:
            return
    raise _not_taken_over("/".join(place))


def _pointer(text: Any) -> list[str]:
    """The parts of a JSON pointer (RFC 6901)."""
    if not isinstance(text, str) or not text.startswith("/"):
        raise UnreadablePatch("a path begins with /, and names a part of the application")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _not_taken_over(what: str) -> UnreadablePatch:
    return UnreadablePatch(f"a patch can change spec, and labels, annotations and finalizers, not {what[:60]!r}")
