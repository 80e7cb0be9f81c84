"""Places for commands, and each client's share."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from k8s_mcp_server.policy.limits import Limits
from k8s_mcp_server.serving.admission import Admission, NotAdmittedError
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.serving import ALICE, BOB, FakeClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

LIMITS = Limits(concurrent_commands=2, commands_per_minute=60)


def make(
    *, clock: FakeClock | None = None, max_running: int = 10, max_queued: int = 10, queue_seconds: float = 10
) -> tuple[Admission, Metrics]:
    metrics = Metrics()
    admission = Admission(
        max_running=max_running,
        max_queued=max_queued,
        queue_seconds=queue_seconds,
        metrics=metrics,
        clock=clock or FakeClock(),
    )
    return admission, metrics


async def reason_of(admission: Admission, *, limits: Limits = LIMITS) -> NotAdmittedError:
    with pytest.raises(NotAdmittedError) as caught:
        async with admission.place(ALICE, limits=limits):
            pass
    return caught.value


async def queued(metrics: Metrics, *, wanted: int) -> None:
    async with asyncio.timeout(10):
        while metrics.registry.get_sample_value("k8s_mcp_commands_queued") != wanted:  # noqa: ASYNC110 - a gauge
            await asyncio.sleep(0)


async def test_a_client_has_at_most_its_own_number_of_places() -> None:
    admission, _ = make()

    async with admission.place(ALICE, limits=LIMITS), admission.place(ALICE, limits=LIMITS):
        refused = await reason_of(admission)
        async with admission.place(BOB, limits=LIMITS):
            pass
    async with admission.place(ALICE, limits=LIMITS):
        pass

    assert refused.reason == "TooManyCommands"
    assert refused.is_own_limit


async def test_a_pipeline_takes_a_place_for_each_cli_in_it_and_gives_them_back() -> None:
    admission, _ = make()
    limits = Limits(concurrent_commands=3)

    async with admission.place(ALICE, limits=limits, processes=2):
        with pytest.raises(NotAdmittedError, match=r"2 commands running .* this one counts 2") as refused:
            async with admission.place(ALICE, limits=limits, processes=2):
                pass
        async with admission.place(ALICE, limits=limits):
            pass
    async with admission.place(ALICE, limits=limits, processes=3):
        pass

    assert (refused.value.reason, refused.value.is_own_limit) == ("TooManyCommands", True)


async def test_a_pipeline_above_the_clients_limit_runs_where_nothing_else_does() -> None:
    admission, _ = make()
    limits = Limits(concurrent_commands=1)

    async with admission.place(ALICE, limits=limits, processes=3):
        assert (await reason_of(admission, limits=limits)).reason == "TooManyCommands"
    async with admission.place(ALICE, limits=limits):
        pass


async def test_waiting_counts_as_holding_a_place() -> None:
    admission, metrics = make(max_running=1)

    async with admission.place(BOB, limits=LIMITS), asyncio.TaskGroup() as group:
        waiting = [group.create_task(hold(admission)) for _ in range(2)]
        await queued(metrics, wanted=2)
        refused = await reason_of(admission)
        for task in waiting:
            task.cancel()

    assert refused.reason == "TooManyCommands"
    assert metrics.registry.get_sample_value("k8s_mcp_commands_queued") == 0


async def hold(admission: Admission, *, ran: asyncio.Event | None = None) -> None:
    with contextlib.suppress(NotAdmittedError):
        async with admission.place(ALICE, limits=LIMITS):
            if ran:
                ran.set()


async def test_the_next_in_the_queue_runs_when_a_place_becomes_free() -> None:
    admission, metrics = make(max_running=1)
    ran = asyncio.Event()

    async with asyncio.TaskGroup() as group:
        async with admission.place(BOB, limits=LIMITS):
            group.create_task(hold(admission, ran=ran))
            await queued(metrics, wanted=1)
            assert not ran.is_set()
        async with asyncio.timeout(10):
            await ran.wait()


async def test_a_full_queue_refuses() -> None:
    admission, _ = make(max_running=1, max_queued=0)

    async with admission.place(BOB, limits=LIMITS):
        refused = await reason_of(admission)

    assert (refused.reason, refused.is_own_limit) == ("QueueFull", False)


async def test_a_wait_has_an_end() -> None:
    admission, _ = make(max_running=1, queue_seconds=0.01)

    async with admission.place(BOB, limits=LIMITS):
        refused = await reason_of(admission)
    async with admission.place(ALICE, limits=LIMITS):
        pass

    assert refused.reason == "QueueTimeout"


async def test_a_rate_is_a_bucket_that_time_fills() -> None:
    clock = FakeClock()
    admission, _ = make(clock=clock)
    limits = Limits(concurrent_commands=2, commands_per_minute=2)

    for _ in range(2):
        async with admission.place(ALICE, limits=limits):
            pass
    refused = await reason_of(admission, limits=limits)
    clock.seconds += refused.retry_after
    async with admission.place(ALICE, limits=limits):
        pass
    again = await reason_of(admission, limits=limits)

    assert (refused.reason, refused.retry_after) == ("RateLimited", 30.0)
    assert again.reason == "RateLimited"


async def test_idle_time_earns_a_minute_of_commands_at_most() -> None:
    clock = FakeClock()
    admission, _ = make(clock=clock)
    limits = Limits(concurrent_commands=2, commands_per_minute=2)

    async with admission.place(ALICE, limits=limits):
        pass
    clock.seconds += 3600
    for _ in range(2):
        async with admission.place(ALICE, limits=limits):
            pass

    assert (await reason_of(admission, limits=limits)).reason == "RateLimited"


async def test_the_rate_is_each_clients_own() -> None:
    admission, _ = make()
    limits = Limits(commands_per_minute=1)

    async with admission.place(ALICE, limits=limits):
        pass
    async with admission.place(BOB, limits=limits):
        pass

    assert (await reason_of(admission, limits=limits)).reason == "RateLimited"


async def test_a_replica_that_stops_takes_no_more() -> None:
    admission, _ = make()
    admission.drain()

    assert (await reason_of(admission)).reason == "Draining"
