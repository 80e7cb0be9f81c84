"""What Argo CD finds in its namespace when it starts: settings, RBAC, an account for this service, a project."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Any

NAMESPACE = "argocd"
ACCOUNT = "k8s-mcp-server"
_PART = {"app.kubernetes.io/part-of": "argocd"}
_EMPTY = (
    "argocd-cmd-params-cm", "argocd-ssh-known-hosts-cm", "argocd-tls-certs-cm", "argocd-gpg-keys-cm",
)  # fmt: skip
_SETTINGS = {
    f"accounts.{ACCOUNT}": "apiKey",
    "application.resourceTrackingMethod": "annotation",
    "timeout.reconciliation": "30s",
    "timeout.reconciliation.jitter": "0s",
}
# Wider than any policy of the tests: what keeps a client within its own is the gateway.
_RBAC = f"""
p, role:wide, applications, *, */*, allow
p, role:wide, projects, *, *, allow
p, role:wide, repositories, *, *, allow
p, role:wide, clusters, *, *, allow
p, role:wide, logs, get, */*, allow
g, {ACCOUNT}, role:wide
"""


def objects(*, password_hash: str, certificate: str, key: str) -> dict[str, Any]:
    """A List of all of them.

    Args:
        password_hash: of the administrator, bcrypt.
        certificate: of the server, PEM; ``key`` belongs to it.
    """
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            _config_map("argocd-cm", _SETTINGS),
            _config_map("argocd-rbac-cm", {"policy.default": "", "policy.csv": _RBAC}),
            *(_config_map(name, {}) for name in _EMPTY),
            _secret(
                "argocd-secret",
                {
                    "server.secretkey": secrets.token_urlsafe(32),
                    "admin.password": password_hash,
                    "admin.passwordMtime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                },
            ),
            _secret("argocd-server-tls", {"tls.crt": certificate, "tls.key": key}, kind="kubernetes.io/tls"),
        ],
    }


def project(name: str, **spec: Any) -> dict[str, Any]:
    """An AppProject that allows everything, but for what ``spec`` says."""
    everything = {
        "sourceRepos": ["*"],
        "destinations": [{"server": "*", "namespace": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {**everything, **spec},
    }


def repository(url: str, *, project: str = "") -> dict[str, Any]:
    """A repository as Argo CD keeps it: a labelled Secret."""
    name = f"repository-{hashlib.sha256(f'{project}/{url}'.encode()).hexdigest()[:10]}"
    secret = _secret(name, {"type": "git", "url": url, **({"project": project} if project else {})})
    secret["metadata"]["labels"]["argocd.argoproj.io/secret-type"] = "repository"
    return secret


def _config_map(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(name), "data": data}


def _secret(name: str, data: dict[str, str], *, kind: str = "Opaque") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": _metadata(name), "stringData": data}


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "labels": {**_PART, "app.kubernetes.io/name": name}}
