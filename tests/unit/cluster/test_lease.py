from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.cluster.client import ApiStatusError
from k8s_mcp_server.cluster.lease import DURATION, RENEW_DEADLINE, LeaderElection
from k8s_mcp_server.errors import Unavailable
from tests.support.clocks import ManualClock
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class StoredLease:
    """A Lease as the API server keeps it: a write at an old version is a conflict."""

    def __init__(self, **spec: Any) -> None:
        self.lease: dict[str, Any] = {"metadata": {"name": "k8s-mcp-server", "resourceVersion": "1"}, "spec": spec}
        self.error: Exception | None = None
        self.updates = 0

    @property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.lease["spec"]
        return spec

    async def read(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return copy.deepcopy(self.lease)

    async def update(self, lease: Mapping[str, Any]) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        if lease["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ApiStatusError(409, "the object has been modified")
        self.updates += 1
        self.lease = copy.deepcopy(dict(lease))
        self.lease["metadata"]["resourceVersion"] = str(int(lease["metadata"]["resourceVersion"]) + 1)
        return self.lease


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lease() -> StoredLease:
    return StoredLease()


def candidate(name: str, lease: StoredLease, clock: ManualClock, **options: Any) -> LeaderElection:
    now = lambda: datetime.fromtimestamp(clock(), UTC)  # noqa: E731  reads best in place
    return LeaderElection(lease, identity=name, clock=clock, now=now, **options)


async def test_a_free_lease_is_taken(lease: StoredLease, clock: ManualClock) -> None:
    first = candidate("first", lease, clock)
    assert not first.is_leader

    await first.attempt()

    assert first.is_leader
    assert lease.spec == {
        "holderIdentity": "first",
        "leaseDurationSeconds": 15,
        "acquireTime": "1970-01-01T00:16:40.000000Z",
        "renewTime": "1970-01-01T00:16:40.000000Z",
        "leaseTransitions": 1,
    }


async def test_of_many_candidates_one_leads(lease: StoredLease, clock: ManualClock) -> None:
    candidates = [candidate(f"pod-{number}", lease, clock) for number in range(5)]
    for _ in range(4):
        await asyncio.gather(*(one.attempt() for one in candidates))
        assert sum(one.is_leader for one in candidates) == 1
        clock.advance(5)


async def test_renewing_keeps_the_lease_and_its_acquire_time(lease: StoredLease, clock: ManualClock) -> None:
    first, second = candidate("first", lease, clock), candidate("second", lease, clock)
    for _ in range(10):
        await first.attempt()
        await second.attempt()
        clock.advance(5)

    assert first.is_leader
    assert not second.is_leader
    assert lease.spec["acquireTime"] == "1970-01-01T00:16:40.000000Z"
    assert lease.spec["renewTime"] == "1970-01-01T00:17:25.000000Z"
    assert lease.spec["leaseTransitions"] == 1


async def test_a_dead_holders_lease_is_taken_after_its_duration(lease: StoredLease, clock: ManualClock) -> None:
    first, second = candidate("first", lease, clock), candidate("second", lease, clock)
    await first.attempt()
    await second.attempt()
    clock.advance(DURATION - 0.1)
    await second.attempt()
    assert not second.is_leader
    assert not first.is_leader, "the old leader stops before another may begin"

    clock.advance(0.1)
    await second.attempt()

    assert second.is_leader
    assert lease.spec["leaseTransitions"] == 2


async def test_the_holders_clock_does_not_matter(clock: ManualClock) -> None:
    stale = StoredLease(holderIdentity="other", leaseDurationSeconds=15, renewTime="2000-01-01T00:00:00.000000Z")
    late = candidate("late", stale, clock)

    await late.attempt()

    assert not late.is_leader


async def test_a_leader_that_cannot_renew_stops_in_time(lease: StoredLease, clock: ManualClock) -> None:
    changes: list[bool] = []
    first = candidate("first", lease, clock, changed=changes.append)
    await first.attempt()
    lease.error = Unavailable("down")
    clock.advance(RENEW_DEADLINE - 1)
    await first.attempt()
    assert first.is_leader

    clock.advance(1)
    await first.attempt()

    assert not first.is_leader
    assert changes == [True, False]


async def test_a_leader_whose_lease_another_took_stops_at_once(lease: StoredLease, clock: ManualClock) -> None:
    first = candidate("first", lease, clock)
    await first.attempt()
    lease.spec["holderIdentity"] = "usurper"

    await first.attempt()

    assert not first.is_leader


async def test_ending_lets_go_so_that_another_can_begin(lease: StoredLease, clock: ManualClock) -> None:
    first, second = candidate("first", lease, clock), candidate("second", lease, clock)
    task = asyncio.create_task(first.run(sleep=lambda _: asyncio.Event().wait()))  # type: ignore[arg-type,return-value]  # waits for ever
    await eventually(lambda: first.is_leader)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert lease.spec["holderIdentity"] == ""
    assert not first.is_leader

    await second.attempt()

    assert second.is_leader


async def test_ending_leaves_another_holders_lease_alone(lease: StoredLease, clock: ManualClock) -> None:
    first = candidate("first", lease, clock)
    await first.attempt()
    lease.spec["holderIdentity"] = "usurper"

    await first._release()

    assert lease.spec["holderIdentity"] == "usurper"
