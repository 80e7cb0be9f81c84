"""What the service's own ServiceAccount must be allowed for the service itself to work, and nothing more.

What agents may do through it comes on top, and is the cluster administrator's choice.
``manifests/base/rbac-own.yaml`` is compared with this by a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from k8s_mcp_server.cluster.lease import LEASE_NAME
from k8s_mcp_server.policy.environment import Environment


class Within(StrEnum):
    """Where a permission must hold: by a ClusterRole, or by a Role in one of two namespaces."""

    CLUSTER = "cluster"
    OWN_NAMESPACE = "own namespace"
    EVENTS_NAMESPACE = "events' namespace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One rule in RBAC's words.

    Args:
        api_group: "" for the core group.
        resource: plural, with its subresource.
        verbs: all that are used.
        resource_names: the only objects; empty means all.
        within: where it must hold.
        reason: what it is for.
    """

    api_group: str
    resource: str
    verbs: tuple[str, ...]
    resource_names: tuple[str, ...] = ()
    within: Within = Within.CLUSTER
    reason: str


# Discovery (/api, /apis, /version) needs the ClusterRole system:discovery, which every authenticated user has.
REQUIRED_PERMISSIONS: Final = (
    Permission(
        api_group="k8s-mcp.io",
        resource="mcpaccesspolicies",
        verbs=("list", "watch"),
        reason="decisions",
    ),
    Permission(
        api_group="k8s-mcp.io",
        resource="mcpaccesspolicies/status",
        verbs=("patch",),
        reason="the Ready and Active conditions, by server-side apply",
    ),
    Permission(
        api_group="",
        resource="namespaces",
        verbs=("list", "watch"),
        reason="selectors, globs and Pod Security labels in decisions",
    ),
    Permission(
        api_group="rbac.authorization.k8s.io",
        resource="clusterroles",
        verbs=("list", "watch"),
        reason="the roles that policies follow (roleRef)",
    ),
    Permission(
        api_group="apiextensions.k8s.io",
        resource="customresourcedefinitions",
        verbs=("list", "watch"),
        reason="kopf notices when the policies' CRD comes and goes; and which resources have a dry run",
    ),
    Permission(
        api_group="authentication.k8s.io",
        resource="tokenreviews",
        verbs=("create",),
        reason="who a client is",
    ),
    Permission(
        api_group="authorization.k8s.io",
        resource="subjectaccessreviews",
        verbs=("create",),
        reason="what a client may do by the cluster's own RBAC (fromRBAC)",
    ),
    Permission(
        api_group="coordination.k8s.io",
        resource="leases",
        verbs=("get", "update"),
        resource_names=(LEASE_NAME,),
        within=Within.OWN_NAMESPACE,
        reason="one replica writes status",
    ),
    Permission(
        api_group="events.k8s.io",
        resource="events",
        verbs=("create", "patch"),
        within=Within.EVENTS_NAMESPACE,
        reason="what occurs to policies, for kubectl describe",
    ),
    Permission(
        api_group="",
        resource="serviceaccounts",
        verbs=("impersonate",),
        resource_names=(Environment().own_service_account,),
        within=Within.OWN_NAMESPACE,
        reason="forwarded requests impersonate our own account, and nobody else's …",
    ),
    Permission(
        api_group="",
        resource="groups",
        verbs=("impersonate",),
        resource_names=(
            "system:serviceaccounts",
            f"system:serviceaccounts:{Environment().own_namespace}",
            "k8s-mcp.io:commands",
        ),
        reason="… with its own groups and one that tells commands' requests from the service's …",
    ),
    Permission(
        api_group="authentication.k8s.io",
        resource="userextras/k8s-mcp.io/client",
        verbs=("impersonate",),
        reason="… to name the client in the API server's audit log",
    ),
)
