"""What is checked in about Kubernetes itself is what the API server of this version serves."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from devtools.cluster import KwokCluster, TestCluster
from devtools.kubernetes_snapshot import CLUSTER_ROLES, DISCOVERY, read_cluster_roles, read_discovery, render
from k8s_mcp_server.authoring.cluster_state import read_cluster_state
from k8s_mcp_server.policy.roles import RoleRule, read_role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

pytestmark = pytest.mark.integration

IN_FORCE_SECONDS = 20.0  # the controller fills roles in after the API server made them


@pytest.mark.parametrize(
    ("file", "read"),
    [
        pytest.param(DISCOVERY, read_discovery, id="what is served"),
        pytest.param(CLUSTER_ROLES, read_cluster_roles, id="its own roles"),
    ],
)
def test_the_snapshot_is_what_kubernetes_has(
    cluster: TestCluster, file: Path, read: Callable[[TestCluster], dict[str, Any]]
) -> None:
    if not isinstance(cluster, KwokCluster):
        pytest.skip("an existing cluster may have another version")
    stored = file.read_text(encoding="utf-8")
    served = read(cluster)
    assert served == json.loads(stored), "python -m devtools.kubernetes_snapshot writes it anew"
    assert render(served) == stored


def test_an_aggregated_role_is_known_to_give_what_the_controller_makes_of_it(cluster: TestCluster) -> None:
    if not isinstance(cluster, KwokCluster):
        pytest.skip("an existing cluster may have another version, and parts of its own")
    known = read_cluster_state(()).roles
    deadline = time.monotonic() + IN_FORCE_SECONDS
    for name in ("view", "edit", "admin"):
        while set(known[name].rules) != _served_rules(cluster, name):
            assert time.monotonic() < deadline, f"{name} gives something else in the cluster"


def _served_rules(cluster: TestCluster, name: str) -> set[RoleRule]:
    return set(read_role(json.loads(cluster.kubectl("get", "clusterrole", name, "--output=json").stdout)).rules)
