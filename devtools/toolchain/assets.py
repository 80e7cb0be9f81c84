"""Takes binaries that are there already: `KUBEBUILDER_ASSETS`, the folder that envtest's users have."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devtools.toolchain.catalog import GoTool

_TIMEOUT_SECONDS = 20


def from_assets(tool: GoTool) -> Path | None:
    """Return the tool in `KUBEBUILDER_ASSETS` if it runs and prints exactly the version of the tool's go.mod."""
    folder = os.environ.get("KUBEBUILDER_ASSETS", "")
    if not folder:
        return None
    path = Path(folder).absolute() / tool.name
    return path if os.access(path, os.X_OK) and _prints_version(path, tool) else None


def _prints_version(path: Path, tool: GoTool) -> bool:
    try:
        done = subprocess.run(
            [str(path), *tool.version_args],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return re.search(rf"(?<![\w.-])v?{re.escape(tool.version)}(?![\w.+-])", done.stdout) is not None
