"""Which writes the API server can make without changing anything.

Those of kube-apiserver's own storage, custom resources included. Never: streams into pods, tokens, proxies, and
whatever an aggregated API server would do with the parameter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.argocd import is_of_argocd
from k8s_mcp_server.policy.sensitive import is_writing
from k8s_mcp_server.policy.virtual import HELM_GROUP

if TYPE_CHECKING:
    from k8s_mcp_server.policy.catalog import Catalog
    from k8s_mcp_server.policy.request import RequestInfo

_READING_METHODS: Final = frozenset({"get", "head", "options"})
_VERBS: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_SUBRESOURCES: Final = frozenset({"", "status", "scale", "eviction", "resize", "ephemeralcontainers", "approval"})
_CONNECTS: Final = frozenset({"attach", "exec", "portforward", "proxy"})
_ARGOCD: Final = frozenset({("applications", "sync")})  # the gateway refuses the call that has none (a termination)
_WITHOUT: Final = frozenset({("", "bindings")})

# Groups that kube-apiserver serves itself: k8s.io/kubernetes/pkg/controlplane/apiserver/apis.go and the two servers
# that it delegates to. Tokens and reviews are there, too, and are no writes of storage.
_OWN_GROUPS: Final = frozenset(
    {
        "", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps", "autoscaling",
        "batch", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io",
        "flowcontrol.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io",
        "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io",
    }
)  # fmt: skip


def may_change(request: RequestInfo) -> bool:
    """Whether the request may change something: a stream into a pod or through a proxy may, whatever its verb."""
    if not request.is_resource_request:
        return request.verb not in _READING_METHODS
    return is_writing(request.verb) or request.upgrade or request.subresource in _CONNECTS


def has_dry_run(request: RequestInfo, catalog: Catalog) -> bool:
    """Whether the write can be made with ``dryRun=All``, so that nothing changes."""
    group, resource = request.api_group, request.resource
    if is_of_argocd(request):
        return (resource, request.verb) in _ARGOCD
    if not request.is_resource_request or request.upgrade or request.verb not in _VERBS:
        return False
    if request.subresource not in _SUBRESOURCES or (group, resource) in _WITHOUT:
        return False
    if group == HELM_GROUP:  # its releases are Secrets
        return resource == "releases"
    found = catalog.find(group=group, resource=resource)
    return group in _OWN_GROUPS or (found is not None and found.custom)
