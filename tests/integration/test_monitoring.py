"""The alerts and the dashboard, as Prometheus reads them. No cluster is needed, but Prometheus' own tool."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from devtools.toolchain import ensure_tools
from tests.support.monitoring import alerts, dashboard_queries, rule_groups

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
TEST_FILE = ROOT / "tests" / "data" / "alerts.test.yaml"
SECONDS = 30


@pytest.fixture(scope="module")
def promtool() -> Path:
    return ensure_tools(["promtool"])["promtool"]


def _run(promtool: Path, *arguments: str) -> None:
    done = subprocess.run([str(promtool), *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_each_alert_fires_when_it_should_and_not_for_a_healthy_service(promtool: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule_groups()), encoding="utf-8")
    (tmp_path / TEST_FILE.name).write_bytes(TEST_FILE.read_bytes())
    _run(promtool, "test", "rules", str(tmp_path / TEST_FILE.name))


def test_no_alert_is_without_a_case_in_which_it_fires() -> None:
    cases = TEST_FILE.read_text(encoding="utf-8")
    assert [alert["alert"] for alert in alerts() if not re.search(rf"\b{alert['alert']}\b", cases)] == []


def test_prometheus_reads_every_query_of_the_dashboard(promtool: Path, tmp_path: Path) -> None:
    rules = [{"record": f"dashboard:query:{n}", "expr": query} for n, query in enumerate(dashboard_queries())]
    assert rules
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    _run(promtool, "check", "rules", "--lint=none", str(tmp_path / "rules.yaml"))
