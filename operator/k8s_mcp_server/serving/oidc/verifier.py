"""Verifies one issuer's tokens: JWTs (RFC 7519), signed with one of its keys, for one of our audiences."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import jwt

from k8s_mcp_server.policy.identity import Authenticator, Client
from k8s_mcp_server.serving.oidc.issuer import ClaimsRefused, OidcIssuer

if TYPE_CHECKING:
    from k8s_mcp_server.serving.oidc.keys import IssuerKeys
    from k8s_mcp_server.telemetry.metrics import Metrics

LEEWAY_SECONDS: Final = 10  # two clocks are never the same

logger = logging.getLogger(__name__)


class OidcVerifier:
    """Authenticates the tokens of one issuer.

    Args:
        issuer: whose.
        keys: its keys.
        metrics: counts outcomes.
    """

    def __init__(self, issuer: OidcIssuer, *, keys: IssuerKeys, metrics: Metrics) -> None:
        self.issuer = issuer
        self._keys = keys
        self._metrics = metrics

    async def authenticate(self, token: str) -> Client | None:
        """The client that the token names, or None when it is not good for us.

        Raises:
            Unavailable: the issuer's keys cannot be had; says nothing about the token.
        """
        outcome = "unavailable"
        try:
            client = await self._verified(token)
            outcome = "refused" if client is None else "accepted"
        finally:
            self._metrics.authentication(authenticator=Authenticator.OIDC, outcome=outcome)
        return client

    async def _verified(self, token: str) -> Client | None:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            return None
        if "crit" in header:  # RFC 7515 §4.1.11: what must be understood and is not
            return None
        key = await self._keys.find(header.get("kid", ""))
        if key is None or header.get("alg") != key.algorithm_name:
            return None
        try:
            return self.issuer.client(self._claims(token, key))
        except (jwt.InvalidTokenError, ClaimsRefused) as error:
            logger.info("a token of %s is refused: %s", self.issuer.url, error)
            return None

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=self.issuer.audiences,
            issuer=self.issuer.url,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud"]},
        )
        return claims
