"""Events about policies: what ``kubectl describe mcpap`` shows of the last hour.

What occurred is counted in memory and written in the operator thread, so that nothing waits for it and nothing fails
with it. The rates and the joining of repetitions are client-go's (tools/record/events_cache.go, tools/events/
event_broadcaster.go). An Event names nobody and nothing but its policy: who may read it may know no more.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.cluster.client import ApiClient, ApiStatusError
from k8s_mcp_server.cluster.clock import boot_clock
from k8s_mcp_server.cluster.conditions import Status, conditions_of
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.compile import API_VERSION, Policy

if TYPE_CHECKING:
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

# Where those about cluster-scoped objects must be (k8s.io/kubernetes/pkg/apis/core/validation/events.go).
NAMESPACE: Final = "default"
PATH: Final = f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events"
CONTROLLER: Final = "k8s-mcp.io/k8s-mcp-server"
BURST: Final = 25  # events about one policy, one more every …
REFILL_SECONDS: Final = 300.0  # defaultSpamBurst, defaultSpamQPS
SERIES_SECONDS: Final = 360.0  # after so long without it, what occurs again is a new Event (finishTime)
_MOST_PENDING: Final = 1000  # maxQueuedEvents
_MOST_REMEMBERED: Final = 4096  # maxLruCacheEntries
_NOTE_BYTES: Final = 1024
_NAME_LENGTH: Final = 200
_INSTANCE_LENGTH: Final = 128
_MERGE: Final = "application/merge-patch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """Something that occurred to a policy; what is equal is told as one Event with a count."""

    policy: str
    uid: str
    warning: bool
    action: str
    reason: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    name: str
    count: int
    last: float


@dataclass(slots=True, kw_only=True)
class _Bucket:
    """A token bucket for one policy."""

    filled_at: float
    tokens: float = field(default=float(BURST))

    def take(self, now: float) -> bool:
        self.tokens = min(BURST, self.tokens + (now - self.filled_at) / REFILL_SECONDS)
        self.filled_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class PolicyEvents:
    """Takes what occurs, from any thread, and writes it.

    Args:
        policies_for: the policies that name a client.
        identity: this replica's name.
        metrics: counts what was written, what was one too many, and what failed.
        clock: seconds.
        now: the time, aware.
    """

    def __init__(
        self,
        *,
        policies_for: Callable[[Client], Iterable[Policy]],
        identity: str,
        metrics: Metrics,
        clock: Callable[[], float] = boot_clock,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._policies_for = policies_for
        self._identity = identity
        self._metrics = metrics
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._pending: Counter[Occurrence] = Counter()
        self._series: dict[Occurrence, _Series] = {}
        self._buckets: dict[str, _Bucket] = {}

    def denied(self, client: Client, reason: str) -> None:
        """A command of the client was denied, with the stable word for why: told of each policy that names it."""
        for policy in self._policies_for(client):
            self.add(
                Occurrence(
                    policy=policy.name,
                    uid=policy.uid,
                    warning=True,
                    action="Deny",
                    reason=reason or "Denied",
                    note="a command of a client that this policy names was denied; the audit log says whose and why",
                )
            )

    def changed(self, policy: Policy, before: Mapping[str, Any], after: Status) -> None:
        """A policy's status was written."""
        for occurrence in _transitions(policy, before, after):
            self.add(occurrence)

    def add(self, occurrence: Occurrence) -> None:
        """Count it in; never blocks."""
        with self._lock:
            if occurrence in self._pending or len(self._pending) < _MOST_PENDING:
                self._pending[occurrence] += 1
                return
        self._metrics.event("dropped")

    async def run(self, client: ApiClient, *, interval: float) -> None:
        """Write for ever, every ``interval`` seconds."""
        while True:
            await asyncio.sleep(interval)
            await self.write(client)

    async def write(self, client: ApiClient) -> None:
        """Write what occurred since the last time; what cannot be written is counted and forgotten."""
        with self._lock:
            pending, self._pending = self._pending, Counter()
        self._forget_old()
        for occurrence, count in pending.items():
            outcome = "written"
            try:
                if not await self._write(client, occurrence, count):
                    outcome = "dropped"
            except Unavailable as error:
                outcome = "failed"
                logger.debug("an Event about policy %s was not written: %s", occurrence.policy, error)
            self._metrics.event(outcome)

    def _forget_old(self) -> None:
        now = self._clock()
        self._series = {key: series for key, series in self._series.items() if now - series.last < SERIES_SECONDS}
        if len(self._buckets) > _MOST_REMEMBERED:
            self._buckets.clear()

    async def _write(self, client: ApiClient, occurrence: Occurrence, count: int) -> bool:
        """One Event, or one more in its series. Says whether the policy had one left."""
        known, now = self._series.get(occurrence), self._clock()
        if known is not None:
            series = replace(known, count=known.count + count, last=now)
            try:
                body = {"series": self._series_body(series.count)}
                await client.request("PATCH", f"{PATH}/{series.name}", body=body, headers={"Content-Type": _MERGE})
            except ApiStatusError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                del self._series[occurrence]  # its hour is over, or somebody removed it
            else:
                self._series[occurrence] = series
                return True
        if not self._buckets.setdefault(occurrence.uid, _Bucket(filled_at=now)).take(now):
            return False
        name = f"{occurrence.policy[:_NAME_LENGTH].rstrip('.-')}.{time.time_ns():x}"
        await client.request("POST", PATH, body=self._body(occurrence, name=name, count=count))
        self._series[occurrence] = _Series(name=name, count=count, last=now)
        return True

    def _body(self, occurrence: Occurrence, *, name: str, count: int) -> dict[str, Any]:
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "eventTime": self._micro_time(),
            "reportingController": CONTROLLER,
            "reportingInstance": self._identity[:_INSTANCE_LENGTH],
            "action": occurrence.action,
            "reason": occurrence.reason,
            "type": "Warning" if occurrence.warning else "Normal",
            "note": occurrence.note.encode()[:_NOTE_BYTES].decode(errors="ignore"),
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": "McpAccessPolicy",
                "name": occurrence.policy,
                "uid": occurrence.uid,
            },
            **({"series": self._series_body(count)} if count > 1 else {}),
        }

    def _series_body(self, count: int) -> dict[str, Any]:
        return {"count": count, "lastObservedTime": self._micro_time()}

    def _micro_time(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _transitions(policy: Policy, before: Mapping[str, Any], after: Status) -> Iterator[Occurrence]:
    """What of a status is news: a condition that is not well, for a reason that it had not, or is well again."""
    was, told = conditions_of(before), set[str]()
    for kind in ("Ready", "Active", "WithinServerRBAC"):
        condition, previous = conditions_of(after)[kind], was.get(kind)
        reason, is_well = condition["reason"], condition["status"] == "True"
        is_new = previous is None or previous.get("reason") != reason
        if not is_new or condition["status"] == "Unknown" or (is_well and not _was_unwell(previous)) or reason in told:
            continue
        told.add(reason)
        yield Occurrence(
            policy=policy.name,
            uid=policy.uid,
            warning=not is_well and kind != "Active",  # what ends a policy is what its author wrote
            action="Reconcile",
            reason=reason,
            note=condition["message"],
        )


def _was_unwell(previous: Mapping[str, Any] | None) -> bool:
    return previous is not None and previous.get("status") == "False"
