"""The parts of an image, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devtools.image.parts import parts, table

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit


def test_every_byte_is_in_exactly_one_part(tmp_path: Path) -> None:
    for name, size in {
        "usr/local/bin/kubectl": 5000,
        "opt/k8s-mcp-server/lib/python3.13/site-packages/k8s_mcp_server/app.py": 100,
        "opt/k8s-mcp-server/lib/python3.13/site-packages/kopf/on.py": 300,
        "usr/lib/python3.13/os.py": 70,
        "usr/bin/jq": 11,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "bin").symlink_to("usr/bin")
    sizes = {part.name: part.size for part in parts(tmp_path)}
    link = (tmp_path / "bin").lstat().st_size
    assert sizes == {
        "kubectl": 5000,
        "the service": 100,
        "Python packages": 300,
        "Python": 70,
        "Debian, with jq, awk, grep, …": 11 + link,
    }
    assert table(parts(tmp_path)).splitlines()[0].endswith("kubectl")
