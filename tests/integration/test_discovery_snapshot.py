"""The checked-in discovery is what the API server of this version serves."""

from __future__ import annotations

import json

import pytest

from devtools.cluster import KwokCluster, TestCluster
from devtools.discovery_snapshot import SNAPSHOT, read_snapshot, render

pytestmark = pytest.mark.integration


def test_the_snapshot_is_what_kubernetes_serves(cluster: TestCluster) -> None:
    if not isinstance(cluster, KwokCluster):
        pytest.skip("an existing cluster may have another version")
    stored = SNAPSHOT.read_text(encoding="utf-8")
    served = read_snapshot(cluster)
    assert served == json.loads(stored), "python -m devtools.discovery_snapshot writes it anew"
    assert render(served) == stored
