from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s_mcp_server.cluster.events import NAMESPACE
from k8s_mcp_server.cluster.lease import LEASE_NAME
from k8s_mcp_server.cluster.permissions import REQUIRED_PERMISSIONS, Permission, Within
from k8s_mcp_server.policy.environment import Environment

pytestmark = pytest.mark.unit

BASE = Path(__file__).parents[3] / "manifests" / "base"


def rules(kind: str, namespace: str | None) -> set[tuple[str, str, tuple[str, ...], frozenset[str]]]:
    """Every (group, resource, names, verbs) that the manifests' roles of this kind, in this namespace, give it."""
    documents: list[dict[str, Any]] = list(yaml.safe_load_all((BASE / "rbac-own.yaml").read_text(encoding="utf-8")))
    return {
        (group, resource, tuple(rule.get("resourceNames", ())), frozenset(rule["verbs"]))
        for document in documents
        if document["kind"] == kind and document["metadata"].get("namespace") == namespace
        for rule in document["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def row(permission: Permission) -> tuple[str, str, tuple[str, ...], frozenset[str]]:
    return (permission.api_group, permission.resource, permission.resource_names, frozenset(permission.verbs))


@pytest.mark.parametrize(
    ("kind", "namespace", "within"),
    [
        pytest.param("ClusterRole", None, Within.CLUSTER, id="cluster"),
        pytest.param("Role", None, Within.OWN_NAMESPACE, id="own"),  # the kustomization's namespace
        pytest.param("Role", NAMESPACE, Within.EVENTS_NAMESPACE, id="events"),
    ],
)
def test_the_manifests_give_what_the_service_needs_for_itself_and_nothing_more(
    kind: str, namespace: str | None, within: Within
) -> None:
    wanted = {row(permission) for permission in REQUIRED_PERMISSIONS if permission.within is within}

    assert rules(kind, namespace) == wanted


def test_the_lease_is_made_beforehand() -> None:
    lease = yaml.safe_load((BASE / "lease.yaml").read_text(encoding="utf-8"))

    assert lease["kind"] == "Lease"
    assert lease["metadata"]["name"] == LEASE_NAME
    assert lease["metadata"].get("namespace", Environment().own_namespace) == Environment().own_namespace
