"""A policy that allows everything that a policy can allow: also what is sensitive, by its literal name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8s_mcp_server.policy.sensitive import (
    SENSITIVE_RESOURCES,
    SENSITIVE_VERBS,
)
from k8s_mcp_server.policy.virtual import VIRTUAL_GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8s_mcp_server.policy.catalog import Catalog

CLIENTS = "vocabulary-"
"""What the clients' names begin with."""

_NODES = ("log", "metrics", "proxy", "stats", "status")
_MOST_RESOURCES = 120  # of one rule, as the CRD has it


def everything(catalog: Catalog, *, namespaces: Iterable[str]) -> dict[str, Any]:
    """The McpAccessPolicy, for the resources and namespaces that there are."""
    groups = sorted({item.group for item in catalog})
    by_group = {group: sorted(item.resource for item in catalog if item.group == group) for group in groups}
    fields = {"verbs": ["*", *sorted(SENSITIVE_VERBS)], "allowPrivilegedWorkloads": True}
    places: list[dict[str, Any]] = [{"namespaces": ["*", *namespaces]}, {"clusterScoped": True}]
    rules: list[dict[str, Any]] = [{"nonResourceURLs": ["/*"], "verbs": ["*"]}]
    for group in groups:
        resources = ["*", *_literally(group, by_group[group])]
        rules += [{**fields, **place, "apiGroups": [group], "resources": resources} for place in places]
    return {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {"name": "everything", "uid": "1", "resourceVersion": "1", "generation": 1},
        "spec": {"subjects": [{"kind": "User", "name": f"{CLIENTS}*"}], "rules": rules},
    }


def _literally(group: str, resources: list[str]) -> list[str]:
    sensitive = [
        f"{resource}/{subresource}"
        for item_group, resource, subresource in sorted(SENSITIVE_RESOURCES - {("", "bindings", "")})
        if item_group == group and group not in VIRTUAL_GROUPS and subresource
    ]
    parts = [f"{item}/{part}" for item in resources for part in ("status", "finalize", "approval")]
    nodes = [f"nodes/{item}" for item in _NODES] if not group else []
    return [*resources, *sensitive, *nodes, *parts][:_MOST_RESOURCES]
