"""What `make e2e` does first: is there a node on this machine, and may there be none?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from devtools.node import machine
from devtools.node.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.unit

_WHY = "a node needs root, and this is another user"


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs `python -m devtools.node check` where no node is possible, with the variables given; code and errors."""
    monkeypatch.setattr(machine, "why_impossible", lambda: _WHY)
    monkeypatch.setattr("sys.argv", ["devtools.node", "check"])
    for name in ("CI", "E2E_NODE"):
        monkeypatch.delenv(name, raising=False)

    def run(**variables: str) -> tuple[int, str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return main(), capsys.readouterr().err

    return run


def test_a_machine_that_can_t_run_one_fails_with_one_line_that_says_why(check: Callable[..., tuple[int, str]]) -> None:
    code, said = check()
    assert code == 1
    (line,) = said.splitlines()
    assert line.startswith("!!! NO REAL NODE")
    assert _WHY in line
    assert "E2E_NODE=0" in line


def test_who_says_so_does_without_and_is_still_told(check: Callable[..., tuple[int, str]]) -> None:
    code, said = check(E2E_NODE="0")
    assert code == 0
    (line,) = said.splitlines()
    assert line.startswith("!!! NO REAL NODE")


def test_continuous_integration_never_does_without(check: Callable[..., tuple[int, str]]) -> None:
    code, said = check(E2E_NODE="0", CI="true")
    assert code == 1
    assert "NOT FOR CI" in said
