"""Which authenticator a bearer token belongs to. Exactly one: a token that it refuses is not tried elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import jwt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.serving.oidc.verifier import OidcVerifier


class Authenticator(Protocol):
    """Who a bearer token belongs to."""

    async def authenticate(self, token: str) -> Client | None:
        """The token's client, None when it is not valid for us.

        Raises:
            Unavailable: nobody can say now.
        """


class TokenAuthenticator:
    """Sends each token to the issuer that it says it is from, every other one to the API server.

    Args:
        service_accounts: TokenReview.
        issuers: the configured OpenID Connect issuers.
    """

    def __init__(self, *, service_accounts: Authenticator, issuers: Iterable[OidcVerifier] = ()) -> None:
        self._service_accounts = service_accounts
        self._issuers = {verifier.issuer.url: verifier for verifier in issuers}

    async def authenticate(self, token: str) -> Client | None:
        """As `Authenticator.authenticate`."""
        verifier = self._issuers.get(_claimed_issuer(token)) if self._issuers else None
        return await (verifier or self._service_accounts).authenticate(token)


def _claimed_issuer(token: str) -> str:
    """The ``iss`` claim, unproven: it only chooses who verifies. Empty where there is none."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return ""
    issuer = claims.get("iss")
    return issuer if isinstance(issuer, str) else ""
