"""How long one decision takes beside the number of policies."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from bench.figures import Samples
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.compile import read_policy
from k8s_mcp_server.policy.decide import DecisionContext, decide
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.policy.tools import Tool

COUNTS = (10, 100, 1_000, 10_000)
_NAMESPACES = 2_000
_DECISIONS = 20_000


def measure() -> list[Samples]:
    """Decisions for one client that two of N policies name, in a cluster of 2,000 namespaces."""
    return [_measure(count) for count in COUNTS]


def _measure(count: int) -> Samples:
    policies = [read_policy(_body(number)) for number in range(count)]
    namespaces = [Namespace(name=f"team-{number}", labels={"team": str(number)}) for number in range(_NAMESPACES)]
    context = DecisionContext(
        client=Client(username="system:serviceaccount:agents:agent-1"),
        tool=Tool.KUBECTL,
        snapshot=Snapshot.build(policies, namespaces),
        catalog=Catalog([ApiResource(group="", resource="pods", kind="Pod", scope=Scope.NAMESPACED)]),
        environment=Environment(),
        now=datetime.now(UTC),
        snapshot_age=0.0,
    )
    request = RequestInfo(
        is_resource_request=True,
        path="/api/v1/namespaces/team-1/pods",
        verb="list",
        api_prefix="api",
        api_version="v1",
        namespace="team-1",
        resource="pods",
    )
    if not decide(request, context).allowed:
        raise RuntimeError("the benchmark's request must be allowed")
    samples = Samples(f"decision, {count:,} policies")
    clock = time.perf_counter
    for _ in range(_DECISIONS):
        began = clock()
        decide(request, context)
        samples.seconds.append(clock() - began)
    return samples


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
