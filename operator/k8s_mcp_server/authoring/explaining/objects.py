"""Objects as plausible as a CLI needs them, to go on to its next request."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from k8s_mcp_server.policy.request import RequestInfo

EXAMPLE: Final = "example"
_LABELS: Final = {"app": EXAMPLE}
_POD: Final = {"containers": [{"name": "main", "image": "example"}], "nodeName": "node-1", "restartPolicy": "Always"}
_READY: Final = {"observedGeneration": 1} | dict.fromkeys(
    ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "currentReplicas"), 1
)
_TEMPLATED: Final = frozenset({"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job"})


def plausible(request: RequestInfo, *, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
    """An object of this kind that exists and is well."""
    version = f"{request.api_group}/{request.api_version}" if request.api_group else request.api_version
    metadata: dict[str, Any] = {
        "name": name,
        "uid": "00000000-0000-0000-0000-000000000000",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": _LABELS,
    }
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **_parts(kind)}


def scale(request: RequestInfo) -> dict[str, Any]:
    """The scale of a workload."""
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": request.name, "namespace": request.namespace, "resourceVersion": "1"},
        "spec": {"replicas": 1},
        "status": {"replicas": 1, "selector": f"app={EXAMPLE}"},
    }


def status(*, code: int, reason: str = "", message: str = "") -> dict[str, Any]:
    """A ``Status``, as the API server ends a request with that has no object to return."""
    is_success = code < HTTPStatus.BAD_REQUEST
    outcome = {"status": "Success"} if is_success else {"status": "Failure", "reason": reason, "message": message}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": code, **outcome}


def _parts(kind: str) -> dict[str, Any]:
    template = {"metadata": {"labels": _LABELS}, "spec": _POD}
    if kind == "Pod":
        conditions = [{"type": "Ready", "status": "True"}]
        running = [{"name": "main", "ready": True, "state": {"running": {}}}]
        return {
            "spec": _POD,
            "status": {"phase": "Running", "conditions": conditions, "containerStatuses": running},
        }
    if kind in _TEMPLATED:
        condition = {"type": "Complete" if kind == "Job" else "Available", "status": "True"}
        selector = _LABELS if kind == "ReplicationController" else {"matchLabels": _LABELS}
        return {
            "spec": {"replicas": 1, "selector": selector, "template": template},
            "status": {**_READY, "conditions": [condition]},
        }
    if kind == "CronJob":
        return {"spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template}}}}
    if kind == "Service":
        return {"spec": {"selector": _LABELS, "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]}}
    return {"data": {}} if kind in {"ConfigMap", "Secret"} else {}
