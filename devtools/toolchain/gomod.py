"""Reads the few facts of a go.mod that the builder needs.

The go.mod of a tool is the only place that states its version, so stamps, cache keys and progress lines are
read from it rather than repeated. Format: https://go.dev/ref/mod#go-mod-file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from devtools.toolchain.errors import ToolchainError

if TYPE_CHECKING:
    from pathlib import Path


def required_version(go_mod: Path, module: str) -> str:
    """Return the version that `go_mod` requires of `module`, as written (with its `v`).

    Raises:
        ToolchainError: the file can't be read or doesn't require the module.
    """
    pattern = rf"^\s*(?:require\s+)?{re.escape(module)}\s+(v\S+)"
    found = re.search(pattern, _text(go_mod), re.MULTILINE)
    if found is None:
        raise ToolchainError(f"{go_mod} requires no {module}")
    return found.group(1)


def go_version(go_mod: Path) -> str:
    """Return the Go version that the module asks for: its `toolchain` line, else its `go` line.

    Raises:
        ToolchainError: the file can't be read or states none.
    """
    text = _text(go_mod)
    found = re.search(r"^toolchain\s+go(\S+)", text, re.MULTILINE) or re.search(r"^go\s+(\S+)", text, re.MULTILINE)
    if found is None:
        raise ToolchainError(f"{go_mod} states no Go version")
    return found.group(1)


def _text(go_mod: Path) -> str:
    try:
        return go_mod.read_text(encoding="utf-8")
    except OSError as error:
        raise ToolchainError(f"can't read {go_mod}: {error.strerror}") from error
