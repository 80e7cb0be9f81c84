"""How long one decision takes beside the number of policies."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from bench.figures import Samples
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.compile import read_policy
from k8s_mcp_server.policy.decide import DecisionContext, decide
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Iterable

COUNTS = (10, 100, 1_000, 10_000)
_NAMESPACES = 2_000
_ROUNDS = 10_000
_ALLOWED: Final = "decision"
_GOAL: Final = {"goal_ms": 0.05, "goal_of": "p99_ms"}
READ: Final = RequestInfo(
    is_resource_request=True,
    path="/api/v1/namespaces/team-1/pods",
    verb="list",
    api_prefix="api",
    api_version="v1",
    namespace="team-1",
    resource="pods",
)
DELETE: Final = replace(READ, verb="delete", path="/api/v1/namespaces/team-1/pods/web", name="web")


def measure() -> list[dict[str, Any]]:
    """Decisions for one client that two of N policies name, in a cluster of 2,000 namespaces; rows for the table."""
    rows = sorted((row for count in COUNTS for row in _measure(count)), key=lambda row: row["what"])
    base = {row["what"]: row for row in reversed(rows)}  # of each thing the one with the fewest policies
    for row in rows:
        least = base[row.pop("what")]
        row |= {"ratio": round(row["p50_ms"] / least["p50_ms"], 2), "beside": least["name"]}
    return rows


def _measure(count: int) -> list[dict[str, Any]]:
    context = _context(count)
    first = (replace(context, client=_client(member_of=f"group-{number}")) for number in range(_ROUNDS))
    measured = {
        _ALLOWED: _time(READ, itertools.repeat(context, _ROUNDS)),
        "denial": _time(DELETE, itertools.repeat(context, _ROUNDS)),
        "first decision of a client": _time(READ, first),
    }
    for request, is_allowed in ((READ, True), (DELETE, False)):
        if decide(request, context).allowed is not is_allowed:
            raise RuntimeError("the benchmark's requests are one that is allowed and one that is not")
    rows = []
    for what, seconds in measured.items():
        samples = Samples(f"{what}, {count:,} policies", seconds)
        rows.append({"what": what, **samples.summary()})
    return [{**row, **(_GOAL if row["what"] == _ALLOWED else {})} for row in rows]


def _time(request: RequestInfo, contexts: Iterable[DecisionContext]) -> list[float]:
    clock = time.perf_counter
    seconds = []
    for context in contexts:
        began = clock()
        decide(request, context)
        seconds.append(clock() - began)
    return seconds


def _context(count: int) -> DecisionContext:
    policies = [read_policy(_body(number)) for number in range(count)]
    namespaces = [Namespace(name=f"team-{number}", labels={"team": str(number)}) for number in range(_NAMESPACES)]
    return DecisionContext(
        client=_client(member_of="group"),
        tool=Tool.KUBECTL,
        snapshot=Snapshot.build(policies, namespaces),
        catalog=Catalog([ApiResource(group="", resource="pods", kind="Pod", scope=Scope.NAMESPACED)]),
        environment=Environment(),
        now=datetime.now(UTC),
        snapshot_age=0.0,
    )


def _client(*, member_of: str) -> Client:
    return Client(username="system:serviceaccount:agents:agent-1", groups=frozenset({member_of}))


def _body(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {"name": f"policy-{number}", "uid": f"uid-{number}", "resourceVersion": "1", "generation": 1},
        "spec": {
            "subjects": [{"kind": "ServiceAccount", "namespace": "agents", "name": f"agent-{number // 2}"}],
            "rules": [
                {
                    "name": "read",
                    "namespaces": [f"team-{number // 2}", "shared-*"],
                    "apiGroups": ["", "apps"],
                    "resources": ["pods", "deployments", "services"],
                    "verbs": ["get", "list", "watch"],
                }
            ],
        },
    }
