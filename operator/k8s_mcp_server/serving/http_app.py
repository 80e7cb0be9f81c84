"""The HTTP application of the MCP port: ``/mcp`` behind the edge, and the resource metadata."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.routing import Route

from k8s_mcp_server.serving.edge import Edge
from k8s_mcp_server.serving.metadata import MCP_PATH, metadata_routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from k8s_mcp_server.serving.authentication import Authenticator
    from k8s_mcp_server.serving.mcp_server import AgentServer

_LARGE_BODIES_AT_ONCE = 4  # of one client; small ones need no count
_LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


def allowed_hosts(*, service: str, namespace: str, cluster_domain: str, extra: Iterable[str] = ()) -> list[str]:
    """Every Host header that is ours, each with and without a port.

    The SDK compares exactly and knows no wildcards but ``:*``, so each DNS form of the Service is spelled out.
    """
    names = [
        service,
        f"{service}.{namespace}",
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.{cluster_domain}",
    ]
    return [form for name in (*names, *_LOCAL_NAMES, *extra) for form in (name, f"{name}:*")]


def mcp_app(
    server: AgentServer,
    *,
    authenticator: Authenticator,
    hosts: Iterable[str],
    origins: Iterable[str] = (),
    public_url: str = "",
    audience: str,
    issuers: Iterable[str] = (),
    max_body: int,
) -> Starlette:
    """The application.

    Args:
        server: answers MCP.
        authenticator: decides on bearer tokens.
        hosts: accepted Host headers (see `allowed_hosts`).
        origins: accepted Origin headers.
        public_url: the endpoint's URL as clients write it; empty when unknown.
        audience: what a token must be for, told in the metadata.
        issuers: where a client may get one, told there as well.
        max_body: bytes of one request.
    """
    security = TransportSecuritySettings(allowed_hosts=list(hosts), allowed_origins=list(origins))
    # Server-sent events and not plain JSON: only there does the SDK notice that a client has left, and report progress.
    transport = server.streamable_http_app(
        stateless_http=True,
        json_response=False,
        max_request_body_size=max_body,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the edge has done it
    )
    endpoint = next(route.endpoint for route in transport.routes if isinstance(route, Route))
    edge = Edge(
        endpoint,
        authenticator=authenticator,
        security=security,
        public_url=public_url,
        most_arriving=_LARGE_BODIES_AT_ONCE * max_body,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with server.session_manager.run():
            yield

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route(MCP_PATH, edge),
            *metadata_routes(
                public_url=public_url,
                audience=audience,
                issuers=tuple(issuers),
                security=TransportSecurityMiddleware(security),
            ),
        ],
    )
