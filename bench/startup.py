"""How long a replica takes from its start until it is ready, and what it holds in memory while nobody asks."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import Samples
from devtools.installed import InstalledService

if TYPE_CHECKING:
    from devtools.cluster import TestCluster

POLICIES = 100
_STARTS = 5
_SETTLE_SECONDS = 15.0  # more than one complete list of policies
# What the project promises of an idle replica with so many policies.
_GOAL_SECONDS = 3.0
_GOAL_BYTES = 150 * 2**20


def measure(cluster: TestCluster, *, tools: Path, folder: Path) -> list[dict[str, Any]]:
    """Start a replica several times beside many policies; rows for the table."""
    cluster.kubectl("apply", "--filename=-", input=json.dumps(_policies()))
    taken = Samples(f"start to ready, {POLICIES} policies")
    for number in range(_STARTS):
        with InstalledService(cluster, tools=tools, folder=folder / str(number)) as service:
            taken.seconds.append(service.ready_seconds)
            if number == _STARTS - 1:
                cluster.kubectl("wait", "--for=condition=Ready", "mcpap", "--all", "--timeout=60s")
                time.sleep(_SETTLE_SECONDS)
                idle = resident_bytes(service.pid)
    return [
        {**taken.summary(), "goal_ms": _GOAL_SECONDS * 1000},
        {"name": f"service idle, {POLICIES} policies, resident memory", "bytes": idle, "goal_bytes": _GOAL_BYTES},
    ]


def resident_bytes(pid: int) -> int:
    """The process's resident memory (RSS), shared pages included."""
    pages = int((Path("/proc") / str(pid) / "statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _policies() -> dict[str, Any]:
    """As teams write them: a subject of its own each, a rule that reads and one that writes."""
    items = [
        {
            "apiVersion": "k8s-mcp.io/v1alpha1",
            "kind": "McpAccessPolicy",
            "metadata": {"name": f"team-{number}"},
            "spec": {
                "subjects": [{"kind": "ServiceAccount", "namespace": "agents", "name": f"team-{number}"}],
                "rules": [
                    {
                        "name": "read",
                        "namespaces": [f"team-{number}", f"team-{number}-staging"],
                        "apiGroups": ["*"],
                        "resources": ["*"],
                        "verbs": ["get", "list", "watch"],
                    },
                    {
                        "name": "deploy",
                        "namespaceSelector": {"matchLabels": {"example.com/team": f"team-{number}"}},
                        "apiGroups": ["apps"],
                        "resources": ["deployments", "deployments/scale"],
                        "verbs": ["create", "update", "patch", "delete"],
                    },
                ],
            },
        }
        for number in range(POLICIES)
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}
