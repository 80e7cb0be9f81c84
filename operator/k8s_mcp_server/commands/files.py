"""The ``files`` argument: small files that a command finds in its own folder, such as manifests and kustomizations."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Final

from k8s_mcp_server.errors import CommandRefused

MAX_FILES: Final = 64
MAX_BYTES: Final = 2 * 1024 * 1024  # of all of them
MAX_NAME: Final = 200
MAX_DEPTH: Final = 8
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def read_files(value: object) -> dict[str, bytes]:
    """Check the argument.

    A name is relative, its parts are letters, digits, ``.``, ``_`` and ``-``, and none begins with ``.`` or ``-``: no
    name leaves the folder, and none can be taken for a flag.

    Raises:
        CommandRefused: says what is wrong with which file.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise _refused("`files` must be an object of names and texts", 'pass {"deployment.yaml": "apiVersion: …"}')
    if len(value) > MAX_FILES:
        raise _refused(f"`files` has {len(value)} files", f"pass at most {MAX_FILES}")
    files = {_name(name): _text(name, text) for name, text in value.items()}
    size = sum(map(len, files.values()))
    if size > MAX_BYTES:
        raise _refused(f"`files` has {size} bytes", f"pass at most {MAX_BYTES}")
    for name in files:
        for parent in PurePosixPath(name).parents:
            if str(parent) in files:
                raise _refused(f"{str(parent)!r} is both a file and a folder in `files`", "rename one of them")
    return files


def find_file(name: str, files: Collection[str]) -> bool:
    """Whether a word of a command line names one of the files, or a folder that has some."""
    path = PurePosixPath(name.rstrip("/") or name)
    if not name or path.is_absolute() or ".." in path.parts:
        return False
    if not path.parts:
        return bool(files)
    return str(path) in files or any(path in PurePosixPath(each).parents for each in files)


def _name(name: object) -> str:
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise _refused("a name in `files` is too long", f"use at most {MAX_NAME} characters")
    parts = name.split("/")
    if len(parts) > MAX_DEPTH or not all(map(_PART.fullmatch, parts)):
        raise _refused(
            f"{name[:80]!r} cannot be the name of a file here",
            "use relative names such as deployment.yaml or base/kustomization.yaml",
        )
    return name


def _text(name: object, text: object) -> bytes:
    if not isinstance(text, str):
        raise _refused(f"the file {str(name)[:80]!r} is no text", "pass its content as a string")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _refused(f"the file {str(name)[:80]!r} holds half of a surrogate pair", "pass valid Unicode") from None


def _refused(message: str, instead: str) -> CommandRefused:
    return CommandRefused("InvalidFiles", message, instead=instead)
