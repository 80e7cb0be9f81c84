"""The outermost layer of ``/mcp``: method, Host and Origin, and who is asking, before MCP sees a byte.

Own layer, because the SDK answers a broken verifier with a bare 500, claims an invalid token where there was none, and
holds a stream open for ever on GET. Answers follow RFC 9110 (405, 421), RFC 6750 §3 (challenges) and RFC 9728 §5.1
(``resource_metadata``). Details of a failure go to the log; a bearer token goes nowhere but to the authenticator.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse

from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.serving.bodies import Bodies, BodiesTooLarge
from k8s_mcp_server.serving.caller import Caller
from k8s_mcp_server.serving.connections import mark_authenticated
from k8s_mcp_server.serving.form import PARAMETER, Form
from k8s_mcp_server.serving.metadata import metadata_url

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from k8s_mcp_server.serving.authentication import Authenticator

RETRY_AFTER_SECONDS: Final = 2
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]{1,16384}=*")  # RFC 6750 §2.1, bounded

logger = logging.getLogger(__name__)


class Edge:
    """ASGI middleware that lets authenticated POST requests through, with a `Caller` as ``scope["user"]``.

    Args:
        app: the MCP transport.
        authenticator: decides on tokens.
        security: which Host and Origin headers are ours.
        public_url: the endpoint's URL as clients write it; empty when it is to be taken from the Host header.
        most_arriving: bytes of one client's bodies that may be under way at once.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        security: TransportSecuritySettings,
        public_url: str = "",
        most_arriving: int,
    ) -> None:
        self._bodies = Bodies(most=most_arriving)
        self._app = AuthContextMiddleware(app)
        self._authenticator = authenticator
        self._security = TransportSecurityMiddleware(security)
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI's own signature
        if scope["type"] != "http":
            raise RuntimeError(f"unexpected ASGI scope {scope['type']!r}")
        request = Request(scope)
        # The Host first: whatever a DNS-rebound page sends, it learns nothing.
        response = await self._security.validate_request(request)
        if response is None and request.method != "POST":
            response = _method_not_allowed()
        found = response or await self._authenticate(request)
        if not isinstance(found, Client):
            await found(scope, receive, send)
            return
        client = found
        mark_authenticated(scope)
        form = request.query_params.get(PARAMETER, Form.TEXT)
        if form not in set(Form):
            await _unknown_form()(scope, receive, send)
            return
        scope["user"] = Caller(client, form=Form(form))
        try:
            with self._bodies.counted(client, receive) as counted:
                await self._app(scope, counted, send)
        except BodiesTooLarge as error:  # while the body was read: nothing was answered
            await _too_many(str(error))(scope, receive, send)

    async def _authenticate(self, request: Request) -> Client | JSONResponse:
        """The client, or the answer that says why there is none."""
        headers = request.headers.getlist("authorization")
        if len(headers) > 1:
            return self._challenge(request, 400, "invalid_request", "send one Authorization header")
        scheme, _, token = (headers[0] if headers else "").partition(" ")
        token = token.strip(" ")
        if scheme.lower() != "bearer" or not token:
            return self._challenge(request, 401, "", "send Authorization: Bearer with a token for this service")
        if not _B64TOKEN.fullmatch(token):
            return self._challenge(request, 401, "invalid_token", "the bearer token is malformed")
        try:
            client = await self._authenticator.authenticate(token)
        except Unavailable as error:
            logger.warning("authentication is unavailable: %s", error)
            return _unavailable()
        if client is None:
            return self._challenge(
                request, 401, "invalid_token", "the token is not valid for this service: expired, or another audience"
            )
        return client

    def _challenge(self, request: Request, status: int, error: str, description: str) -> JSONResponse:
        # RFC 6750 §3.1: without authentication information no error code is given.
        parts = [f'error="{error}"', f'error_description="{description}"'] if error else []
        parts.append(f'resource_metadata="{metadata_url(request, public_url=self._public_url)}"')
        return JSONResponse(
            {"error": error or "unauthorized", "error_description": description},
            status,
            headers={"WWW-Authenticate": f"Bearer {', '.join(parts)}", "Cache-Control": "no-store"},
        )


def _method_not_allowed() -> JSONResponse:
    # The stateless transport has nothing to stream on GET and no session to DELETE.
    error = {"code": -32600, "message": "Method Not Allowed: POST JSON-RPC messages to this endpoint"}
    return JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, 405, headers={"Allow": "POST"})


def _unknown_form() -> JSONResponse:
    description = f"{PARAMETER} in the URL is {' or '.join(Form)}; without it, {Form.TEXT}"
    return JSONResponse({"error": "invalid_request", "error_description": description}, 400)


def _too_many(what: str) -> JSONResponse:
    return JSONResponse(
        {"error": "too_many_requests", "error_description": f"{what}; send them one after the other"},
        429,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )


def _unavailable() -> JSONResponse:
    return JSONResponse(
        {
            "error": "temporarily_unavailable",
            "error_description": "tokens cannot be checked now: who issued this one does not answer",
        },
        503,
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
