"""Where the vocabulary runs: twin namespaces that begin alike, and one ServiceAccount that may do everything.

The gateway acts as that ServiceAccount; the direct commands carry its token. So both have the same rights, and what
differs between them is the gateway.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devtools.vocabulary.metrics import definitions, node_metrics, pod_metrics
from devtools.vocabulary.objects import manifest, objects

if TYPE_CHECKING:
    from devtools.cluster import TestCluster

ACCOUNT = "gateway"
SIDES = ("a", "b")
_DEFINED = tuple(f"crd/{item['metadata']['name']}" for item in definitions())
_SETTLED = (
    ("deployment/app", "condition=Available"),
    ("statefulset/base", "jsonpath={.status.availableReplicas}=1"),
    ("pod/web", "condition=Ready"),
    ("job/once", "condition=Complete"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the commands meet.

    Args:
        mark: in the name of everything that is made, so that it is nobody else's.
        token: of the ServiceAccount with every right.
    """

    cluster: TestCluster
    mark: str
    token: str = field(repr=False)

    @property
    def own(self) -> str:
        """The namespace of the ServiceAccount."""
        return f"eq-own-{self.mark}"

    @property
    def service_account(self) -> str:
        """Its username."""
        return f"system:serviceaccount:{self.own}:{ACCOUNT}"

    def names(self, side: str) -> dict[str, str]:
        """The placeholders of steps on one side."""
        return {"namespace": f"eq-{side}-{self.mark}", "mark": f"{side}-{self.mark}"}


@contextmanager
def empowered(cluster: TestCluster, *, keep: bool = False) -> Iterator[Site]:
    """A ServiceAccount with every right, and nothing else; it goes at the end, unless it is to be kept.

    Raises:
        ClusterError: the API server refused.
    """
    mark = uuid.uuid4().hex[:8]
    own = f"eq-own-{mark}"
    apply(cluster, manifest("v1", "Namespace", own), *_account(mark, own=own))
    try:
        yield Site(cluster=cluster, mark=mark, token=cluster.service_account_token(own, ACCOUNT))
    finally:
        if not keep:
            cluster.kubectl("delete", "namespace", own, "--wait=false", "--ignore-not-found")
            cluster.kubectl("delete", "clusterrole,clusterrolebinding", f"everything-{mark}", "--ignore-not-found")


@contextmanager
def prepared(cluster: TestCluster, *, keep: bool = False) -> Iterator[Site]:
    """The site with its twins, their objects at rest; what was made goes at the end, unless it is to be kept.

    Raises:
        ClusterError: the API server refused, or an object did not come to be ready.
    """
    with empowered(cluster, keep=keep) as site:
        twins = [site.names(side)["namespace"] for side in SIDES]
        apply(cluster, *(manifest("v1", "Namespace", name) for name in twins), *definitions())
        try:
            cluster.kubectl("wait", *_DEFINED, "--for=condition=Established", "--timeout=30s")
            apply(cluster, node_metrics("node-000000"))
            for namespace in twins:
                cluster.kubectl("wait", "serviceaccount/default", "-n", namespace, "--for=create", "--timeout=30s")
                apply(cluster, *objects(), pod_metrics("web", "main", "side"), namespace=namespace)
            for namespace in twins:
                for what, condition in _SETTLED:
                    cluster.kubectl("wait", what, "-n", namespace, f"--for={condition}", "--timeout=60s")
            yield site
        finally:
            if not keep:
                cluster.kubectl("delete", *_DEFINED, "--ignore-not-found")
                cluster.kubectl("delete", "namespace", *twins, "--wait=false", "--ignore-not-found")


def apply(cluster: TestCluster, *items: dict[str, Any], namespace: str = "") -> None:
    """Create or change objects as the administrator. Raises ClusterError."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    where = ("--namespace", namespace) if namespace else ()
    cluster.kubectl("apply", *where, "-f", "-", input=text)


def _account(mark: str, *, own: str) -> list[dict[str, Any]]:
    group, name = "rbac.authorization.k8s.io", f"everything-{mark}"
    account = manifest("v1", "ServiceAccount", ACCOUNT)
    account["metadata"]["namespace"] = own
    return [
        account,
        manifest(
            f"{group}/v1",
            "ClusterRole",
            name,
            rules=[
                {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
                {"nonResourceURLs": ["*"], "verbs": ["*"]},
            ],
        ),
        manifest(
            f"{group}/v1",
            "ClusterRoleBinding",
            name,
            roleRef={"apiGroup": group, "kind": "ClusterRole", "name": name},
            subjects=[{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": own}],
        ),
    ]
