"""How a command ends: by its caps, its time, its client, and by what it does."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.execution import limits as process_limits
from k8s_mcp_server.execution.result import KilledFor
from k8s_mcp_server.execution.running import RunningPipeline
from k8s_mcp_server.execution.sandbox import kernel
from k8s_mcp_server.policy.limits import Limits
from tests.support.eventually import eventually
from tests.support.executors import ENDLESS, LIMITS, left_in
from tests.support.sandboxed import pipeline, python_stage

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from concurrent.futures import Future

    from k8s_mcp_server.execution.executor import Executor
    from k8s_mcp_server.execution.result import Progress
    from k8s_mcp_server.execution.sandbox.profile import Profile
    from k8s_mcp_server.execution.sandbox.spawn import ProcessSpec

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


SILENT = ("awk", "BEGIN { while (1) { } }")


@pytest.fixture
def orphans_come_here() -> Iterator[None]:
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    yield
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 0)


def processes_in(folder: Path) -> list[str]:
    """Command lines of the processes whose environment names the folder."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit() and int(each.name) != os.getpid():
            try:
                if str(folder).encode() in (each / "environ").read_bytes():
                    found.append((each / "cmdline").read_text(encoding="utf-8"))
            except OSError:
                continue
    return found


async def test_output_stops_at_the_cap_and_ends_the_command(executor: Executor) -> None:
    limits = Limits(timeout_seconds=30, output_bytes=1000)
    with anyio.fail_after(20):
        result = await executor.run(pipeline(ENDLESS), access=None, limits=limits)
    assert len(result.stdout) == 1000
    assert result.stdout_truncated
    assert (result.exit_code, result.killed_for) == (None, KilledFor.OUTPUT)


IN_ORDER = replace(
    python_stage(
        "import signal, sys\n"
        "def end(*_): print('ended in order', flush=True); sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('begun', flush=True)\nsignal.pause()"
    ),
    grace_seconds=10.0,
)
STUBBORN = replace(
    python_stage("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: signal.pause()"),
    grace_seconds=0.5,
)


async def test_what_can_end_in_order_is_asked_to_before_its_time_is_over(executor: Executor) -> None:
    limits = Limits(timeout_seconds=12)
    with anyio.fail_after(30):
        result = await executor.run(pipeline(IN_ORDER, ("head", "-n", "9")), access=None, limits=limits)
    assert result.stdout == b"begun\nended in order\n"
    assert (result.timed_out, result.stage_exit_codes[0]) == (True, 3)


async def test_what_does_not_end_when_asked_is_made_to(executor: Executor) -> None:
    with anyio.fail_after(30):
        result = await executor.run(pipeline(STUBBORN), access=None, limits=Limits(timeout_seconds=2))
    assert (result.timed_out, result.stage_exit_codes) == (True, (-9,))


async def test_a_client_that_goes_lets_it_end_in_order(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[bytes] = []
    real, begun = RunningPipeline.end, asyncio.Event()

    async def end(running: RunningPipeline) -> None:
        await real(running)
        ends.append(running.result().stdout)

    async def look(progress: Progress) -> None:
        if progress.stdout_bytes:
            begun.set()

    monkeypatch.setattr(RunningPipeline, "end", end)
    limits = Limits(timeout_seconds=60)
    command = asyncio.create_task(executor.run(pipeline(IN_ORDER), access=None, limits=limits, on_progress=look))
    with anyio.fail_after(20):
        await begun.wait()
    command.cancel()
    with anyio.fail_after(20):
        await asyncio.wait({command})
    assert ends == [b"begun\nended in order\n"]
    assert left_in(tmp_path) == []


async def test_output_of_exactly_the_cap_is_whole(executor: Executor) -> None:
    limits = Limits(timeout_seconds=30, output_bytes=5)
    result = await executor.run(pipeline(("head", "-c", "5")), access=None, limits=limits, stdin=b"x" * 5)
    assert (result.exit_code, result.stdout, result.stdout_truncated) == (0, b"xxxxx", False)


async def test_error_output_is_capped_without_holding_the_command_back(executor: Executor) -> None:
    stage = python_stage("import os\nfor _ in range(64): os.write(2, b'e' * 65536)\nos.write(1, b'done')")
    result = await executor.run(pipeline(stage), access=None, limits=LIMITS)
    assert (result.exit_code, result.stdout) == (0, b"done")
    assert len(result.stderr) == 65_536
    assert result.stderr_truncated


async def test_a_writer_is_held_back_while_nobody_reads(executor: Executor, tmp_path: Path) -> None:
    """The first stage counts what it could write while the second reads nothing: a pipe's worth, not what it has."""
    writer = python_stage(
        "import os\nos.set_blocking(1, False)\nwritten = 0\n"
        "try:\n while True: written += os.write(1, b'x' * 65536)\n"
        "except BlockingIOError:\n os.write(2, str(written).encode())"
    )
    reader = python_stage("import sys, time; time.sleep(0.5); sys.stdin.read()")
    result = await executor.run(pipeline(writer, reader), access=None, limits=LIMITS)
    assert 0 < int(result.stderr) <= 1024 * 1024
    assert left_in(tmp_path) == []


async def test_the_time_limit_ends_the_command_and_keeps_what_it_wrote(executor: Executor, tmp_path: Path) -> None:
    stage = python_stage("import time; print('before', flush=True); time.sleep(99)")
    with anyio.fail_after(20):
        result = await executor.run(
            pipeline(stage, ("sed", "-u", "s/^/> /")), access=None, limits=Limits(timeout_seconds=1)
        )
    assert (result.timed_out, result.exit_code, result.killed_for) == (True, None, KilledFor.TIMEOUT)
    assert result.stdout == b"> before\n"
    assert processes_in(tmp_path) == []
    assert left_in(tmp_path) == []


VFORK = """
import ctypes, os, time
libc = ctypes.CDLL(None)
x86 = os.uname().machine == "x86_64"
if libc.syscall(58 if x86 else 220, 0 if x86 else 0x4111, 0, 0, 0, 0) == 0:
    LEAVE
    libc.syscall(1 if x86 else 64, 1, b"child", 5)
    time.sleep(99)
"""


async def test_the_time_limit_ends_whole_groups(executor: Executor, tmp_path: Path) -> None:
    stage = python_stage(VFORK.replace("LEAVE", "pass"))
    with anyio.fail_after(20):
        result = await executor.run(pipeline(stage), access=None, limits=Limits(timeout_seconds=1))
    assert (result.timed_out, result.stdout) == (True, b"child")
    assert processes_in(tmp_path) == []


async def test_a_process_that_left_its_group_is_found_and_ended(
    executor: Executor, tmp_path: Path, orphans_come_here: None
) -> None:
    stage = python_stage(VFORK.replace("LEAVE", "libc.setsid()"))
    with anyio.fail_after(40):
        result = await executor.run(pipeline(stage), access=None, limits=Limits(timeout_seconds=1))
        assert (result.timed_out, result.stdout) == (True, b"child")
        await eventually(lambda: not processes_in(tmp_path))


async def test_children_that_are_not_of_the_sandbox_are_left_alone(executor: Executor) -> None:
    with anyio.fail_after(20):
        async with await anyio.open_process(["/bin/sh", "-c", "read line"]) as other:
            await executor.run(pipeline(("wc",)), access=None, limits=LIMITS)
            assert executor._sandbox.end_strays() == 0
            assert other.returncode is None
            assert other.stdin is not None
            await other.stdin.aclose()


async def test_cancellation_kills_everything_and_leaves_nothing(executor: Executor, tmp_path: Path) -> None:
    stages = pipeline(python_stage("import time; print('up', flush=True); time.sleep(99)"), ("grep", "up"))
    started = asyncio.Event()

    async def note(_: Progress) -> None:
        started.set()

    task = asyncio.create_task(executor.run(stages, access=None, limits=LIMITS, on_progress=note))
    with anyio.fail_after(20):
        await started.wait()
        assert len(processes_in(tmp_path)) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert processes_in(tmp_path) == []
    assert left_in(tmp_path) == []


async def test_a_cancelled_scope_of_anyio_leaves_nothing_either(executor: Executor, tmp_path: Path) -> None:
    with anyio.move_on_after(0.3) as scope, anyio.fail_after(20):
        await executor.run(pipeline(SILENT, SILENT), access=None, limits=LIMITS)
    assert scope.cancelled_caught
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("steps", range(12))
async def test_cancellation_at_any_moment_of_the_start_leaves_nothing(
    executor: Executor, tmp_path: Path, steps: int
) -> None:
    task = asyncio.create_task(executor.run(pipeline(SILENT, SILENT, SILENT), access=None, limits=LIMITS))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with anyio.fail_after(20), pytest.raises(asyncio.CancelledError):
        await task
    assert left_in(tmp_path) == []


async def test_an_error_of_the_progress_callback_ends_the_command(executor: Executor, tmp_path: Path) -> None:
    async def fail(_: Progress) -> None:
        raise ConnectionError("the client has gone")

    with anyio.fail_after(20), pytest.raises(ConnectionError, match="gone"):
        await executor.run(pipeline(SILENT), access=None, limits=LIMITS, on_progress=fail)
    assert left_in(tmp_path) == []


async def test_progress_tells_bytes_and_seconds(executor: Executor) -> None:
    seen: list[Progress] = []

    async def note(progress: Progress) -> None:
        seen.append(progress)

    stage = python_stage("import time; print('12345', flush=True); time.sleep(0.4)")
    await executor.run(pipeline(stage), access=None, limits=LIMITS, on_progress=note)
    assert seen[-1].stdout_bytes == 6
    assert [each.seconds for each in seen] == sorted(each.seconds for each in seen)


async def test_a_process_that_needs_too_much_memory_fails_alone(executor: Executor) -> None:
    limits = Limits(timeout_seconds=30, memory_bytes=64 * 1024 * 1024)
    # limits come a moment after the start, which this script must not be faster than
    wait = "import resource as r\nwhile r.getrlimit(r.RLIMIT_DATA)[0] == r.RLIM_INFINITY: pass\n"
    stage = python_stage(wait + "bytearray(80 * 1024 * 1024)")
    result = await executor.run(pipeline(stage), access=None, limits=limits)
    assert result.exit_code == 1
    assert b"MemoryError" in result.stderr


@pytest.mark.parametrize(
    ("script", "killed_for"),
    [
        pytest.param("while True: pass", KilledFor.CPU, id="processor time"),
        pytest.param("import signal; signal.raise_signal(signal.SIGKILL)", KilledFor.MEMORY, id="killed by the kernel"),
        pytest.param(
            "import signal as s; s.signal(s.SIGXFSZ, s.SIG_DFL); s.raise_signal(s.SIGXFSZ)",
            KilledFor.DISK,
            id="file size",
        ),
        pytest.param(
            "import sys; sys.exit('fatal error: runtime: cannot allocate memory')",
            KilledFor.MEMORY,
            id="Go's own words",
        ),
        pytest.param(
            "import sys; sys.exit('fatal error: out of memory allocating heap arena map')",
            KilledFor.MEMORY,
            id="Go's words at its start",
        ),
        pytest.param("import sys; sys.exit('error: not found')", KilledFor.NONE, id="an ordinary failure"),
    ],
)
async def test_what_ended_a_command_is_told(
    executor: Executor, monkeypatch: pytest.MonkeyPatch, script: str, killed_for: KilledFor
) -> None:
    monkeypatch.setattr(process_limits, "cpu_seconds", lambda _: 1)
    with anyio.fail_after(30):
        result = await executor.run(pipeline(python_stage(script)), access=None, limits=LIMITS)
    assert result.killed_for is killed_for
    assert (result.exit_code is None) is bool(killed_for)


async def test_a_stage_that_cannot_be_started_ends_those_before_it(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = executor._sandbox.start

    def start_no_sort(spec: ProcessSpec, *, profile: Profile) -> Future[subprocess.Popen[bytes]]:
        return start(
            replace(spec, executable=Path("/nonexistent")) if spec.argv == ("sort",) else spec, profile=profile
        )

    monkeypatch.setattr(executor._sandbox, "start", start_no_sort)
    with anyio.fail_after(20), pytest.raises(Unavailable, match="started"):
        await executor.run(pipeline(SILENT, ("sort",)), access=None, limits=LIMITS)
    assert left_in(tmp_path) == []
