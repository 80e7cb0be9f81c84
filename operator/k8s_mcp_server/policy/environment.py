"""What the server itself is: facts that every decision takes from the settings, not from a policy."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_PROTECTED_NAMESPACES = frozenset({"argocd", "istio-system"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The server's own identity and the limits that hold for all policies.

    Args:
        own_namespace: never reachable by anyone, and cut out of every list.
        own_service_account: name of the pod's ServiceAccount in ``own_namespace``.
        audience: tokens for this audience are never minted through us.
        protected_namespaces: globs and selectors never match these (nor ``kube-*``, nor our own).
        istio_namespace: where the control plane of the service mesh is.
        max_snapshot_age: seconds after which policies and namespaces are too old to decide from.
    """

    own_namespace: str = "k8s-mcp-system"
    own_service_account: str = "k8s-mcp-server"
    audience: str = "k8s-mcp-server"
    protected_namespaces: frozenset[str] = DEFAULT_PROTECTED_NAMESPACES
    max_snapshot_age: float = 30.0
    istio_namespace: str = "istio-system"
