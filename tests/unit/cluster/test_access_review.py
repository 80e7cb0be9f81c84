"""SubjectAccessReviews: what is asked, what counts as a yes, and for how long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from k8s_mcp_server.cluster.access_review import LONGEST_KEPT, PATH, AccessReviewer, is_allowed, review_access
from k8s_mcp_server.cluster.client import Answer, ApiClient
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.request import RequestInfo
from tests.support.clocks import ManualClock
from tests.support.eventually import eventually

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ANN = Client(username="oidc:ann", groups=frozenset({"oidc:b", "oidc:a"}))
REQUEST = RequestInfo(
    is_resource_request=True,
    path="/apis/apps/v1/namespaces/a/deployments/web/scale",
    verb="patch",
    api_group="apps",
    api_version="v1",
    namespace="a",
    resource="deployments",
    subresource="scale",
    name="web",
)


async def test_the_question_has_the_client_and_every_attribute_of_the_request() -> None:
    asked: list[tuple[str, str, Any]] = []

    class Api:
        async def request(self, method: str, path: str, *, body: Mapping[str, Any]) -> Answer:
            asked.append((method, path, body["spec"]))
            return Answer(status=201, body=json.dumps({"status": {"allowed": True}}).encode(), headers={})

    assert await review_access(cast("ApiClient", Api()), ANN, REQUEST)
    attributes = {
        "verb": "patch",
        "group": "apps",
        "version": "v1",
        "resource": "deployments",
        "subresource": "scale",
        "namespace": "a",
        "name": "web",
    }
    spec = {"user": "oidc:ann", "groups": ["oidc:a", "oidc:b"], "resourceAttributes": attributes}
    assert asked == [("POST", PATH, spec)]


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        pytest.param({"allowed": True}, True, id="a yes"),
        pytest.param({"allowed": False}, False, id="a no"),
        pytest.param({"allowed": True, "denied": True}, False, id="a yes and a denial"),
        pytest.param({"allowed": "true"}, False, id="text"),
        pytest.param({}, False, id="nothing"),
        pytest.param(None, False, id="no status"),
    ],
)
def test_only_a_plain_yes_is_one(status: Any, allowed: bool) -> None:
    assert is_allowed({"status": status}) is allowed


class Answers:
    """Answers as told, and counts."""

    def __init__(self) -> None:
        self.count = 0
        self.allowed = True
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, client: Client, request: RequestInfo) -> bool:
        del client, request
        self.count += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return self.allowed


async def call_here(work: Callable[[], Awaitable[Any]], *, timeout: float) -> Any:  # noqa: ASYNC109  as in Call
    async with asyncio.timeout(timeout):
        return await work()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def reviewer(answers: Answers, clock: ManualClock) -> AccessReviewer:
    return AccessReviewer(answers, call=call_here, clock=clock)


async def test_an_answer_is_kept_for_ten_seconds(
    reviewer: AccessReviewer, answers: Answers, clock: ManualClock
) -> None:
    assert await reviewer.review(ANN, REQUEST)
    answers.allowed = False
    clock.advance(9.9)
    assert await reviewer.review(ANN, REQUEST)
    clock.advance(0.2)
    assert not await reviewer.review(ANN, REQUEST)
    assert answers.count == 2


async def test_a_no_is_kept_for_two_seconds(reviewer: AccessReviewer, answers: Answers, clock: ManualClock) -> None:
    answers.allowed = False
    assert not await reviewer.review(ANN, REQUEST)
    answers.allowed = True
    clock.advance(1.9)
    assert not await reviewer.review(ANN, REQUEST)
    clock.advance(0.2)
    assert await reviewer.review(ANN, REQUEST)


async def test_another_client_is_another_question(reviewer: AccessReviewer, answers: Answers) -> None:
    await reviewer.review(ANN, REQUEST)
    await reviewer.review(Client(username="oidc:ann"), REQUEST)
    assert answers.count == 2


@pytest.mark.parametrize("field", ["path", "verb", "resource", "subresource", "name"])
async def test_an_answer_about_what_no_object_is_called_is_not_kept(
    reviewer: AccessReviewer, answers: Answers, field: str
) -> None:
    for length, asked in ((LONGEST_KEPT // 2, 1), (LONGEST_KEPT + 1, 2)):
        answers.count = 0
        changes: dict[str, Any] = {field: "x" * length}
        request = replace(REQUEST, **changes)
        assert await reviewer.review(ANN, request)
        assert await reviewer.review(ANN, request)
        assert answers.count == asked


async def test_callers_at_the_same_time_share_one_question_and_one_that_leaves_does_not_end_it(
    reviewer: AccessReviewer, answers: Answers
) -> None:
    answers.open.clear()
    first, second = (asyncio.create_task(reviewer.review(ANN, REQUEST)) for _ in range(2))
    await eventually(lambda: answers.count == 1)
    first.cancel()
    answers.open.set()
    assert await second
    assert answers.count == 1


async def test_a_failure_is_no_answer_and_is_not_kept(reviewer: AccessReviewer, answers: Answers) -> None:
    answers.error = Unavailable("refused")
    with pytest.raises(Unavailable):
        await reviewer.review(ANN, REQUEST)
    answers.error = None
    assert await reviewer.review(ANN, REQUEST)


async def test_a_request_that_runs_goes_on_while_it_is_asked_again_and_ends_when_nobody_answers(
    reviewer: AccessReviewer, answers: Answers, clock: ManualClock
) -> None:
    assert reviewer.last_known(ANN, REQUEST) is None
    assert answers.count == 0
    await reviewer.review(ANN, REQUEST)
    answers.error = Unavailable("refused")
    clock.advance(29)
    assert reviewer.last_known(ANN, REQUEST) is True
    await eventually(lambda: answers.count == 2)
    clock.advance(1)
    assert reviewer.last_known(ANN, REQUEST) is None


async def test_a_right_that_was_taken_ends_a_request_that_runs(
    reviewer: AccessReviewer, answers: Answers, clock: ManualClock
) -> None:
    await reviewer.review(ANN, REQUEST)
    answers.allowed = False
    clock.advance(10)
    await eventually(lambda: reviewer.last_known(ANN, REQUEST) is False)
