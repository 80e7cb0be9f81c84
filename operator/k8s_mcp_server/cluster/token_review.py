"""Who a bearer token belongs to, as the API server says: TokenReview, bound to our own audience.

A token that the API server accepts for itself must never be accepted here (and the other way round), so the
answer counts only when it names our audience. Answers are kept for a short while: a deleted ServiceAccount's
token works that long at most.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from k8s_mcp_server.cluster.client import ApiClient, ApiStatusError
from k8s_mcp_server.cluster.clock import boot_clock
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.identity import Authenticator, Client

if TYPE_CHECKING:
    from k8s_mcp_server.cluster.operator import Call
    from k8s_mcp_server.telemetry.metrics import Metrics

PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
TOKEN_BYTES: Final = 8192
ACCEPTED_SECONDS: Final = 30.0
REFUSED_SECONDS: Final = 5.0
CACHE_ENTRIES: Final = 4096
REVIEWS_AT_ONCE: Final = 16
WAITING_REVIEWS: Final = 512  # under way or waiting; a flood of made-up tokens must not pile up without end
REVIEW_TIMEOUT: Final = 10.0
_JWT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

Review = Callable[[str], Awaitable[Client | None]]


async def review_token(client: ApiClient, token: str, *, audience: str) -> Client | None:
    """One TokenReview: the client that the token belongs to, or None when it is not good for ``audience``.

    Raises:
        Unavailable: the API server does not answer, or not with a review.
    """
    spec = {"token": token, "audiences": [audience]}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    try:
        answer = await client.request("POST", PATH, body=body)
    except ApiStatusError as error:  # its text may quote what was sent
        raise Unavailable(f"the API server answered the token review with {error.status}") from None
    return client_of(answer.json().get("status") or {}, audience=audience)


def client_of(status: Mapping[str, Any], *, audience: str) -> Client | None:
    """The client that a TokenReview's status names, or None.

    ``status.audiences`` must name ours: an API server that knows no audiences leaves it empty, and then the token
    is one for the API server itself (TokenReviewStatus in k8s.io/api/authentication/v1/types.go).
    """
    if status.get("authenticated") is not True or audience not in (status.get("audiences") or ()):
        return None
    user = status.get("user") or {}
    username = user.get("username")
    if not isinstance(username, str) or not username:
        return None
    groups = frozenset(group for group in user.get("groups") or () if isinstance(group, str))
    return Client(username=username, groups=groups, authenticator=Authenticator.TOKEN_REVIEW)


class TokenReviewer:
    """Authenticates bearer tokens, asking the API server once for many calls.

    Args:
        review: asks the API server, in the operator's loop.
        call: runs a coroutine function in the operator's loop.
        metrics: counts outcomes.
        clock: seconds, for the cache.
        now: seconds since 1970, for tokens' ``exp``.
    """

    def __init__(
        self,
        review: Review,
        *,
        call: Call,
        metrics: Metrics,
        clock: Callable[[], float] = boot_clock,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._review = review
        self._call = call
        self._metrics = metrics
        self._now = now
        self._accepted: _Cache[Client] = _Cache(clock=clock, size=CACHE_ENTRIES)
        self._refused: _Cache[bool] = _Cache(clock=clock, size=CACHE_ENTRIES)
        self._running: dict[bytes, asyncio.Task[Client | None]] = {}
        self._slots = asyncio.Semaphore(REVIEWS_AT_ONCE)

    async def authenticate(self, token: str) -> Client | None:
        """The client that the token belongs to, or None when the token is not good for us.

        Raises:
            Unavailable: the API server cannot be asked now; says nothing about the token.
        """
        try:
            client = await self._authenticate(token)
        except Unavailable:
            self._metrics.authentication(authenticator=Authenticator.TOKEN_REVIEW, outcome="unavailable")
            raise
        outcome = "refused" if client is None else "accepted"
        self._metrics.authentication(authenticator=Authenticator.TOKEN_REVIEW, outcome=outcome)
        return client

    async def _authenticate(self, token: str) -> Client | None:
        claims = read_claims(token)
        if claims is None:
            return None
        key = hashlib.sha256(token.encode("ascii")).digest()
        known = self._accepted.get(key)
        if known is not None:
            return known
        if self._refused.get(key):
            return None
        return await self._call(lambda: self._shared_review(key, token, claims), timeout=REVIEW_TIMEOUT)

    async def _shared_review(self, key: bytes, token: str, claims: Claims) -> Client | None:
        """In the operator's loop: join the review of this token, or begin one. A caller that leaves does not end it."""
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= WAITING_REVIEWS:
                raise Unavailable("too many tokens wait to be reviewed")
            task = asyncio.create_task(self._review_and_remember(key, token, claims))
            self._running[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: bytes, task: asyncio.Task[Client | None]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # every caller may have left, and then nobody else retrieves it

    async def _review_and_remember(self, key: bytes, token: str, claims: Claims) -> Client | None:
        async with self._slots:
            client = await self._review(token)
        if client is None:
            self._refused.put(key, value=True, seconds=REFUSED_SECONDS)
        else:
            self._accepted.put(key, value=client, seconds=self._seconds_to_keep(claims))
        return client

    def _seconds_to_keep(self, claims: Claims) -> float:
        if claims.exp is None:
            return ACCEPTED_SECONDS
        return min(ACCEPTED_SECONDS, claims.exp - self._now())


class Claims(msgspec.Struct, frozen=True):
    """What is read from a token without any proof; it only shortens how long an answer is kept."""

    exp: float | None = None


def read_claims(token: str) -> Claims | None:
    """The unproven claims of a JWT (RFC 7519 §3.1), or None for what is too long or no JWT: never worth a question."""
    if len(token) > TOKEN_BYTES or not _JWT.fullmatch(token):
        return None
    header, payload, _ = token.split(".")
    try:
        msgspec.json.decode(_decode(header), type=dict[str, Any])
        return msgspec.json.decode(_decode(payload), type=Claims)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, RecursionError):
        return None


def _decode(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept(Generic[Value]):
    value: Value
    until: float


class _Cache(Generic[Value]):
    """Values that end, at most ``size`` of them; the least used goes first. Safe in every thread."""

    def __init__(self, *, clock: Callable[[], float], size: int) -> None:
        self._clock = clock
        self._size = size
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, _Kept[Value]] = OrderedDict()

    def get(self, key: bytes) -> Value | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            if kept.until <= self._clock():
                del self._kept[key]
                return None
            self._kept.move_to_end(key)
            return kept.value

    def put(self, key: bytes, *, value: Value, seconds: float) -> None:
        if seconds <= 0:
            return
        with self._lock:
            self._kept[key] = _Kept(value=value, until=self._clock() + seconds)
            self._kept.move_to_end(key)
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
