"""Which permissions one request needs: usually its own RequestInfo, sometimes more.

The API server checks some things late and with the caller's identity, inside of the handlers. It sees ours, so those
checks are made here, before the request is forwarded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from k8s_mcp_server.policy.request import RequestInfo

_APPLY_PATCH: Final = "application/apply-patch+"
_CONNECT_VERBS: Final = frozenset({"get", "create"})  # no other method opens a stream
_CONNECT_SUBRESOURCES: Final = frozenset({"exec", "attach", "portforward"})
# What kube-apiserver exempts from its request timeout: BasicLongRunningRequestCheck with these sets,
# k8s.io/kubernetes/pkg/controlplane/apiserver/config.go.
_LONG_RUNNING_SUBRESOURCES: Final = frozenset({"attach", "exec", "proxy", "log", "portforward"})


def required_requests(info: RequestInfo, *, method: str, content_type: str) -> tuple[RequestInfo, ...]:
    """Every permission that the request needs, all of which must be allowed.

    - A PUT, and a server-side apply, creates what is missing: ``withAuthorization`` in
      k8s.io/apiserver/pkg/endpoints/handlers/{update,patch}.go. Never through a subresource (``status``, ``scale``).
    - exec, attach and port-forward over WebSocket are a GET that does what a POST does, so they need ``create``:
      ``AuthorizePodWebsocketUpgradeCreatePermission``, k8s.io/kubernetes/pkg/registry/core/pod/rest/subresources.go.
      The same goes for any other upgrade, beside its own verb, for nothing that follows it is seen.

    Args:
        info: the request's own attributes.
        method: the HTTP method.
        content_type: of the body, as received.
    """
    if not info.is_resource_request:
        return (info,)
    create = replace(info, verb="create")
    if is_connect(info) and info.verb in _CONNECT_VERBS:
        return (create,)
    is_apply = method == "PATCH" and content_type.lower().startswith(_APPLY_PATCH)
    may_create = (method == "PUT" or is_apply) and not info.subresource
    if may_create or (info.upgrade and info.verb != "create"):
        return (info, create)
    return (info,)


def is_connect(info: RequestInfo) -> bool:
    """Whether the request opens a stream into a pod."""
    return (
        info.is_resource_request
        and info.api_group == ""
        and info.resource == "pods"
        and info.subresource in _CONNECT_SUBRESOURCES
    )


def is_long_running(info: RequestInfo) -> bool:
    """Whether the API server may take as long as it likes (k8s.io/apiserver/pkg/server/filters/longrunning.go)."""
    return info.verb == "watch" or info.subresource in _LONG_RUNNING_SUBRESOURCES
