"""Tokens of OpenID Connect issuers: who they name, and everything that makes one worthless."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.identity import Authenticator, Client
from k8s_mcp_server.serving.authentication import TokenAuthenticator
from k8s_mcp_server.serving.oidc.discovery import fetch_keys
from k8s_mcp_server.serving.oidc.issuer import OidcIssuer
from k8s_mcp_server.serving.oidc.keys import RETRY_SECONDS, USABLE_SECONDS, IssuerKeys
from k8s_mcp_server.serving.oidc.verifier import OidcVerifier
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.oidc_issuer import AUDIENCE, DISCOVERY, LocalIssuer, local_issuer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
DEEP = "W1tb" * 3000  # [[[ and so on, deeper than a decoder goes


class Clock:
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[LocalIssuer]:
    async with local_issuer(tmp_path) as running:
        yield running


def verifier(issuer: LocalIssuer, *, clock: Callable[[], float] | None = None, **configured: Any) -> OidcVerifier:
    settings = OidcIssuer(
        url=issuer.url,
        audiences=(AUDIENCE,),
        username_claim="sub",
        username_prefix="oidc:",
        groups_claim="groups",
        groups_prefix="oidc:",
        ca_file=issuer.ca_file,
    )
    settings = replace(settings, **configured)
    keys = IssuerKeys(partial(fetch_keys, settings), clock=clock or Clock())
    return OidcVerifier(settings, keys=keys, metrics=Metrics())


async def test_a_token_names_its_client_under_the_issuers_prefixes(issuer: LocalIssuer) -> None:
    client = await verifier(issuer).authenticate(issuer.token(groups=["team-a", "admins"]))

    assert client == Client(
        username="oidc:jane",
        groups=frozenset({"oidc:team-a", "oidc:admins"}),
        authenticator=Authenticator.OIDC,
    )


@pytest.mark.parametrize("algorithm", ["RS512", "PS256"])
async def test_a_key_signs_with_the_algorithm_that_it_states(issuer: LocalIssuer, algorithm: str) -> None:
    issuer.add_key("two", alg=algorithm)

    assert await verifier(issuer).authenticate(issuer.token(key_id="two", algorithm=algorithm)) is not None
    assert await verifier(issuer).authenticate(issuer.token(key_id="two", algorithm="RS256")) is None


async def test_elliptic_curves_sign_as_well(issuer: LocalIssuer) -> None:
    issuer.add_key("curve", ec.generate_private_key(ec.SECP256R1()))

    assert await verifier(issuer).authenticate(issuer.token(key_id="curve", algorithm="ES256")) is not None


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"aud": "another"}, id="another audience"),
        pytest.param({"aud": None}, id="no audience"),
        pytest.param({"exp": time.time() - 60}, id="expired"),
        pytest.param({"exp": None}, id="without an end"),
        pytest.param({"nbf": time.time() + 3600}, id="not yet valid"),
        pytest.param({"sub": ""}, id="an empty name"),
        pytest.param({"sub": None}, id="no name"),
        pytest.param({"groups": {"a": 1}}, id="groups of another type"),
        pytest.param({"groups": ["a", 1]}, id="a group of another type"),
    ],
)
async def test_a_token_that_does_not_say_what_it_must_is_refused(issuer: LocalIssuer, claims: dict[str, Any]) -> None:
    checked = verifier(issuer)

    assert await checked.authenticate(issuer.token()) is not None
    assert await checked.authenticate(issuer.token(**claims)) is None


def public_pem(issuer: LocalIssuer) -> bytes:
    return (
        issuer.keys["one"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def signed_with_the_public_key(issuer: LocalIssuer) -> str:
    """An HMAC under the published key, as ``jwt.encode`` itself refuses to make it."""
    claims = {"iss": issuer.url, "aud": AUDIENCE, "sub": "jane", "exp": time.time() + 300}
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    unsigned = jwt.encode(claims, "x" * 32, algorithm="HS256", headers={"kid": "one"}).rpartition(".")[0]
    signature = algorithm.sign(unsigned.encode(), public_pem(issuer))
    return f"{unsigned}.{jwt.utils.base64url_encode(signature).decode()}"


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda issuer: issuer.token(key=OTHER_KEY), id="signed with another key"),
        pytest.param(lambda issuer: issuer.token()[:-8] + "AAAAAAAA", id="a broken signature"),
        pytest.param(lambda issuer: issuer.token().rpartition(".")[0] + ".", id="no signature"),
        pytest.param(signed_with_the_public_key, id="an HMAC under the public key"),
        pytest.param(
            lambda issuer: jwt.encode(
                {"iss": issuer.url, "aud": AUDIENCE, "sub": "jane", "exp": time.time() + 300},
                "",
                algorithm="none",
                headers={"kid": "one"},
            ),
            id="the algorithm none",
        ),
        pytest.param(lambda issuer: issuer.token(key=OTHER_KEY, key_id="unknown"), id="a key that the issuer lacks"),
        pytest.param(
            lambda issuer: jwt.encode(
                {"iss": issuer.url, "aud": AUDIENCE, "sub": "jane", "exp": time.time() + 300},
                issuer.keys["one"],
                algorithm="RS256",
                headers={"kid": "one", "crit": ["exp"]},
            ),
            id="a critical extension",
        ),
        pytest.param(
            lambda issuer: jwt.encode(
                {"iss": issuer.url, "aud": AUDIENCE, "sub": "jane", "exp": time.time() + 300},
                OTHER_KEY,
                algorithm="RS256",
                headers={"kid": "one", "jwk": jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_KEY.public_key(), as_dict=True)},
            ),
            id="a key of its own in the header",
        ),
        pytest.param(lambda issuer: f"{DEEP}.{issuer.token().partition('.')[2]}", id="a header of brackets alone"),
    ],
)
async def test_a_forged_token_is_refused(issuer: LocalIssuer, forge: Callable[[LocalIssuer], str]) -> None:
    assert await verifier(issuer).authenticate(forge(issuer)) is None


@pytest.mark.parametrize(
    ("configured", "claims"),
    [
        pytest.param({"username_prefix": "sys"}, {"sub": "tem:serviceaccount:a:b"}, id="by the name"),
        pytest.param({"groups_prefix": "s"}, {"groups": ["ystem:masters"]}, id="by a group"),
    ],
)
async def test_no_name_can_be_made_to_begin_with_system(
    issuer: LocalIssuer, configured: dict[str, Any], claims: dict[str, Any]
) -> None:
    assert await verifier(issuer, **configured).authenticate(issuer.token(**claims)) is None


async def test_names_of_the_cluster_stay_behind_the_prefix(issuer: LocalIssuer) -> None:
    token = issuer.token(sub="system:serviceaccount:agents:deployer", groups="system:masters")
    client = await verifier(issuer).authenticate(token)

    assert client is not None
    assert (client.username, client.groups, client.service_account) == (
        "oidc:system:serviceaccount:agents:deployer",
        frozenset({"oidc:system:masters"}),
        None,
    )


@pytest.mark.parametrize(("verified", "accepted"), [(True, True), (None, True), (False, False), ("true", False)])
async def test_an_address_counts_only_when_the_issuer_has_verified_it(
    issuer: LocalIssuer, *, verified: object, accepted: bool
) -> None:
    token = issuer.token(email="jane@example.com", email_verified=verified)

    client = await verifier(issuer, username_claim="email").authenticate(token)

    assert (client is not None) is accepted


@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(lambda issuer: setattr(issuer, "down", True), id="it is down"),
        pytest.param(lambda issuer: issuer.documents[DISCOVERY].update(issuer="https://other"), id="another name"),
        pytest.param(lambda issuer: issuer.documents[DISCOVERY].update(jwks_uri="http://x/keys"), id="no TLS"),
        pytest.param(lambda issuer: issuer.documents[DISCOVERY].update(jwks_uri=5), id="no address"),
        pytest.param(lambda issuer: issuer.documents.update({"/keys": []}), id="keys that are a list"),
        pytest.param(lambda issuer: issuer.documents.update({"/keys": {"x": "y" * 2_000_000}}), id="endless keys"),
    ],
)
async def test_an_issuer_that_gives_no_keys_makes_nobody_valid_and_nobody_invalid(
    issuer: LocalIssuer, break_it: Callable[[LocalIssuer], object]
) -> None:
    break_it(issuer)

    with pytest.raises(Unavailable):
        await verifier(issuer).authenticate(issuer.token())


async def test_another_certificate_is_not_trusted(issuer: LocalIssuer) -> None:
    with pytest.raises(Unavailable):
        await verifier(issuer, ca_file=None).authenticate(issuer.token())


async def test_keys_are_fetched_once_for_many_tokens(issuer: LocalIssuer) -> None:
    checked = verifier(issuer)
    for _ in range(5):
        assert await checked.authenticate(issuer.token()) is not None

    assert issuer.requests == [DISCOVERY, "/keys"]


async def test_a_new_key_is_found_and_made_up_ones_cost_one_fetch_in_a_while(issuer: LocalIssuer) -> None:
    clock = Clock()
    checked = verifier(issuer, clock=clock)
    assert await checked.authenticate(issuer.token()) is not None
    issuer.add_key("two")
    token = issuer.token(key_id="two")

    assert await checked.authenticate(token) is None  # a fetch was just made
    clock.now += RETRY_SECONDS
    assert await checked.authenticate(token) is not None
    for number in range(5):
        assert await checked.authenticate(issuer.token(key=OTHER_KEY, key_id=f"made-up-{number}")) is None
    assert issuer.requests.count("/keys") == 2


async def test_keys_outlive_an_issuer_that_is_down_for_a_while_and_no_longer(issuer: LocalIssuer) -> None:
    clock = Clock()
    checked = verifier(issuer, clock=clock)
    assert await checked.authenticate(issuer.token()) is not None
    issuer.down = True

    clock.now += USABLE_SECONDS - 1
    assert await checked.authenticate(issuer.token()) is not None
    clock.now += 2
    with pytest.raises(Unavailable):
        await checked.authenticate(issuer.token())


async def test_keys_that_cannot_sign_are_left_out(issuer: LocalIssuer) -> None:
    issuer.documents["/keys"]["keys"] += [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared", "alg": "HS256"},
        {"kty": "RSA", "kid": "broken"},
        "nonsense",
        {**issuer.documents["/keys"]["keys"][0], "kid": "sealing", "use": "enc"},
        {**issuer.documents["/keys"]["keys"][0], "kid": "old", "alg": "RS1"},
    ]
    keys = await fetch_keys(verifier(issuer).issuer)

    assert list(keys) == ["one"]


class Reviewer:
    """Stands for the API server: knows every token as one name."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def authenticate(self, token: str) -> Client | None:
        self.asked.append(token)
        return Client(username="reviewed")


async def test_a_token_goes_to_its_issuer_alone_and_every_other_one_to_the_api_server(issuer: LocalIssuer) -> None:
    reviewer = Reviewer()
    authenticator = TokenAuthenticator(service_accounts=reviewer, issuers=[verifier(issuer)])
    expired = issuer.token(exp=time.time() - 60)
    foreign = issuer.token(iss="https://elsewhere.example.com")

    assert await authenticator.authenticate(expired) is None
    assert reviewer.asked == []
    for token in (foreign, issuer.token(iss=None), "opaque", "a.b.c", f"{DEEP}.e30.eA", f"e30.{DEEP}.eA"):
        assert await authenticator.authenticate(token) == Client(username="reviewed")
    assert len(reviewer.asked) == 6
