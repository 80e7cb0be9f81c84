"""What the cluster's own RBAC gives a client, as the API server says: SubjectAccessReview, kept for a short while."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from k8s_mcp_server.cluster.clock import boot_clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from k8s_mcp_server.cluster.client import ApiClient
    from k8s_mcp_server.cluster.operator import Call
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo

PATH: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
KEPT_SECONDS: Final = 10.0
REFUSED_SECONDS: Final = 2.0
TRUSTED_SECONDS: Final = 30.0
CACHE_ENTRIES: Final = 16_384
LONGEST_KEPT: Final = 2048  # characters of a request: names may be as long as a request's body
REVIEW_TIMEOUT: Final = 5.0

_Key: TypeAlias = "tuple[Client, RequestInfo]"
Review: TypeAlias = "Callable[[Client, RequestInfo], Awaitable[bool]]"


async def review_access(api: ApiClient, client: Client, request: RequestInfo) -> bool:
    """One SubjectAccessReview: whether the cluster gives the client the request.

    Raises:
        Unavailable: the API server does not answer, or not with a review.
    """
    spec = {
        "user": client.username,
        "groups": sorted(client.groups),
        "resourceAttributes": {
            "verb": request.verb,
            "group": request.api_group,
            "version": request.api_version,
            "resource": request.resource,
            "subresource": request.subresource,
            "namespace": request.namespace,
            "name": request.name,
        },
    }
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = await api.request("POST", PATH, body=body)
    return is_allowed(answer.json())


def is_allowed(review: dict[str, Any]) -> bool:
    """What a review's status says. Whatever is not a plain yes is a no."""
    status = review.get("status")
    return isinstance(status, dict) and status.get("allowed") is True and status.get("denied") is not True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    allowed: bool
    at: float


class AccessReviewer:
    """Looks up clients' own rights, and remembers what it was told. Asked in one event loop.

    Args:
        review: asks the API server, in the operator's loop.
        call: runs a coroutine function in the operator's loop.
        clock: seconds.
    """

    def __init__(self, review: Review, *, call: Call, clock: Callable[[], float] = boot_clock) -> None:
        self._review = review
        self._call = call
        self._clock = clock
        self._answers: OrderedDict[_Key, _Answer] = OrderedDict()
        self._running: dict[_Key, asyncio.Task[bool]] = {}

    async def review(self, client: Client, request: RequestInfo) -> bool:
        """Whether the cluster's RBAC gives the client the request now, or did within the last ten seconds.

        A no is kept for two seconds: it is what people wait to see change.

        Raises:
            Unavailable: the API server cannot be asked now.
        """
        known = self._answers.get((client, request))
        if known is not None and self._clock() - known.at < (KEPT_SECONDS if known.allowed else REFUSED_SECONDS):
            return known.allowed
        return await asyncio.shield(self._begin((client, request)))

    def last_known(self, client: Client, request: RequestInfo) -> bool | None:
        """What was said within the last thirty seconds, for a request that runs; asks again when that is old."""
        known = self._answers.get((client, request))
        if known is None:
            return None
        age = self._clock() - known.at
        if age >= KEPT_SECONDS:
            self._begin((client, request))
        return known.allowed if age < TRUSTED_SECONDS else None

    def _begin(self, key: _Key) -> asyncio.Task[bool]:
        """The review that is under way, or a new one."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key))
            self._running[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return task

    def _forget(self, key: _Key, task: asyncio.Task[bool]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # nobody else may be there to retrieve it

    async def _ask(self, key: _Key) -> bool:
        asked_at = self._clock()
        allowed = await self._call(lambda: self._review(*key), timeout=REVIEW_TIMEOUT)
        if _length(key[1]) > LONGEST_KEPT:
            return allowed
        self._answers[key] = _Answer(allowed=allowed, at=asked_at)
        self._answers.move_to_end(key)
        if len(self._answers) > CACHE_ENTRIES:
            self._answers.popitem(last=False)
        return allowed


def _length(request: RequestInfo) -> int:
    """How many characters a client has chosen in it."""
    texts = (request.path, request.verb, request.namespace, request.resource, request.subresource, request.name)
    return sum(map(len, texts))
