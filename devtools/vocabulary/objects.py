"""What a namespace of the vocabulary holds before its first command."""

from __future__ import annotations

from typing import Any

Manifest = dict[str, Any]

_IMAGE = "example.com/web:1"


def objects() -> list[Manifest]:
    """The objects, for the namespace that they are applied to."""
    return [*_workloads(), *_configuration(), *_network()]


def manifest(api_version: str, kind: str, name: str, **fields: Any) -> Manifest:
    """An object with a name and these further fields."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, **fields}


def template(name: str, *containers: str, **spec: Any) -> Manifest:
    """A pod template with the label ``app``."""
    named = [{"name": item, "image": _IMAGE} for item in containers or ("main",)]
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": named, **spec}}


def selecting(name: str, **fields: Any) -> Manifest:
    """The spec of a workload: a template and the selector that finds its pods."""
    return {"selector": {"matchLabels": {"app": name}}, "template": template(name), **fields}


def _workloads() -> list[Manifest]:
    pod = template("web", "main", "side")
    web = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", **pod["metadata"]}, "spec": pod["spec"]}
    job = {"template": template("once", restartPolicy="Never"), "backoffLimit": 1}
    return [
        web,
        manifest("apps/v1", "Deployment", "app", spec=selecting("app", replicas=2)),
        manifest("apps/v1", "StatefulSet", "base", spec=selecting("base", replicas=1, serviceName="web")),
        manifest("apps/v1", "DaemonSet", "agent", spec=selecting("agent")),
        manifest("batch/v1", "Job", "once", spec=job),
        manifest("batch/v1", "CronJob", "nightly", spec={"schedule": "0 3 1 1 *", "jobTemplate": {"spec": job}}),
    ]


def _configuration() -> list[Manifest]:
    group = "rbac.authorization.k8s.io"
    reader = {"apiGroup": group, "kind": "Role", "name": "reader"}
    return [
        manifest("v1", "ConfigMap", "settings", data={"a": "1"}),
        manifest("v1", "Secret", "password", stringData={"a": "hidden"}),
        manifest("v1", "ServiceAccount", "builder"),
        manifest(f"{group}/v1", "Role", "reader", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]),
        manifest(
            f"{group}/v1",
            "RoleBinding",
            "reader",
            roleRef=reader,
            subjects=[{"kind": "ServiceAccount", "name": "builder"}],
        ),
        manifest("v1", "ResourceQuota", "quota", spec={"hard": {"services": "50"}}),
        manifest("v1", "LimitRange", "limits", spec={"limits": [{"type": "Container", "max": {"cpu": "8"}}]}),
        manifest(
            "v1",
            "PersistentVolumeClaim",
            "data",
            spec={
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
                "volumeName": "none",
            },
        ),
    ]


def _network() -> list[Manifest]:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}
    return [
        manifest("v1", "Service", "web", spec={"selector": {"app": "web"}, "ports": [{"port": 80}]}),
        manifest(
            "networking.k8s.io/v1",
            "Ingress",
            "web",
            spec={"rules": [{"host": "example.com", "http": {"paths": [path]}}]},
        ),
        manifest("networking.k8s.io/v1", "NetworkPolicy", "web", spec={"podSelector": {"matchLabels": {"app": "web"}}}),
        manifest(
            "policy/v1",
            "PodDisruptionBudget",
            "web",
            spec={"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        ),
        manifest(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "app",
            spec={"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 2},
        ),
    ]
