"""The metrics: their names are documented, their labels bounded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from k8s_mcp_server.telemetry.metrics import Metrics

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[3] / "docs" / "operating.md"


def _scrape(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.watch_policies(age=lambda: 1.5, counts=lambda: {"ready": 2, "invalid": 1})
    return made


def test_every_metric_is_in_the_operating_guide_and_every_documented_one_exists(metrics: Metrics) -> None:
    exposed = {
        f"{family.name}_total" if family.type == "counter" else family.name for family in metrics.registry.collect()
    }
    documented = set(re.findall(r"^\| `(k8s_mcp_\w+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert documented == exposed


def test_a_command_is_in_flight_until_it_finishes_and_then_counted_by_outcome(metrics: Metrics) -> None:
    metrics.command_started("kubectl")
    assert 'k8s_mcp_commands_in_flight{cli="kubectl"} 1.0' in _scrape(metrics)
    metrics.command_finished("kubectl", outcome="succeeded", seconds=0.2)
    text = _scrape(metrics)
    assert 'k8s_mcp_commands_in_flight{cli="kubectl"} 0.0' in text
    assert 'k8s_mcp_commands_total{cli="kubectl",outcome="succeeded"} 1.0' in text


def test_names_that_a_client_chose_never_become_label_values(metrics: Metrics) -> None:
    metrics.command_refused("../../evil", outcome="refused", seconds=0)
    metrics.upstream_request(method="BREW", code=418, seconds=0)
    text = _scrape(metrics)
    assert "evil" not in text
    assert "BREW" not in text
    assert 'cli="other"' in text


def test_exactly_one_sandbox_level_is_set_and_it_is_unavailable_until_probed(metrics: Metrics) -> None:
    assert 'k8s_mcp_sandbox_level{level="unavailable"} 1.0' in _scrape(metrics)
    metrics.sandbox_level("required")
    levels = re.findall(r'k8s_mcp_sandbox_level\{level="(\w+)"\} 1\.0', _scrape(metrics))
    assert levels == ["required"]


def test_the_snapshot_s_age_and_the_policies_by_state_are_read_at_each_scrape(metrics: Metrics) -> None:
    text = _scrape(metrics)
    assert "k8s_mcp_policy_snapshot_age_seconds 1.5" in text
    assert 'k8s_mcp_policies{state="invalid"} 1.0' in text
