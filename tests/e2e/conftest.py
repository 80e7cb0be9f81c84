"""What all end-to-end tests share: a generous time limit, figures that they measured, and a table at the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

_FOLDER = Path(__file__).parent
_TEST_SECONDS = 300
_FIGURES: pytest.StashKey[dict[str, str]] = pytest.StashKey()
_TITLES: pytest.StashKey[dict[str, str]] = pytest.StashKey()


class Measured(Protocol):
    """Puts a figure under the table."""

    def __call__(self, what: str, figure: str) -> None: ...


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> Measured:
    """Figures for the end of the run."""
    figures = request.config.stash.setdefault(_FIGURES, {})

    def record(what: str, figure: str) -> None:
        figures[what] = figure

    return record


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    titles = config.stash.setdefault(_TITLES, {})
    for item in items:
        if _FOLDER in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TEST_SECONDS))
        module = item.getparent(pytest.Module)
        if module is not None:
            documentation = (module.obj.__doc__ or item.path.stem).strip()
            titles[item.nodeid.partition("::")[0]] = documentation.splitlines()[0].rstrip(".")


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    titles = config.stash.get(_TITLES, {})
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    seconds: defaultdict[str, float] = defaultdict(float)
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            file = getattr(report, "nodeid", "").partition("::")[0]
            if file not in titles:
                continue
            seconds[file] += getattr(report, "duration", 0.0)
            if outcome in {"passed", "failed", "error", "skipped"}:
                counts[file][outcome] += 1
    if not counts:
        return
    terminalreporter.section("end to end")
    for file, title in titles.items():
        if file in counts:
            terminalreporter.write_line(_row(file, title=title, counts=counts[file], seconds=seconds[file]))
    for what, figure in config.stash.get(_FIGURES, {}).items():
        terminalreporter.write_line(f"  {what}: {figure}")


def _row(file: str, *, title: str, counts: Counter[str], seconds: float) -> str:
    bad = counts["failed"] + counts["error"]
    verdict = "FAILED" if bad else "ok" if counts["passed"] else "SKIPPED"
    numbers = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
    where = file.removeprefix("tests/").removeprefix("e2e/").removesuffix(".py")
    return f"{verdict:8}{where:46}{numbers:22}{seconds:6.0f} s  {title}"
