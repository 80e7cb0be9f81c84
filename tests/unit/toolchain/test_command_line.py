"""`python -m devtools.toolchain`, with no more than a bare Python: what it prints, and how it fails."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from devtools.toolchain.catalog import TOOLS_DIR, catalog

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.toolchain import FakeGo

pytestmark = pytest.mark.unit


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Isolated (-I -S): neither site-packages nor the environment's Python settings are seen."""
    code = f"import sys; sys.path.insert(0, {str(TOOLS_DIR.parent)!r}); from devtools.toolchain.cli import main; "
    command = [sys.executable, "-I", "-S", "-c", f"{code}sys.exit(main())", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_ensure_prints_one_line_per_tool_when_all_are_there(fake_go: FakeGo) -> None:
    run("ensure", "kwok", "kwokctl")
    done = run("ensure", "kwok", "kwokctl")
    version = catalog()["kwok"].version
    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"[1/2] kwok {version} · in the cache",
        f"[2/2] kwokctl {version} · in the cache",
    ]


def test_ensure_says_how_long_a_build_took(fake_go: FakeGo) -> None:
    lines = run("ensure", "kwok").stderr.splitlines()
    version = catalog()["kwok"].version
    assert lines[0] == f"[1/1] kwok {version} · building"
    assert lines[1].startswith(f"[1/1] kwok {version} · built · ")


def test_ensure_copies_to_a_folder_and_prints_it(fake_go: FakeGo, tmp_path: Path) -> None:
    out = tmp_path / "out" / "bin"
    done = run("ensure", "kwok", "--out", str(out), "--print-dir")
    assert done.stdout == f"{out}\n"
    assert subprocess.run([out / "kwok"], capture_output=True, check=True).stdout == b"built\n"


def test_where_prints_the_path_of_a_built_tool(fake_go: FakeGo) -> None:
    run("ensure", "kwok")
    done = run("where", "kwok")
    assert done.stdout.endswith("/kwok\n")
    assert done.returncode == 0


def test_list_names_every_tool_with_its_version(fake_go: FakeGo) -> None:
    lines = run("list").stdout.splitlines()
    assert [line.split() for line in lines] == [
        [tool.name, tool.version, f"tools/{tool.folder.name}"] for tool in catalog().values()
    ]


def assert_one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    errors = [line for line in done.stderr.splitlines() if not line.endswith("· building")]
    assert done.returncode == 1
    assert len(errors) == 1, done.stderr
    assert errors[0].startswith("toolchain: ")
    for part in parts:
        assert part in errors[0]


def test_without_go_one_line_says_what_to_install(fake_go: FakeGo) -> None:
    (fake_go.bin / "go").unlink()
    assert_one_line(run("ensure"), "no Go on PATH", "install Go 1.26", "https://go.dev/doc/install")


def test_a_go_that_cannot_fetch_its_successor_is_one_line(fake_go: FakeGo) -> None:
    fake_go.answers_env(errors="go: download go1.26.0: dial tcp: no such host: toolchain not available\n", code=1)
    assert_one_line(run("ensure"), "toolchain not available", "install Go 1.26")


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(
            "go: errors parsing go.mod:\ngo.mod:3: invalid go version '1.26.0': must match format 1.23", id="1.20"
        ),
        pytest.param("go: go.mod requires go >= 1.26.0 (running go 1.22.1; GOTOOLCHAIN=local)", id="1.22"),
    ],
)
def test_a_go_that_is_too_old_to_read_the_module_is_one_line(fake_go: FakeGo, message: str) -> None:
    fake_go.builds_by(f'echo "{message}" >&2; exit 1')
    assert_one_line(run("ensure", "etcd"), "can't build etcd", "install Go 1.26")


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("dial tcp: lookup proxy.example: no such host", id="no name service"),
        pytest.param("dial tcp 192.0.2.1:443: i/o timeout", id="no route"),
        pytest.param("tls: failed to verify certificate: x509: unknown authority", id="intercepted"),
        pytest.param("reading https://proxy.example/m: 403 Forbidden", id="forbidden"),
    ],
)
def test_a_module_that_cannot_be_downloaded_is_one_line(fake_go: FakeGo, message: str) -> None:
    fake_go.builds_by(f'echo "go: example.test/m@v1.0.0: {message}" >&2; exit 1')
    assert_one_line(run("ensure", "etcd"), "can't download the Go modules of etcd", "GOPROXY", message)


def test_a_failing_build_shows_the_end_of_its_output_then_one_line(fake_go: FakeGo) -> None:
    fake_go.builds_by('i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo "message number $i" >&2; done; exit 1')
    done = run("ensure", "etcd")
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert "message number 60" in lines
    assert "message number 30" not in lines
    assert "example.test/a" not in lines, "names of compiled packages aren't messages"
    assert lines[-1].startswith("toolchain: can't build etcd ")
    assert "Traceback" not in done.stderr


def test_a_build_that_says_it_worked_but_made_nothing_fails(fake_go: FakeGo) -> None:
    fake_go.builds_by("exit 0")
    assert run("ensure", "etcd").returncode == 1


def test_where_says_how_to_build_what_is_not_there(fake_go: FakeGo) -> None:
    assert_one_line(run("where", "kwok"), "python3 -m devtools.toolchain ensure kwok")


def test_a_folder_that_cannot_be_written_is_one_line(fake_go: FakeGo, tmp_path: Path) -> None:
    run("ensure", "kwok")
    (tmp_path / "file").write_text("")
    done = run("ensure", "kwok", "--out", str(tmp_path / "file"))
    assert done.returncode == 1
    assert "can't copy to" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_lists_the_commands(fake_go: FakeGo) -> None:
    text = run("--help").stdout
    assert all(command in text for command in ("ensure", "list", "where"))


def test_a_missing_command_is_wrong_usage(fake_go: FakeGo) -> None:
    assert run().returncode == 2
