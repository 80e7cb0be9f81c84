"""Fetches an issuer's public keys: OpenID Connect Discovery 1.0 §4, then the JSON Web Key Set (RFC 7517)."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

import httpx2
import jwt
import msgspec

from k8s_mcp_server.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8s_mcp_server.serving.oidc.issuer import OidcIssuer

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"}
)  # kube-apiserver's list (oidc.go, allowedSigningAlgs): asymmetric ones alone
_TIMEOUT_SECONDS: Final = 5.0
_MOST_BYTES: Final = 1024 * 1024
_OK: Final = 200


async def fetch_keys(issuer: OidcIssuer) -> Mapping[str, jwt.PyJWK]:
    """The issuer's signing keys by their ``kid``.

    Redirects are not followed: where the keys are is for the issuer's own document to say.

    Raises:
        Unavailable: it does not answer, or not with what the standards say.
    """
    try:
        verify = ssl.create_default_context(cafile=str(issuer.ca_file) if issuer.ca_file else None)
        async with httpx2.AsyncClient(verify=verify, timeout=_TIMEOUT_SECONDS, trust_env=False) as http:
            document = await _json(http, f"{issuer.url.rstrip('/')}/.well-known/openid-configuration")
            if document.get("issuer") != issuer.url:
                raise Unavailable(f"the issuer at {issuer.url} calls itself by another name")
            address = document.get("jwks_uri")
            if not isinstance(address, str) or not address.startswith("https://"):
                raise Unavailable(f"the issuer {issuer.url} names no https address for its keys")
            return _signing_keys(await _json(http, address))
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise Unavailable(f"the keys of the issuer {issuer.url} cannot be fetched") from error


async def _json(http: httpx2.AsyncClient, address: str) -> dict[str, Any]:
    body = bytearray()
    async with http.stream("GET", address, headers={"Accept": "application/json"}) as answer:
        if answer.status_code != _OK:
            raise Unavailable(f"{address} answered {answer.status_code}")
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > _MOST_BYTES:
                raise Unavailable(f"the answer of {address} is too long")
    return msgspec.json.decode(body, type=dict[str, Any])


def _signing_keys(document: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """Keys that may sign; others (for encryption, symmetric, of unknown kinds) are left out."""
    keys: dict[str, jwt.PyJWK] = {}
    listed = document.get("keys")
    for item in listed if isinstance(listed, list) else ():
        if not isinstance(item, dict) or item.get("use", "sig") != "sig" or item.get("kty") not in ("RSA", "EC"):
            continue
        try:
            key = jwt.PyJWK.from_dict(item)
        except (jwt.PyJWKError, jwt.InvalidKeyError, ValueError):
            continue
        if key.algorithm_name in ALGORITHMS:
            keys[key.key_id or ""] = key
    return keys
