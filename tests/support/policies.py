"""Objects as the API server returns them, for tests."""

from __future__ import annotations

from typing import Any

SUBJECT = {"kind": "ServiceAccount", "namespace": "agents", "name": "deployer"}
RULE = {"namespaces": ["team-a"], "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}


def policy_body(
    name: str = "team-a",
    *,
    version: str = "1",
    generation: int = 1,
    uid: str = "",
    spec: Any = None,
    status: dict[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """An McpAccessPolicy that names one ServiceAccount and gives it one rule; ``fields`` go into its spec."""
    body: dict[str, Any] = {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {
            "name": name,
            "uid": uid or f"uid-{name}",
            "resourceVersion": version,
            "generation": generation,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"subjects": [SUBJECT], "rules": [RULE], **fields} if spec is None else spec,
    }
    return body if status is None else {**body, "status": status}


def namespace_body(name: str, *, version: str = "1", labels: dict[str, str] | None = None) -> dict[str, Any]:
    """A Namespace."""
    metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": version, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def role_body(name: str, *rules: dict[str, Any], version: str = "1") -> dict[str, Any]:
    """A ClusterRole."""
    metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": version}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": list(rules),
    }
