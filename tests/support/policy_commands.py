"""The policy commands as a shell sees them, and files for them in few words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from k8s_mcp_server.cli import app

GROUP = {"kind": "Group", "name": "oidc:team-a"}
RBAC = "rbac.authorization.k8s.io"
ENFORCED = {"pod-security.kubernetes.io/enforce": "baseline"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """What was printed for machines."""
        return yaml.safe_load(self.out)


def run(*words: object, stdin: str | None = None) -> Answer:
    """Run ``k8s-mcp-server`` with these words."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Answer(result.exit_code, result.stdout, result.stderr)


def rule(verbs: str = "get list", resources: str = "pods", *, groups: str = "-", **fields: Any) -> dict[str, Any]:
    """A rule; words are separated by blanks, ``-`` is the core group. Its namespace is team-a unless stated."""
    scoped = {"namespaces", "namespaceSelector", "clusterScoped", "nonResourceURLs"} & set(fields)
    scope: dict[str, Any] = {} if scoped else {"namespaces": ["team-a"]}
    api_groups = ["" if group == "-" else group for group in groups.split()]
    return {**scope, "apiGroups": api_groups, "resources": resources.split(), "verbs": verbs.split(), **fields}


def policy(*rules: dict[str, Any], name: str = "sample", **spec: Any) -> dict[str, Any]:
    """A policy for the group oidc:team-a."""
    return {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {"name": name},
        "spec": {"subjects": [GROUP], "rules": list(rules), **spec},
    }


def namespace(name: str, **labels: str) -> dict[str, Any]:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def role(name: str, *rules: dict[str, Any], **labels: str) -> dict[str, Any]:
    """A ClusterRole."""
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": list(rules)}


def role_rule(verbs: str, resources: str, *, groups: str = "-", **fields: Any) -> dict[str, Any]:
    """A rule of a ClusterRole; words are separated by blanks, ``-`` is the core group."""
    return {key: value for key, value in rule(verbs, resources, groups=groups, **fields).items() if key != "namespaces"}


def binding(role_name: str, subject: dict[str, Any], *, namespace: str = "") -> dict[str, Any]:
    """A binding of a ClusterRole: in a namespace, or everywhere."""
    metadata = {"name": f"{role_name}-{subject['name']}", **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role_name},
        "subjects": [subject],
    }


def enforced(name: str) -> dict[str, Any]:
    """A Namespace in which Pod Security enforces."""
    return namespace(name, **ENFORCED)


def crd(plural: str, *, group: str, kind: str, scope: str = "Namespaced") -> dict[str, Any]:
    """A CustomResourceDefinition with a status and a scale."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "kind": kind, "singular": kind.lower()},
            "versions": [{"name": "v1", "served": True, "storage": True, "subresources": {"status": {}, "scale": {}}}],
        },
    }


def write(path: Path, *documents: dict[str, Any]) -> Path:
    """Write a file of YAML documents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
    return path
