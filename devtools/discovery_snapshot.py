"""Writes down what Kubernetes itself serves, for the policy commands, which work without a cluster.

    python -m devtools.discovery_snapshot

starts a cluster, reads its aggregated discovery and writes ``operator/k8s_mcp_server/authoring/data/discovery.json``.
A test compares the file with a real API server (tests/integration/test_discovery_snapshot.py).
"""

from __future__ import annotations

import json
import ssl
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devtools.cluster import KwokCluster

if TYPE_CHECKING:
    from devtools.cluster import TestCluster

SNAPSHOT = Path(__file__).parents[1] / "operator" / "k8s_mcp_server" / "authoring" / "data" / "discovery.json"
PATHS = ("/api", "/apis")
_ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_SECONDS = 30
_AGGREGATOR = "apiregistration.k8s.io"  # the one built-in group that no APIService stands for


def read_snapshot(cluster: TestCluster) -> dict[str, Any]:
    """The API server's version and both discovery documents, without what differs from one cluster to the next.

    Groups that custom resources or other servers brought are left out.
    """
    cluster.kubectl("wait", "serviceaccount/default", "-n", "default", "--for=create", "--timeout=30s")
    built_in = {_AGGREGATOR} | {
        (item["metadata"]["name"]).partition(".")[2]
        for item in json.loads(cluster.kubectl("get", "apiservices", "-o", "json").stdout)["items"]
        if item["metadata"].get("labels", {}).get("kube-aggregator.kubernetes.io/automanaged") == "onstart"
    }
    documents = {path: _get(cluster, path) for path in PATHS}
    for document in documents.values():
        document["metadata"] = {}
        groups = [_without_hashes(item) for item in document["items"] if item["metadata"].get("name", "") in built_in]
        document["items"] = sorted(groups, key=lambda item: str(item["metadata"].get("name", "")))
    return {"gitVersion": _get(cluster, "/version")["gitVersion"], **documents}


def render(snapshot: dict[str, Any]) -> str:
    """The file's text: indented, so that a difference can be read."""
    return json.dumps(snapshot, indent=1, sort_keys=True) + "\n"


def _without_hashes(group: dict[str, Any]) -> dict[str, Any]:
    group["metadata"] = {key: value for key, value in group["metadata"].items() if key == "name"}
    for version in group["versions"]:
        version.pop("freshness", None)
    return group


def _get(cluster: TestCluster, path: str) -> dict[str, Any]:
    token = cluster.service_account_token("default", "default")
    headers = {"Authorization": f"Bearer {token}", "Accept": _ACCEPT if path in PATHS else "application/json"}
    request = urllib.request.Request(f"https://{cluster.host}:{cluster.port}{path}", headers=headers)
    context = ssl.create_default_context(cafile=str(cluster.ca_file))
    with urllib.request.urlopen(request, context=context, timeout=_SECONDS) as answer:  # noqa: S310 - https
        found: dict[str, Any] = json.load(answer)
    return found


def main() -> None:
    """Write the file anew."""
    with KwokCluster.start(name="discovery", nodes=0, on_progress=print) as cluster:
        SNAPSHOT.write_text(render(read_snapshot(cluster)), encoding="utf-8")
    print(f"wrote {SNAPSHOT}")


if __name__ == "__main__":
    main()
