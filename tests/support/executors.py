"""Executors for tests, and what their commands leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from k8s_mcp_server.policy.limits import Limits

if TYPE_CHECKING:
    pass

LIMITS = Limits(timeout_seconds=30, memory_bytes=256 * 1024 * 1024)


ENDLESS = ("awk", 'BEGIN { while (1) print "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" }')


def left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
