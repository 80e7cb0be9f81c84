"""Who asks: the authenticated client, as the API server or an OIDC issuer named it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"


class Authenticator(StrEnum):
    """How an identity was proven. ServiceAccount subjects match only what a TokenReview returned."""

    TOKEN_REVIEW = "TokenReview"
    OIDC = "OIDC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An authenticated caller: username and groups exactly as authenticated."""

    username: str
    groups: frozenset[str] = frozenset()
    authenticator: Authenticator = Authenticator.TOKEN_REVIEW

    @property
    def service_account(self) -> tuple[str, str] | None:
        """``(namespace, name)`` when a TokenReview proved that this is a ServiceAccount, else None."""
        if self.authenticator is not Authenticator.TOKEN_REVIEW:
            return None
        namespace, separator, name = self.username.removeprefix(_SERVICE_ACCOUNT_PREFIX).partition(":")
        is_account = self.username.startswith(_SERVICE_ACCOUNT_PREFIX) and separator and namespace and name
        return (namespace, name) if is_account else None
