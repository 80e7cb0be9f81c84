"""Writes down what Kubernetes itself serves and which roles it brings, for the policy commands, which need no cluster.

    python -m devtools.kubernetes_snapshot

starts a cluster and writes two files into ``operator/k8s_mcp_server/authoring/data``: ``discovery.json``, the API
server's aggregated discovery, and ``clusterroles.json``, its own ClusterRoles. A test compares both with a real API
server (tests/integration/test_kubernetes_snapshot.py).
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

_DATA = Path(__file__).parents[1] / "operator" / "k8s_mcp_server" / "authoring" / "data"
DISCOVERY = _DATA / "discovery.json"
CLUSTER_ROLES = _DATA / "clusterroles.json"
PATHS = ("/api", "/apis")
OWN_ROLES = "kubernetes.io/bootstrapping=rbac-defaults"
_ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_SECONDS = 30
_AGGREGATOR = "apiregistration.k8s.io"  # the one built-in group that no APIService stands for


def read_discovery(cluster: TestCluster) -> dict[str, Any]:
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


def read_cluster_roles(cluster: TestCluster) -> dict[str, Any]:
    """Kubernetes' own ClusterRoles: name, labels and rules; of an aggregated one, the labels of its parts instead."""
    found = json.loads(cluster.kubectl("get", "clusterroles", "--selector", OWN_ROLES, "--output=json").stdout)
    return {
        "gitVersion": _get(cluster, "/version")["gitVersion"],
        "items": sorted(map(_role, found["items"]), key=lambda item: str(item["metadata"]["name"])),
    }


def render(snapshot: dict[str, Any]) -> str:
    """The file's text: indented, so that a difference can be read."""
    return json.dumps(snapshot, indent=1, sort_keys=True) + "\n"


def _role(body: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": body["metadata"]["name"], "labels": body["metadata"].get("labels", {})}
    given = {"aggregationRule": body["aggregationRule"]} if "aggregationRule" in body else {"rules": body["rules"]}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, **given}


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
    """Write the files anew."""
    with KwokCluster.start(name="snapshot", nodes=0, on_progress=print) as cluster:
        for path, read in ((DISCOVERY, read_discovery), (CLUSTER_ROLES, read_cluster_roles)):
            path.write_text(render(read(cluster)), encoding="utf-8")
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
