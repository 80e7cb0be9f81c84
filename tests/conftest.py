"""Fixtures that every test may use, and what is said at the end about hostile command lines and about help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from k8s_mcp_server.execution.binaries import FILTERS

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

_TRIED: pytest.StashKey[dict[str, set[str]]] = pytest.StashKey()
_HELPED: pytest.StashKey[dict[str, str]] = pytest.StashKey()


class Tried(Protocol):
    """Notes that hostile lines of a CLI were run and had no effect beyond the policy."""

    def __call__(self, cli: str, *lines: str) -> None: ...


class Helped(Protocol):
    """Notes after how many denials of a CLI's tasks the command that was suggested worked."""

    def __call__(self, cli: str, *, worked: int, of: int) -> None: ...


@pytest.fixture
def anyio_backend() -> str:
    """The service runs on asyncio, and so do its tests."""
    return "asyncio"


@pytest.fixture(scope="session")
def tried(request: pytest.FixtureRequest) -> Tried:
    """Called at the end of a test whose lines held."""
    kept = request.config.stash.setdefault(_TRIED, {})

    def note(cli: str, *lines: str) -> None:
        kept.setdefault(cli, set()).update(lines)

    return note


@pytest.fixture(scope="session")
def helped(request: pytest.FixtureRequest) -> Helped:
    """Called by the test that counts them."""
    kept = request.config.stash.setdefault(_HELPED, {})

    def note(cli: str, *, worked: int, of: int) -> None:
        kept[cli] = f"{cli} {worked} of {of}"

    return note


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """One line about each."""
    if kept := config.stash.get(_TRIED, {}):
        _tell_tried(terminalreporter, kept)
    if counts := config.stash.get(_HELPED, {}):
        terminalreporter.section("suggested commands after a denial")
        terminalreporter.write_line(f"worked: {', '.join(counts[cli] for cli in sorted(counts))}")


def _tell_tried(terminalreporter: TerminalReporter, kept: dict[str, set[str]]) -> None:
    words = [word for lines in kept.values() for line in lines for word in line.split()]
    filters = [name for name in FILTERS if name in words]
    each = ", ".join(f"{cli} {len(lines)}" for cli, lines in sorted(kept.items()))
    total = sum(map(len, kept.values()))
    terminalreporter.section("hostile command lines")
    terminalreporter.write_line(f"{total} without an effect beyond the policy: {each}; with {', '.join(filters)}")
