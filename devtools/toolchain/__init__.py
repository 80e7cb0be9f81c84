"""The builder of the pinned tools: one Go module per tool under `tools/`, one cache per user.

Demo, tests and image get their binaries here. Only the standard library is used, so that a bare Python can run it.
"""

from __future__ import annotations

from devtools.toolchain.ensure import ensure_tools, find_tool, link_tools, source_folder
from devtools.toolchain.errors import ToolchainError

__all__ = ["ToolchainError", "ensure_tools", "find_tool", "link_tools", "source_folder"]
