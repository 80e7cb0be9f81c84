"""Commands that cannot run, clients that leave, and the limits of both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.execution.result import Result
from k8s_mcp_server.policy.limits import Limits
from k8s_mcp_server.serving.form import fields_of
from tests.support.agent import text_of
from tests.support.executing import MODES, in_flight, run
from tests.support.serving import DONE, Service, policy, serving

if TYPE_CHECKING:
    from k8s_mcp_server.execution.pipeline import Pipeline
    from k8s_mcp_server.gateway.session import CommandSession

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_what_the_executor_refuses_is_a_refusal(service: Service) -> None:
    async def work(_: Pipeline, __: CommandSession) -> Result:
        raise CommandRefused("ProgramMissing", "jq is not installed in this server.")

    service.executor.work = work

    result = await run(service, {"command": "get pods | jq ."})

    assert (fields_of(result)["status"], fields_of(result)["reason"]) == ("refused", "ProgramMissing")
    assert (service.gateway.open_sessions, in_flight(service)) == ([], 0.0)


async def test_a_process_that_cannot_start_is_unavailable(service: Service) -> None:
    async def work(_: Pipeline, __: CommandSession) -> Result:
        raise OSError("fork failed in /secret/path")

    service.executor.work = work

    result = await run(service, {"command": "get pods"})

    assert fields_of(result)["status"] == "unavailable"
    assert "/secret/path" not in text_of(result)


async def test_a_fault_of_ours_is_logged_and_not_shown(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    async def work(_: Pipeline, __: CommandSession) -> Result:
        raise KeyError("internals")

    service.executor.work = work

    result = await run(service, {"command": "get pods"})

    assert (fields_of(result)["status"], fields_of(result)["reason"]) == ("unavailable", "InternalError")
    assert "internals" not in text_of(result)
    assert "internals" in caplog.text
    assert service.gateway.open_sessions == []


@MODES
async def test_progress_arrives_while_a_command_runs(mode: str) -> None:
    seen: list[tuple[float, float | None, str | None]] = []
    told = asyncio.Event()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))
        told.set()

    async def work(_: Pipeline, __: CommandSession) -> Result:
        await told.wait()
        return DONE

    async with serving(progress_seconds=0.01) as service:
        service.executor.work = work
        async with asyncio.timeout(20), service.client(mode=mode) as client:
            result = await client.call_tool("execute_kubectl", {"command": "get pods"}, progress_callback=on_progress)

    assert fields_of(result)["status"] == "succeeded"
    assert seen[0][1] == 60
    assert "running" in (seen[0][2] or "")


@MODES
async def test_a_client_that_leaves_ends_its_command(service: Service, mode: str) -> None:
    started, recorded = asyncio.Event(), asyncio.Event()

    async def work(_: Pipeline, __: CommandSession) -> Result:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def leave() -> None:
        async with service.client(mode=mode) as client:
            await client.call_tool("execute_kubectl", {"command": "get pods --watch"})

    service.executor.work = work
    agent = asyncio.create_task(leave())
    async with asyncio.timeout(20):
        await started.wait()
        agent.cancel()
        await asyncio.wait({agent})
        while not service.audit():  # noqa: ASYNC110 - the server notices by itself, and writes a line
            await asyncio.sleep(0.01)

    assert not recorded.is_set()
    assert (service.executor.cancelled, service.executor.running) == (1, 0)
    assert (service.gateway.open_sessions, service.gateway.closed) == ([], 1)
    assert (service.admission.running, in_flight(service)) == (0, 0.0)
    assert service.audit()[0]["outcome"] == "cancelled"


async def test_a_client_may_not_run_more_at_once_than_its_limit() -> None:
    release = asyncio.Event()
    started = asyncio.Semaphore(0)

    async def work(_: Pipeline, __: CommandSession) -> Result:
        started.release()
        await release.wait()
        return DONE

    async with serving(defaults=Limits(concurrent_commands=1)) as service, asyncio.timeout(20):
        service.executor.work = work
        first = asyncio.create_task(run(service, {"command": "get pods"}))
        await started.acquire()
        second = await run(service, {"command": "get pods"})
        release.set()
        done = await first

    assert (fields_of(second)["status"], fields_of(second)["reason"]) == ("refused", "TooManyCommands")
    assert fields_of(second)["retry_after_seconds"] > 0
    assert fields_of(done)["status"] == "succeeded"


async def test_a_client_may_not_run_more_a_minute_than_its_limit() -> None:
    async with serving(defaults=Limits(commands_per_minute=1)) as service:
        await run(service, {"command": "get pods"})
        second = await run(service, {"command": "get pods"})

    assert (fields_of(second)["status"], fields_of(second)["reason"]) == ("refused", "RateLimited")


async def test_a_full_replica_is_unavailable() -> None:
    release, started = asyncio.Event(), asyncio.Semaphore(0)

    async def work(_: Pipeline, __: CommandSession) -> Result:
        started.release()
        await release.wait()
        return DONE

    async with serving(max_running=1, max_queued=0) as service, asyncio.timeout(20):
        service.store.set(policy("readers", "alice", "bob"))
        service.executor.work = work
        first = asyncio.create_task(run(service, {"command": "get pods"}))
        await started.acquire()
        second = await run(service, {"command": "get pods"}, as_="bob")
        release.set()
        await first

    assert (fields_of(second)["status"], fields_of(second)["reason"]) == ("unavailable", "QueueFull")
