"""The metrics API of the vocabulary's cluster: custom resources of the same names, for no simulated node has usage."""

from __future__ import annotations

from typing import Any

from devtools.vocabulary.objects import Manifest, manifest

GROUP = "metrics.k8s.io"
_VERSION = f"{GROUP}/v1beta1"
_SCHEMA = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
_USAGE = {"cpu": "5m", "memory": "20Mi"}
_TAKEN = {"timestamp": "2026-01-01T00:00:00Z", "window": "10s"}


def definitions() -> list[Manifest]:
    """What makes the API server serve the group."""
    return [_definition("pods", kind="PodMetrics", scope="Namespaced"), _definition("nodes", kind="NodeMetrics")]


def pod_metrics(name: str, *containers: str) -> Manifest:
    """The usage of a pod."""
    used = [{"name": container, "usage": _USAGE} for container in containers]
    return manifest(_VERSION, "PodMetrics", name, containers=used, **_TAKEN)


def node_metrics(name: str) -> Manifest:
    """The usage of a node."""
    return manifest(_VERSION, "NodeMetrics", name, usage=_USAGE, **_TAKEN)


def _definition(plural: str, *, kind: str, scope: str = "Cluster") -> Manifest:
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
    version: dict[str, Any] = {"name": "v1beta1", "served": True, "storage": True, "schema": _SCHEMA}
    spec = {"group": GROUP, "names": names, "scope": scope, "versions": [version]}
    item = manifest("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{plural}.{GROUP}", spec=spec)
    item["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, a stand-in of tests"}
    return item
