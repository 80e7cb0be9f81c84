"""Whose request this is, from the edge that authenticated it to the tool that answers it.

The SDK carries an authenticated user through both of its transports in a context variable; the client travels on that
user, so that nothing a caller sends (a header, a ``_meta`` field) can stand in for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from k8s_mcp_server.errors import K8sMcpError
from k8s_mcp_server.serving.form import Form

if TYPE_CHECKING:
    from k8s_mcp_server.policy.identity import Client


class NotAuthenticatedError(K8sMcpError):
    """A tool was reached without the edge; a fault of the wiring, and never an anonymous client."""


class Caller(AuthenticatedUser):
    """The SDK's user, with our client on it, and how it wants results. The bearer token itself is not kept."""

    def __init__(self, client: Client, *, form: Form = Form.TEXT) -> None:
        # The SDK binds server-to-client state to (client_id, issuer, subject): all three name this client.
        super().__init__(
            AccessToken(
                token="",
                client_id=client.username,
                subject=client.username,
                scopes=[],
                claims={"iss": client.authenticator.value},
            )
        )
        self.client = client
        self.form = form


def current_client() -> Client:
    """The client of the request being served.

    Raises:
        NotAuthenticatedError: there is none.
    """
    return current_caller().client


def current_caller() -> Caller:
    """Whose request is being served.

    Raises:
        NotAuthenticatedError: nobody's.
    """
    user = auth_context_var.get()
    if not isinstance(user, Caller):
        raise NotAuthenticatedError("the request has no authenticated client")
    return user
