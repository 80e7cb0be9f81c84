"""Which permissions a request that was seen needs: the gateway's own answer, from what a record of it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8s_mcp_server.gateway.permissions import required_requests

if TYPE_CHECKING:
    from k8s_mcp_server.policy.request import RequestInfo

_APPLY = "application/apply-patch+yaml"


def needed(request: RequestInfo, *, method: str, target: str) -> tuple[RequestInfo, ...]:
    """Every permission that the request needs.

    A record does not hold the content type. ``force`` tells a server-side apply: the API server takes it for no other
    patch, and kubectl always states it.
    """
    is_apply = method == "PATCH" and any(f"{mark}force=" in target for mark in "?&")
    return required_requests(request, method=method, content_type=_APPLY if is_apply else "")
