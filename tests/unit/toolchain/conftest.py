"""A fake `go` on PATH, a cache of the test's own, and Go modules that it may change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from devtools.toolchain.catalog import TOOLS_DIR
from tests.support.toolchain import FakeGo, Recorder


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGo:
    """The only Go on PATH; nothing of the caller's environment is asked."""
    fake = FakeGo(tmp_path / "go")
    fake.install()
    monkeypatch.setenv("FAKE_GO", str(fake.folder))
    monkeypatch.setenv("PATH", f"{fake.bin}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return fake


@pytest.fixture
def tools_dir(tmp_path: Path) -> Path:
    """A copy of the real Go modules, free to be changed."""
    return Path(shutil.copytree(TOOLS_DIR, tmp_path / "tools"))


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that KUBEBUILDER_ASSETS names."""
    folder = tmp_path / "assets"
    folder.mkdir()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(folder))
    return folder


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
