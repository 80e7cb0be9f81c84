from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any, cast

import pytest

from k8s_mcp_server.cluster import token_review
from k8s_mcp_server.cluster.client import Answer, ApiClient, ApiStatusError
from k8s_mcp_server.cluster.token_review import TokenReviewer, client_of, read_claims, review_token
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.identity import Authenticator, Client
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.clocks import ManualClock
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

pytestmark = pytest.mark.unit

OURS = "k8s-mcp-server"
ALICE = Client(username="system:serviceaccount:agents:alice", groups=frozenset({"system:authenticated"}))


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def jwt(name: str = "alice", **claims: Any) -> str:
    return f"{encoded({'alg': 'RS256'})}.{encoded({'sub': name, **claims})}.c2lnbmF0dXJl"


DEEP = base64.urlsafe_b64encode(b'{"x": ' + b"[" * 4500).decode().rstrip("=")


def status(**fields: Any) -> dict[str, Any]:
    user = {"username": ALICE.username, "uid": "1", "groups": ["system:authenticated"]}
    return {"authenticated": True, "audiences": [OURS], "user": user, **fields}


def test_a_token_for_our_audience_names_its_client() -> None:
    assert client_of(status(), audience=OURS) == ALICE
    assert client_of(status(audiences=["other", OURS]), audience=OURS) == ALICE


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param({}, id="nothing said"),
        pytest.param({"authenticated": False, "error": "expired"}, id="not authenticated"),
        pytest.param(status(authenticated="true"), id="authenticated is no boolean"),
        pytest.param(status(audiences=["https://kubernetes.default.svc"]), id="another audience"),
        pytest.param(status(audiences=[]), id="an API server that knows no audiences"),
        pytest.param(status(audiences=None), id="no audiences"),
        pytest.param(status(audiences=[OURS + "-dev"]), id="an audience that begins like ours"),
        pytest.param(status(user={}), id="nobody"),
        pytest.param(status(user=None), id="no user"),
        pytest.param(status(user={"username": ""}), id="an empty name"),
        pytest.param(status(user={"username": 7}), id="a name that is none"),
    ],
)
def test_anything_else_names_nobody(refused: dict[str, Any]) -> None:
    assert client_of(refused, audience=OURS) is None


class Api:
    """Answers one TokenReview."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.body: Mapping[str, Any] = {}

    async def request(self, method: str, path: str, *, body: Mapping[str, Any]) -> Answer:
        assert (method, path) == ("POST", "/apis/authentication.k8s.io/v1/tokenreviews")
        self.body = body
        if isinstance(self.answer, Exception):
            raise self.answer
        return Answer(status=201, body=json.dumps(self.answer).encode(), headers={})


@pytest.mark.anyio
async def test_the_review_asks_for_our_audience() -> None:
    api = Api({"status": status()})

    assert await review_token(cast("ApiClient", api), "t.o.k", audience=OURS) == ALICE
    assert api.body["spec"] == {"token": "t.o.k", "audiences": [OURS]}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ApiStatusError(400, "cannot decode secret-token"), id="refused"),
        pytest.param(ApiStatusError(403, "forbidden"), id="no right to review"),
        pytest.param(Unavailable("refused"), id="no answer"),
        pytest.param("text", id="no object"),
    ],
)
async def test_no_review_is_unavailable_and_never_quotes_the_token(answer: object) -> None:
    with pytest.raises(Unavailable) as caught:
        await review_token(cast("ApiClient", Api(answer)), "secret-token", audience=OURS)

    assert "secret-token" not in str(caught.value)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("opaque", id="opaque"),
        pytest.param("a.b.c", id="no JSON in it"),
        pytest.param(f"{encoded([])}.{encoded({})}.x", id="a header that is no object"),
        pytest.param(f"{encoded({})}.{encoded('x')}.x", id="claims that are no object"),
        pytest.param(f"{encoded({})}.{encoded({'exp': 'soon'})}.x", id="exp is no number"),
        pytest.param(jwt() + ".x", id="four parts"),
        pytest.param(jwt() + "\n", id="a newline at the end"),
        pytest.param(f"{DEEP}.{encoded({})}.x", id="a header that is nested too deep"),
        pytest.param(f"{encoded({})}.{DEEP}.x", id="claims that are nested too deep"),
        pytest.param(jwt() + "=", id="padding"),
        pytest.param(jwt().replace(".", "..", 1), id="an empty part"),
        pytest.param("ü" + jwt(), id="no ASCII"),
        pytest.param(jwt(pad="x" * 8192), id="too long"),
    ],
)
def test_what_is_no_token_is_never_asked_about(token: str) -> None:
    assert read_claims(token) is None


def test_a_token_of_the_greatest_length_is_asked_about() -> None:
    assert read_claims((jwt() + "A" * token_review.TOKEN_BYTES)[: token_review.TOKEN_BYTES]) is not None


class Reviews:
    """Stands for the API server: knows tokens' clients, counts questions, and can be made to wait or fail."""

    def __init__(self) -> None:
        self.count = 0
        self.clients: dict[str, Client] = {jwt(): ALICE}
        self.error: Exception | None = None
        self.answering = asyncio.Event()
        self.answering.set()

    async def __call__(self, token: str) -> Client | None:
        self.count += 1
        await self.answering.wait()
        if self.error is not None:
            raise self.error
        return self.clients.get(token)


async def call_here(work: Callable[[], Awaitable[Any]], *, timeout: float) -> Any:  # noqa: ASYNC109  as in Call
    async with asyncio.timeout(timeout):
        return await work()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def reviews() -> Reviews:
    return Reviews()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def reviewer(reviews: Reviews, clock: ManualClock, metrics: Metrics) -> TokenReviewer:
    return TokenReviewer(reviews, call=call_here, metrics=metrics, clock=clock, now=clock)


def counted(metrics: Metrics, outcome: str) -> float | None:
    labels = {"authenticator": Authenticator.TOKEN_REVIEW.value, "outcome": outcome}
    return metrics.registry.get_sample_value("k8s_mcp_authentications_total", labels)


@pytest.mark.anyio
async def test_fifty_calls_with_one_token_ask_once(reviewer: TokenReviewer, reviews: Reviews, metrics: Metrics) -> None:
    first = await asyncio.gather(*(reviewer.authenticate(jwt()) for _ in range(25)))
    second = [await reviewer.authenticate(jwt()) for _ in range(25)]

    assert first + second == [ALICE] * 50
    assert reviews.count == 1
    assert counted(metrics, "accepted") == 50


@pytest.mark.anyio
async def test_an_accepted_token_is_asked_about_again_after_half_a_minute(
    reviewer: TokenReviewer, reviews: Reviews, clock: ManualClock
) -> None:
    await reviewer.authenticate(jwt())
    reviews.clients.clear()
    clock.advance(29.9)
    assert await reviewer.authenticate(jwt()) == ALICE

    clock.advance(0.1)
    assert await reviewer.authenticate(jwt()) is None


@pytest.mark.anyio
async def test_an_accepted_token_is_never_kept_beyond_its_end(
    reviewer: TokenReviewer, reviews: Reviews, clock: ManualClock
) -> None:
    token = jwt(exp=clock() + 10)
    reviews.clients = {token: ALICE}
    await reviewer.authenticate(token)
    clock.advance(9)
    await reviewer.authenticate(token)
    assert reviews.count == 1

    clock.advance(1)
    reviews.clients = {}
    assert await reviewer.authenticate(token) is None


@pytest.mark.anyio
async def test_a_refused_token_is_asked_about_again_after_five_seconds(
    reviewer: TokenReviewer, reviews: Reviews, clock: ManualClock, metrics: Metrics
) -> None:
    late = jwt("bob")
    assert await reviewer.authenticate(late) is None
    reviews.clients[late] = ALICE
    clock.advance(4.9)
    assert await reviewer.authenticate(late) is None
    assert reviews.count == 1

    clock.advance(0.1)
    assert await reviewer.authenticate(late) == ALICE
    assert counted(metrics, "refused") == 2


@pytest.mark.anyio
async def test_garbage_is_refused_without_a_question(
    reviewer: TokenReviewer, reviews: Reviews, metrics: Metrics
) -> None:
    assert await reviewer.authenticate("not a token") is None
    assert reviews.count == 0
    assert counted(metrics, "refused") == 1


@pytest.mark.anyio
async def test_an_api_server_that_is_down_says_nothing_about_the_token_and_is_not_remembered(
    reviewer: TokenReviewer, reviews: Reviews, metrics: Metrics
) -> None:
    reviews.error = Unavailable("down")
    with pytest.raises(Unavailable):
        await reviewer.authenticate(jwt())
    assert counted(metrics, "unavailable") == 1

    reviews.error = None
    assert await reviewer.authenticate(jwt()) == ALICE


@pytest.mark.anyio
async def test_a_known_token_is_good_while_the_api_server_is_down_until_it_would_be_asked_again(
    reviewer: TokenReviewer, reviews: Reviews, clock: ManualClock
) -> None:
    await reviewer.authenticate(jwt())
    reviews.error = Unavailable("down")
    assert await reviewer.authenticate(jwt()) == ALICE

    clock.advance(30)
    with pytest.raises(Unavailable):
        await reviewer.authenticate(jwt())


@pytest.mark.anyio
async def test_a_caller_that_leaves_does_not_end_the_review_for_others(
    reviewer: TokenReviewer, reviews: Reviews
) -> None:
    reviews.answering.clear()
    leaving, staying = (asyncio.create_task(reviewer.authenticate(jwt())) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    reviews.answering.set()

    async with asyncio.timeout(5):
        assert await staying == ALICE
    assert reviews.count == 1


@pytest.mark.anyio
async def test_a_failure_that_nobody_waits_for_makes_no_noise(reviewer: TokenReviewer, reviews: Reviews) -> None:
    reviews.answering.clear()
    reviews.error = Unavailable("down")
    leaving = asyncio.create_task(reviewer.authenticate(jwt()))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    reviews.answering.set()
    await eventually(lambda: not reviewer._running)


@pytest.mark.anyio
async def test_only_so_many_reviews_run_at_once(reviewer: TokenReviewer, reviews: Reviews) -> None:
    reviews.answering.clear()
    tasks = [asyncio.create_task(reviewer.authenticate(jwt(f"agent-{number}"))) for number in range(100)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert reviews.count == token_review.REVIEWS_AT_ONCE

    reviews.answering.set()
    assert await asyncio.gather(*tasks) == [None] * 100
    assert reviews.count == 100


@pytest.mark.anyio
async def test_a_flood_of_tokens_is_turned_away_as_unavailable_and_not_kept_waiting(
    reviewer: TokenReviewer, reviews: Reviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_review, "WAITING_REVIEWS", 20)
    reviews.answering.clear()
    tasks = [asyncio.create_task(reviewer.authenticate(jwt(f"agent-{number}"))) for number in range(20)]
    for _ in range(10):
        await asyncio.sleep(0)

    with pytest.raises(Unavailable, match="too many tokens"):
        await reviewer.authenticate(jwt("one-more"))

    reviews.answering.set()
    assert await asyncio.gather(*tasks) == [None] * 20
    assert await reviewer.authenticate(jwt("one-more")) is None


@pytest.mark.anyio
async def test_refused_tokens_never_push_accepted_ones_out(
    reviewer: TokenReviewer, reviews: Reviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviewer._refused, "_size", 3)
    await reviewer.authenticate(jwt())
    for number in range(20):
        await reviewer.authenticate(jwt(f"stranger-{number}"))
    asked = reviews.count

    assert await reviewer.authenticate(jwt()) == ALICE
    assert reviews.count == asked
    assert len(reviewer._refused._kept) == 3
