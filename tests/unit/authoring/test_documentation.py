"""docs/writing-policies.md: what it shows is what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from k8s_mcp_server.authoring.testfile import TestFileModel
from tests.support.policy_commands import run

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "writing-policies.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^```console\n\$ k8s-mcp-server (.+)\n((?:.|\n)*?)^```$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("command", "printed"), SHOWN, ids=[command for command, _ in SHOWN])
def test_a_shown_command_prints_what_is_shown(monkeypatch: pytest.MonkeyPatch, command: str, printed: str) -> None:
    monkeypatch.chdir(ROOT)
    assert run(*shlex.split(command)).out == printed


def test_the_shown_test_file_can_be_read() -> None:
    (shown,) = re.findall(r"^```yaml\n((?:.|\n)*?)^```$", TEXT, re.MULTILINE)
    assert TestFileModel.model_validate(yaml.safe_load(shown)).cases


def test_every_warning_of_the_check_is_explained() -> None:
    sources = (ROOT / "operator" / "k8s_mcp_server" / "authoring" / name for name in ("risks.py", "lint.py"))
    reasons = {reason for path in sources for reason in re.findall(r'reason="(\w+)"', path.read_text(encoding="utf-8"))}
    assert {reason for reason in reasons if f"`{reason}`" not in TEXT} == set()
