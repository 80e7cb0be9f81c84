from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from k8s_mcp_server.cluster.operator import Backoff, OperatorThread, Publisher
from k8s_mcp_server.cluster.store import PolicyStore, Resource
from k8s_mcp_server.errors import Unavailable
from tests.support.eventually import eventually
from tests.support.policies import policy_body

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def until_stopped(stop: asyncio.Event) -> None:
    await stop.wait()


@pytest.fixture
def operator() -> Iterator[OperatorThread]:
    thread = OperatorThread(until_stopped)
    thread.start()
    yield thread
    assert thread.stop()


async def test_work_runs_in_the_operator_thread(operator: OperatorThread) -> None:
    async def where() -> str:
        return threading.current_thread().name

    assert await operator.call(where, timeout=5) == "operator"
    assert operator.alive


async def test_an_error_of_the_work_reaches_the_caller(operator: OperatorThread) -> None:
    async def fail() -> None:
        raise KeyError("what")

    with pytest.raises(KeyError):
        await operator.call(fail, timeout=5)


async def test_work_that_takes_too_long_is_unavailable(operator: OperatorThread) -> None:
    with pytest.raises(Unavailable, match="too long"):
        await operator.call(asyncio.Event().wait, timeout=0.01)


async def test_a_caller_that_leaves_ends_its_wait_only(operator: OperatorThread) -> None:
    begun, release, finished = threading.Event(), threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        await eventually(release.is_set)
        finished.set()

    caller = asyncio.create_task(operator.call(work, timeout=5))
    await eventually(begun.is_set)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    release.set()

    await eventually(finished.is_set)


async def test_a_thread_that_does_not_run_is_unavailable() -> None:
    thread = OperatorThread(until_stopped)
    with pytest.raises(Unavailable):
        await thread.call(asyncio.Event().wait, timeout=5)
    assert not thread.alive
    assert thread.stop(), "stopping what never started is no error"

    thread.start()
    assert thread.stop()
    with pytest.raises(Unavailable):
        await thread.call(asyncio.Event().wait, timeout=5)


async def test_work_under_way_at_the_end_is_unavailable() -> None:
    thread = OperatorThread(until_stopped)
    thread.start()
    begun = threading.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    caller = asyncio.create_task(thread.call(work, timeout=30))
    await eventually(begun.is_set)
    assert await asyncio.to_thread(thread.stop)

    with pytest.raises(Unavailable, match="ending"):
        await caller


async def test_what_fails_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    runs, restarts = [], []

    async def main(stop: asyncio.Event) -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ZeroDivisionError
        await stop.wait()

    thread = OperatorThread(main, backoff=Backoff(first=0.001), restarted=lambda: restarts.append(1))
    thread.start()
    await eventually(lambda: len(runs) == 3)
    assert await asyncio.to_thread(thread.stop)

    assert len(restarts) == 2
    assert "ZeroDivisionError" in caplog.text


async def test_stopping_does_not_wait_for_the_next_try() -> None:
    failed = threading.Event()

    async def main(_: asyncio.Event) -> None:
        failed.set()
        raise ZeroDivisionError

    thread = OperatorThread(main, backoff=Backoff(first=3600, longest=3600))
    thread.start()
    await eventually(failed.is_set)

    assert await asyncio.to_thread(thread.stop)


def test_waits_double_up_to_the_longest_and_begin_anew_after_a_steady_run() -> None:
    backoff = Backoff(first=1, longest=5)

    assert [backoff.after(ran_for=0) for _ in range(5)] == [1, 2, 4, 5, 5]
    assert backoff.after(ran_for=60) == 1
    assert backoff.after(ran_for=59) == 2


async def test_the_first_event_is_published_at_once_and_a_burst_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    store = PolicyStore()
    published: list[int] = []
    monkeypatch.setattr(store, "publish", lambda: published.append(len(store.policy_objects)))
    publisher = Publisher(store, interval=0.05)

    publisher.take(Resource.POLICIES, "ADDED", policy_body("first", version="1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert published == [1]

    for number in range(100):
        publisher.take(Resource.POLICIES, "ADDED", policy_body(f"p{number}", version=str(2 + number)))
    assert published == [1]
    await eventually(lambda: len(published) == 2)
    assert published == [1, 101]

    publisher.take(Resource.POLICIES, "MODIFIED", policy_body("first", version="1"))
    assert publisher._pending is None, "what is no news is not published"
