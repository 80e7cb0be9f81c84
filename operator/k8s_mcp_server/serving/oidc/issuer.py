"""One configured issuer, and who the claims of its tokens say somebody is.

The mapping is that of kube-apiserver's ``AuthenticationConfiguration`` (k8s.io/apiserver/pkg/apis/apiserver/types.go,
plugin/pkg/authenticator/token/oidc/oidc.go), with one difference: prefixes are mandatory, so that no issuer can ever
name what belongs to the cluster or to another issuer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from k8s_mcp_server.policy.identity import Authenticator, Client

RESERVED_PREFIX: Final = "system:"
_EMAIL: Final = "email"


class ClaimsRefused(Exception):
    """Verified claims that name nobody we may believe in; the text is for the log, and quotes no claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcIssuer:
    """What is configured of an issuer.

    Args:
        url: its identifier, exactly as in the ``iss`` claim; discovery is below it.
        audiences: a token must be for one of them.
        username_claim: holds the username; of ``email`` also ``email_verified`` must be true.
        username_prefix: stands before each username.
        groups_claim: holds the groups, one or a list; a token without it has none.
        groups_prefix: stands before each group.
        ca_file: certificates that its TLS is verified with; None for those of the system.
    """

    url: str
    audiences: tuple[str, ...]
    username_claim: str
    username_prefix: str
    groups_claim: str
    groups_prefix: str
    ca_file: Path | None = None

    def client(self, claims: Mapping[str, Any]) -> Client:
        """Who verified claims name.

        Raises:
            ClaimsRefused: a claim is missing or of another type, or a name would begin with ``system:``.
        """
        username = self.username_prefix + self._username(claims)
        groups = frozenset(self.groups_prefix + group for group in self._groups(claims))
        if any(name.startswith(RESERVED_PREFIX) for name in (username, *groups)):
            raise ClaimsRefused(f"a name begins with {RESERVED_PREFIX}, which belongs to the cluster")
        return Client(username=username, groups=groups, authenticator=Authenticator.OIDC)

    def _username(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self.username_claim)
        if not isinstance(name, str) or not name:
            raise ClaimsRefused(f"the claim {self.username_claim} is missing or no text")
        # oidc.go: an address that the issuer has not verified may be anybody's.
        if self.username_claim == _EMAIL and claims.get("email_verified", True) is not True:
            raise ClaimsRefused("the address in the claim email is not verified")
        return name

    def _groups(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        stated = claims.get(self.groups_claim)
        if stated is None:
            return ()
        groups = [stated] if isinstance(stated, str) else stated
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            raise ClaimsRefused(f"the claim {self.groups_claim} is neither a text nor a list of texts")
        return tuple(group for group in groups if group)
