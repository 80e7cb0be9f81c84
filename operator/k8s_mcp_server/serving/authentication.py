"""Which authenticator a bearer token belongs to. Exactly one: a token that it refuses is not tried elsewhere."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

import jwt

from k8s_mcp_server.serving.oidc.discovery import fetch_keys
from k8s_mcp_server.serving.oidc.keys import IssuerKeys
from k8s_mcp_server.serving.oidc.verifier import OidcVerifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.serving.oidc.issuer import OidcIssuer
    from k8s_mcp_server.telemetry.metrics import Metrics


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


def token_authenticator(
    service_accounts: Authenticator, *, issuers: Iterable[OidcIssuer], metrics: Metrics
) -> TokenAuthenticator:
    """The authenticator of a replica, with the keys of each issuer fetched when its first token comes."""
    verifiers = [
        OidcVerifier(issuer, keys=IssuerKeys(partial(fetch_keys, issuer), clock=time.monotonic), metrics=metrics)
        for issuer in issuers
    ]
    return TokenAuthenticator(service_accounts=service_accounts, issuers=verifiers)


def _claimed_issuer(token: str) -> str:
    """The ``iss`` claim, unproven: it only chooses who verifies. Empty where there is none."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return ""
    issuer = claims.get("iss")
    return issuer if isinstance(issuer, str) else ""
