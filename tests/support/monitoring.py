"""The queries of the alerts and the dashboard, and what of a scrape they name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

COMPONENT = Path(__file__).parents[2] / "manifests" / "components" / "monitoring"
# Prometheus and the operator add them to whatever is scraped; `le` is a histogram's.
TARGET_LABELS = frozenset({"pod", "le"})


def rule_groups() -> dict[str, Any]:
    """The rules as Prometheus itself reads them: what the operator takes out of the object."""
    body = yaml.safe_load((COMPONENT / "alerts.yaml").read_text(encoding="utf-8"))
    spec: dict[str, Any] = body["spec"]
    return spec


def alerts() -> list[dict[str, Any]]:
    """Every alerting rule."""
    return [rule for group in rule_groups()["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    body: dict[str, Any] = json.loads((COMPONENT / "dashboard.json").read_text(encoding="utf-8"))
    return body


def dashboard_queries() -> list[str]:
    """PromQL of every panel, with Grafana's variables replaced as Grafana would."""
    queries = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [query.replace("$__rate_interval", "1m").replace("$pod", ".*") for query in queries]


def metrics_of(query: str) -> set[str]:
    """Names of our metrics in a query, without what a histogram's series add."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bk8s_mcp_\w+", query)}


def labels_of(query: str) -> set[str]:
    """Labels that a query selects or groups by."""
    selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query)
    grouped = [name for names in re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", query) for name in names.split(",")]
    return {*selected, *(name.strip() for name in grouped)}
