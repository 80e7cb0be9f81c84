"""Fixtures that every test may use, and what is said at the end about command lines that tried to pass by a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from k8s_mcp_server.execution.binaries import FILTERS

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

_TRIED: pytest.StashKey[dict[str, set[str]]] = pytest.StashKey()


class Tried(Protocol):
    """Notes that hostile lines of a CLI were run and had no effect beyond the policy."""

    def __call__(self, cli: str, *lines: str) -> None: ...


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


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """One line about all of them."""
    kept = config.stash.get(_TRIED, {})
    if not kept:
        return
    words = [word for lines in kept.values() for line in lines for word in line.split()]
    filters = [name for name in FILTERS if name in words]
    each = ", ".join(f"{cli} {len(lines)}" for cli, lines in sorted(kept.items()))
    total = sum(map(len, kept.values()))
    terminalreporter.section("hostile command lines")
    terminalreporter.write_line(f"{total} without an effect beyond the policy: {each}; with {', '.join(filters)}")
