"""What the running service exposes, beside what the alerts and the dashboard ask for."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from devtools.toolchain import ensure_tools
from tests.support.monitoring import TARGET_LABELS, alerts, dashboard_queries, labels_of, metrics_of

if TYPE_CHECKING:
    from devtools.installed import InstalledService
    from tests.integration.through_mcp.conftest import AgentFactory

pytestmark = pytest.mark.integration

QUERIES = [*(str(alert["expr"]) for alert in alerts()), *dashboard_queries()]
SECONDS = 10


@pytest.fixture
def scrape(installed: InstalledService, agent_factory: AgentFactory) -> str:
    """The metrics after a command that succeeded and one that was denied."""
    rule = {"namespaces": ["shop"], "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
    agent = agent_factory({"rules": [rule]})
    assert agent.kubectl("get pods -n shop").status == "succeeded"
    assert agent.kubectl("get secrets -n shop").status == "denied"
    return httpx.get(f"{installed.health_url}/metrics", timeout=SECONDS).text


def _labels(scrape: str) -> dict[str, set[str]]:
    """The labels of each metric, by the name that its samples have (a histogram's without their ending)."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(scrape):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = {label for sample in family.samples for label in sample.labels}
    return found


def test_alerts_and_dashboard_name_only_metrics_and_labels_that_the_service_exposes(scrape: str) -> None:
    exposed = _labels(scrape)
    unknown = [
        (query, missing)
        for query in QUERIES
        if (missing := (metrics_of(query) - set(exposed)) | (labels_of(query) - _known(query, exposed)))
    ]
    assert unknown == []


def _known(query: str, exposed: dict[str, set[str]]) -> frozenset[str]:
    return TARGET_LABELS.union(*(exposed.get(name, set()) for name in metrics_of(query)))


def test_every_metric_is_on_the_dashboard(scrape: str) -> None:
    shown = {name for query in dashboard_queries() for name in metrics_of(query)}
    ours = {name for name in _labels(scrape) if not name.endswith("_created")}
    assert ours - shown == set()


def test_names_follow_prometheus_rules(scrape: str) -> None:
    promtool = ensure_tools(["promtool"])["promtool"]
    done = subprocess.run(
        [str(promtool), "check", "metrics"], input=scrape, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert re.findall(r"^# HELP (?!k8s_mcp_)(\S+)", scrape, re.MULTILINE) == []
