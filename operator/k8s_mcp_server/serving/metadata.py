"""OAuth 2.0 protected resource metadata (RFC 9728): what a client needs to know to get a token for us.

ServiceAccount tokens come from the API server's TokenRequest, not from an OAuth authorization server; the docs
name the audience. ``authorization_servers`` are the configured OpenID Connect issuers, and absent without any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp.server.transport_security import TransportSecurityMiddleware
    from starlette.requests import Request

MCP_PATH: Final = "/mcp"
WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"


def resource_url(request: Request, *, public_url: str) -> str:
    """The MCP endpoint's URL: the configured one, else as this client addressed us.

    The Host header has been checked against the allowed hosts by then.
    """
    return public_url or f"{request.url.scheme}://{request.headers.get('host', '')}{MCP_PATH}"


def metadata_url(request: Request, *, public_url: str) -> str:
    """Where the metadata of the resource is: the well-known path goes between host and path (RFC 9728 §3.1)."""
    parts = urlsplit(resource_url(request, public_url=public_url))
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path.rstrip('/')}"


def metadata_routes(
    *, public_url: str, audience: str, issuers: Sequence[str], security: TransportSecurityMiddleware
) -> list[Route]:
    """The metadata, at the path of the resource and, for clients that look there, at the root."""

    async def metadata(request: Request) -> Response:
        refused = await security.validate_request(request)
        if refused is not None:
            return refused
        return JSONResponse(
            {
                "resource": resource_url(request, public_url=public_url),
                "bearer_methods_supported": ["header"],
                "resource_name": "k8s-mcp-server",
                "k8s_mcp_token_audience": audience,
                **({"authorization_servers": list(issuers)} if issuers else {}),
            },
            headers={"Cache-Control": "no-store"},
        )

    own_path = urlsplit(public_url).path.rstrip("/") or MCP_PATH
    return [Route(path, metadata, methods=["GET"]) for path in dict.fromkeys((WELL_KNOWN + own_path, WELL_KNOWN))]
