"""helm's own time limit lies within the command's."""

from __future__ import annotations

import shlex

import pytest

from k8s_mcp_server.commands.helm.timeouts import bounded, read_duration
from k8s_mcp_server.commands.helm.words import read_helm

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("line", "given"),
    [
        pytest.param("install web ./chart", "55s", id="none is stated"),
        pytest.param("install web ./chart --timeout 30s", "30s", id="a shorter one stays"),
        pytest.param("upgrade web ./chart --timeout 5m", "55s", id="a longer one is cut"),
        pytest.param("upgrade web ./chart --timeout 0", "55s", id="no limit at all"),
        pytest.param("upgrade web ./chart --timeout=-1s", "-1s", id="what helm refuses stays"),
        pytest.param("upgrade web ./chart --timeout soon", "soon", id="what is no duration stays"),
        pytest.param("install web ./chart --rollback-on-failure", "27s", id="undoing it takes as long again"),
        pytest.param("install web ./chart --atomic --timeout 1h", "27s", id="by its old name, too"),
        pytest.param("rollback web 1", "55s", id="rollback"),
        pytest.param("uninstall web", "55s", id="uninstall"),
        pytest.param("test web", "55s", id="test"),
        pytest.param("list", "", id="a command that has none"),
        pytest.param("template web ./chart", "", id="a command that waits for nothing"),
        pytest.param("install --help", "", id="help"),
    ],
)
def test_helm_ends_by_itself_before_its_time_is_over(line: str, given: str) -> None:
    command, _ = bounded(read_helm(shlex.split(line)), seconds=60)
    assert command.value("timeout") == given


@pytest.mark.parametrize("seconds", [0.2, 1, 2, 5, 8, 3600])
def test_there_is_always_some_time(seconds: float) -> None:
    command, _ = bounded(read_helm(["install", "web", "./chart"]), seconds=seconds)
    assert 1 <= (read_duration(command.value("timeout")) or 0) <= max(1, seconds)


def test_only_what_was_asked_for_and_cut_is_told() -> None:
    assert bounded(read_helm(["list"]), seconds=60)[1] == ""
    assert bounded(read_helm(["uninstall", "web"]), seconds=60)[1] == ""
    assert "--timeout 5m0s was cut to 55s" in bounded(read_helm(["uninstall", "web", "--timeout=5m0s"]), seconds=60)[1]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), ("0", 0), ("5", None), ("s", None), ("1m x", None)],
)
def test_durations_are_go_s(text: str, seconds: float | None) -> None:
    assert read_duration(text) == seconds
