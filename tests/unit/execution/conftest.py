"""Fixtures that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.sandboxed import make_executor

if TYPE_CHECKING:
    from k8s_mcp_server.execution.executor import Executor


@pytest.fixture
def executor(tmp_path: Path) -> Executor:
    return make_executor(tmp_path, progress_seconds=0.05)
