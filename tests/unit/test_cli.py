"""The command line: its answers and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from k8s_mcp_server.cli import app
from k8s_mcp_server.settings import Settings

pytestmark = pytest.mark.unit


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout, result.stderr


def test_help_names_every_command() -> None:
    code, out, _ = run("--help")

    assert code == 0
    assert all(word in out for word in ("serve", "preflight", "version", "config"))


def test_a_usable_file_is_ok(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("port: 9000\n", encoding="utf-8")

    assert run("config", "check", str(path)) == (0, f"ok: {path}\n", "")


def test_an_unusable_file_exits_1_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("prot: 9000\n", encoding="utf-8")

    code, out, err = run("config", "check", str(path))

    assert (code, out) == (1, "")
    assert "`prot`" in err
    assert "`port`" in err


def test_check_warns_of_misspelt_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("", encoding="utf-8")
    monkeypatch.setenv("K8S_MCP_PROT", "1")

    code, _, err = run("config", "check", str(path))

    assert code == 0
    assert "K8S_MCP_PROT" in err


def test_what_show_prints_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("cluster_name: prod\n", encoding="utf-8")

    code, out, _ = run("config", "show", "--config", str(path))

    shown = yaml.safe_load(out)
    assert code == 0
    assert shown["cluster_name"] == "prod"
    assert set(shown) == set(Settings.model_fields)
    path.write_text(out, encoding="utf-8")
    assert run("config", "check", str(path))[0] == 0


@pytest.mark.parametrize("command", [["serve"], ["preflight"], ["config", "show"]], ids=" ".join)
def test_unusable_settings_exit_2(command: list[str], tmp_path: Path) -> None:
    code, _, err = run(*command, "--config", str(tmp_path / "absent.yaml"))

    assert code == 2
    assert "cannot be read" in err


def test_an_unknown_command_exits_2() -> None:
    assert run("frobnicate")[0] == 2


def test_the_version_is_that_of_the_distribution() -> None:
    code, out, _ = run("version")

    assert code == 0
    assert out.strip()[0].isdigit()
