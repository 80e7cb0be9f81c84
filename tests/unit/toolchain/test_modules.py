"""The Go modules under `tools/`, and what is read from them."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import pytest

from devtools.toolchain import ToolchainError
from devtools.toolchain.catalog import TOOLS_DIR, GoTool, catalog, select
from devtools.toolchain.gomod import go_version, required_version
from devtools.toolchain.progress import ConsoleProgress

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

GO_MOD = """module example.test/tools

go 1.26.0

require example.test/single v1.0.0
require (
	example.test/one v1.2.3 // indirect
	example.test/one/more v4.5.6
)
"""


@pytest.mark.parametrize(
    ("module", "version"),
    [
        ("example.test/one", "v1.2.3"),
        ("example.test/one/more", "v4.5.6"),
        ("example.test/single", "v1.0.0"),
    ],
)
def test_a_version_is_read_from_the_go_mod(tmp_path: Path, module: str, version: str) -> None:
    (tmp_path / "go.mod").write_text(GO_MOD)
    assert required_version(tmp_path / "go.mod", module) == version


def test_a_module_that_is_not_required_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text(GO_MOD)
    with pytest.raises(ToolchainError, match=r"requires no example\.test/on"):
        required_version(tmp_path / "go.mod", "example.test/on")


def test_a_go_mod_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="can't read"):
        required_version(tmp_path / "go.mod", "example.test/one")


@pytest.mark.parametrize(
    ("line", "version"),
    [pytest.param("", "1.26.0", id="go line"), pytest.param("toolchain go1.26.10\n", "1.26.10", id="toolchain line")],
)
def test_the_go_version_is_the_toolchains_or_the_languages(tmp_path: Path, line: str, version: str) -> None:
    (tmp_path / "go.mod").write_text(GO_MOD + line)
    assert go_version(tmp_path / "go.mod") == version


def test_a_go_mod_without_a_go_version_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module example.test\n")
    with pytest.raises(ToolchainError, match="states no Go version"):
        go_version(tmp_path / "go.mod")


@pytest.mark.parametrize("tool", [pytest.param(tool, id=name) for name, tool in catalog().items()])
def test_every_tool_is_a_tool_of_its_module_which_pins_and_verifies_it(tool: GoTool) -> None:
    text = (tool.folder / "go.mod").read_text()
    assert tool.package in text
    assert f"{tool.source} v{tool.module_version} h1:" in (tool.folder / "go.sum").read_text()


def test_the_oldest_control_plane_is_built_only_for_those_who_name_it() -> None:
    assert "kube-apiserver-oldest" not in {tool.name for tool in select((), e2e=True)}
    assert [tool.name for tool in select(["kube-apiserver-oldest"])] == ["kube-apiserver-oldest"]


def test_every_go_module_builds_a_tool_of_the_catalog() -> None:
    assert {folder.name for folder in TOOLS_DIR.iterdir() if (folder / "go.mod").exists()} == {
        tool.folder.name for tool in catalog().values()
    }


class Terminal(io.StringIO):
    """A screen that says when a text has been drawn on it."""

    def __init__(self, awaited: str) -> None:
        super().__init__()
        self.awaited = awaited
        self.drawn = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.awaited in text:
            self.drawn.set()
        return super().write(text)


def test_on_a_terminal_a_bar_grows_and_leaves_one_line() -> None:
    screen = Terminal("██████░░░░░░░░░░░░░░░░░░ 10 of 40 packages · ")
    progress = ConsoleProgress(screen)
    tool = catalog()["etcd"]
    progress.started(tool, k=1, n=1)
    progress.compiled(10, of=40)
    assert screen.drawn.wait(timeout=20)
    progress.ended()
    progress.finished(tool, k=1, n=1, how="built", seconds=75)
    assert screen.getvalue().split("\r\x1b[K")[-1] == f"[1/1] etcd {tool.version} · built · 1 min 15 s\n"


def test_on_a_terminal_a_failed_build_leaves_a_clear_line() -> None:
    screen = Terminal("building")
    progress = ConsoleProgress(screen)
    progress.started(catalog()["etcd"], k=1, n=1)
    progress.ended()
    assert screen.getvalue().endswith("\r\x1b[K")


def test_in_a_log_there_is_no_bar() -> None:
    log = io.StringIO()
    progress = ConsoleProgress(log)
    progress.started(catalog()["etcd"], k=1, n=1)
    progress.compiled(10, of=40)
    assert log.getvalue().splitlines() == [f"[1/1] etcd {catalog()['etcd'].version} · building"]


def test_the_documents_name_the_oldest_release_that_is_tested() -> None:
    """The claim of support, and the control plane that `make oldest` runs."""
    release = ".".join(catalog()["kube-apiserver-oldest"].version.split(".")[:2])
    text = (TOOLS_DIR.parent / "docs" / "install.md").read_text(encoding="utf-8")
    assert f"Kubernetes {release} or newer" in text
