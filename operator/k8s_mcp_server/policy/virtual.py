"""Resources that exist only here: what the CLIs do that is no request to the API server, or more than one.

A policy names them like any other resource, literally; no API server serves them, and no wildcard reaches them. The
gateway asks the one decision function about them in the name of what a command really does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.catalog import ApiResource, Scope
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.sensitive import COLLECTION_READS

if TYPE_CHECKING:
    from k8s_mcp_server.policy.catalog import Catalog

HELM_GROUP: Final = "helm.sh"
ISTIOCTL_GROUP: Final = "istioctl.istio.io"
ARGOCD_GROUP: Final = "argocd.argoproj.io"
VIRTUAL_GROUPS: Final = frozenset({HELM_GROUP, ISTIOCTL_GROUP, ARGOCD_GROUP})

VIRTUAL_RESOURCES: Final = (
    # Helm's records of releases, which are Secrets; their content is values, manifests and charts.
    ApiResource(
        group=HELM_GROUP,
        resource="releases",
        kind="Release",
        scope=Scope.NAMESPACED,
        subresources=(("content", frozenset({"get", "list"})),),
    ),
    # What istioctl reads from proxies and from istiod, and the little that it changes.
    *(
        ApiResource(group=ISTIOCTL_GROUP, resource=resource, kind=kind, scope=scope, verbs=frozenset(verbs.split()))
        for resource, kind, scope, verbs in (
            ("proxystatuses", "ProxyStatus", Scope.NAMESPACED, "get list"),  # what istiod sent, and what proxies have
            ("proxyconfigs", "ProxyConfig", Scope.NAMESPACED, "get"),
            ("proxysecrets", "ProxySecret", Scope.NAMESPACED, "get"),  # a proxy's certificates
            ("proxyloglevels", "ProxyLogLevel", Scope.NAMESPACED, "get update"),
            ("descriptions", "Description", Scope.NAMESPACED, "get"),  # of a pod or Service, with what is about it
            ("analyses", "Analysis", Scope.NAMESPACED, "list"),
            ("tokens", "Token", Scope.NAMESPACED, "create"),  # where istiod is: the identity that it asks of istioctl
            ("meshes", "Mesh", Scope.CLUSTER, "get"),  # the mesh as a whole
        )
    ),
    # Argo CD's own resources, in its own RBAC's words; their names are project/name.
    *(
        ApiResource(group=ARGOCD_GROUP, resource=resource, kind=kind, scope=Scope.CLUSTER)
        for resource, kind in (
            ("applications", "Application"),
            ("projects", "Project"),
            ("repositories", "Repository"),
            ("clusters", "Cluster"),
            ("logs", "Log"),
        )
    ),
)
"""Every virtual resource, with the scope of the rules that give it."""


def istioctl_right(verb: str, resource: str, *, namespace: str = "", name: str = "") -> RequestInfo:
    """What istioctl does, as a request that can be decided."""
    return RequestInfo(
        is_resource_request=True,
        path="",
        verb=verb,
        api_prefix="apis",
        api_group=ISTIOCTL_GROUP,
        api_version="virtual",
        namespace=namespace,
        resource=resource,
        name=name,
    )


def is_given_whole(request: RequestInfo) -> bool:
    """Whether it is a list that nobody can cut: istioctl prints what istiod tells it of a namespace, or nothing."""
    return request.api_group == ISTIOCTL_GROUP and request.verb in COLLECTION_READS


def scope_of(catalog: Catalog, *, group: str, resource: str) -> Scope | None:
    """The scope of a virtual or a served resource, or None when neither we nor discovery know it.

    A virtual group is ours alone, whatever a cluster serves under its name.
    """
    if group not in VIRTUAL_GROUPS:
        return catalog.scope_of(group=group, resource=resource)
    return next((each.scope for each in VIRTUAL_RESOURCES if (each.group, each.resource) == (group, resource)), None)
