"""One pipeline while it runs: started stage by stage, bounded, and ended with everything that belongs to it."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.execution import limits as process_limits
from k8s_mcp_server.execution import usage
from k8s_mcp_server.execution.binaries import BUILT_FILTERS
from k8s_mcp_server.execution.environment import (
    argocd_environment,
    chart_environment,
    cli_environment,
    filter_environment,
    go_filter_environment,
)
from k8s_mcp_server.execution.pipeline import StderrTo
from k8s_mcp_server.execution.processes import StageProcess, uninterrupted
from k8s_mcp_server.execution.result import KilledFor, Progress, Result
from k8s_mcp_server.execution.sandbox.ports import local_ports
from k8s_mcp_server.execution.sandbox.profile import cli_profile, filter_profile
from k8s_mcp_server.execution.sandbox.spawn import ProcessSpec
from k8s_mcp_server.execution.streams import Descriptors, PipeReader, PipeWriter
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from k8s_mcp_server.execution.binaries import Program
    from k8s_mcp_server.execution.pipeline import Stage
    from k8s_mcp_server.execution.sandbox.profile import Profile
    from k8s_mcp_server.execution.sandbox.spawn import Sandbox
    from k8s_mcp_server.execution.workdir import Workdir
    from k8s_mcp_server.policy.limits import Limits

    ProgressCallback = Callable[[Progress], Awaitable[None]]

STDERR_BYTES: Final = 64 * 1024
_WATCH_SECONDS: Final = 0.25
_READER_GONE_SECONDS: Final = 1.0
_LAST_WORDS_SECONDS: Final = 1.0
_END_SECONDS: Final = 10.0
_DRAIN_SECONDS: Final = 2.0  # for what is left in the pipes; one that left its group may keep them open
_GO_OUT_OF_MEMORY: Final = (
    b"runtime: cannot allocate memory",
    b"runtime: out of memory",
    b"fatal error: out of memory",
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """A stage, and the program that was found for it."""

    stage: Stage
    program: Program
    is_cli: bool
    helper: Program | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all stages of one command share.

    Args:
        sandbox: starts the processes.
        workdir: the command's folders.
        connect_ports: the gateway's port, or none.
        discovery_cache: a shared folder that CLIs may read, or None.
        limits: of the command.
    """

    sandbox: Sandbox
    workdir: Workdir
    connect_ports: tuple[int, ...]
    discovery_cache: Path | None
    limits: Limits


class RunningPipeline:
    """Started by ``start``, followed by ``wait``, and always finished by ``end``, whatever happened in between."""

    def __init__(self, plans: tuple[StagePlan, ...], *, surroundings: Surroundings, stdin: bytes) -> None:
        self._plans = plans
        self._around = surroundings
        self._stdin = stdin
        self._processes: list[StageProcess] = []
        self._writer: PipeWriter | None = None
        self._stdout: PipeReader | None = None
        self._stderr: PipeReader | None = None
        self._killed_for = KilledFor.NONE
        self._started = time.monotonic()

    async def start(self) -> None:
        """Start all stages, joined by pipes.

        Raises:
            OSError: a process cannot be started; those before it run until ``end``.
        """
        with Descriptors() as descriptors:
            null = descriptors.open_null()
            errors, errors_in = descriptors.open_pipe()
            self._stderr = PipeReader(descriptors.take(errors), cap=STDERR_BYTES)
            source = null
            if self._stdin:
                source, feed = descriptors.open_pipe()
                self._writer = PipeWriter(descriptors.take(feed), data=self._stdin)
            for index, plan in enumerate(self._plans):
                output, output_in = descriptors.open_pipe()
                stderr = {StderrTo.CAPTURE: errors_in, StderrTo.STDOUT: output_in, StderrTo.DISCARD: null}
                future = self._spawn(
                    plan,
                    index=index,
                    stdin=source,
                    stdout=null if plan.stage.discard_stdout else output_in,
                    stderr=stderr[plan.stage.stderr],
                )
                await uninterrupted(self._adopt(future, grace_seconds=plan.stage.grace_seconds))
                descriptors.close(output_in)
                if source != null:
                    descriptors.close(source)
                source = output
            self._stdout = PipeReader(
                descriptors.take(source),
                cap=self._around.limits.output_bytes,
                on_full=lambda: self._kill(KilledFor.OUTPUT),
            )

    async def wait(
        self, on_progress: ProgressCallback | None, *, progress_seconds: float, ended: asyncio.Event | None = None
    ) -> None:
        """Until all processes have ended and their output is read, or the time limit or ``ended`` has ended them.

        Raises:
            BaseException: whatever ``on_progress`` raises; the command is then not worth finishing.
        """
        left = self._around.limits.timeout_seconds - (time.monotonic() - self._started)
        finished = asyncio.ensure_future(self._finished())
        helpers = [asyncio.ensure_future(self._watch())]
        if ended is not None:
            helpers.append(asyncio.ensure_future(self._end_when(ended)))
        if on_progress is not None:
            helpers.append(asyncio.ensure_future(self._report(on_progress, every=progress_seconds)))
        try:
            done, _ = await asyncio.wait(
                {finished, *helpers}, timeout=max(left - self._grace, 0), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                self._killed_for = self._killed_for or KilledFor.TIMEOUT
                await self._terminate(finished)
                self._kill(KilledFor.TIMEOUT)
                await asyncio.wait({finished}, timeout=_DRAIN_SECONDS)
        finally:
            for task in (finished, *helpers):
                task.cancel()
            outcomes = await asyncio.gather(*helpers, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    async def end(self) -> None:
        """End what still runs, in order where it can, reap it, and let go of every descriptor."""
        if not self._killed_for:
            await self._terminate(*(process.exited for process in self._processes if process.grace_seconds))
        for process in self._processes:
            process.kill()
        exits = [process.exited for process in self._processes]
        if exits:
            _, pending = await asyncio.wait(exits, timeout=_END_SECONDS)
            if pending:
                _log.error("%d processes of a command cannot be killed", len(pending))
        for stream in (self._writer, self._stdout, self._stderr):
            if stream is not None:
                stream.close()

    def result(self) -> Result:
        """What is known after ``end``."""
        codes = tuple(self._code(process) for process in self._processes)
        stderr = self._stderr.data() if self._stderr else b""
        killed_for = self._killed_for or self._cause(codes, stderr=stderr)
        return Result(
            exit_code=None if killed_for else self._exit_code(codes),
            stage_exit_codes=codes,
            stdout=self._stdout.data() if self._stdout else b"",
            stderr=stderr,
            duration_seconds=time.monotonic() - self._started,
            stdout_truncated=self._stdout is not None and self._stdout.truncated,
            stderr_truncated=self._stderr is not None and self._stderr.truncated,
            timed_out=killed_for is KilledFor.TIMEOUT,
            killed_for=killed_for,
            cpu_seconds=sum(process.cpu_seconds for process in self._processes),
        )

    def _code(self, process: StageProcess) -> int:
        code = -signal.SIGKILL if process.exit_code is None else process.exit_code
        if code == -signal.SIGSYS and not self._around.sandbox.signals_confined:
            return -signal.SIGPIPE  # how the seccomp filter ends a program that raises it, as Go's do
        return code

    def _spawn(
        self, plan: StagePlan, *, index: int, stdin: int, stdout: int, stderr: int
    ) -> Future[subprocess.Popen[bytes]]:
        profile, environment, folder = self._confinement(plan, index=index)
        spec = ProcessSpec(
            argv=plan.stage.argv,
            executable=plan.program.path,
            environment=environment,
            folder=folder,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        return self._around.sandbox.start(spec, profile=profile)

    def _confinement(self, plan: StagePlan, *, index: int) -> tuple[Profile, dict[str, str], Path]:
        around = self._around
        if plan.is_cli and plan.program.name == Tool.ARGOCD:
            return self._argocd_confinement(plan)
        if plan.is_cli:
            cache = around.discovery_cache
            charts = plan.stage.charts
            read = (around.workdir.kubeconfig, *((cache,) if cache else ()))
            if charts is not None:
                read = (*read, around.workdir.charts(charts))
            profile = cli_profile(
                plan.program,
                read=read,
                write=(around.workdir.home, around.workdir.work, *((charts.cache,) if charts else ())),
                connect_ports=around.connect_ports,
                helper=plan.helper,
                fetches=charts is not None,
                forward_ports=local_ports() if plan.stage.forwards_ports else range(0),
            )
            memory = around.limits.memory_bytes
            environment = cli_environment(
                plan.program.name,
                workdir=around.workdir,
                discovery_cache=cache,
                memory_bytes=memory,
                signals_confined=around.sandbox.signals_confined,
                diff_program=plan.helper.path if plan.helper else None,
            )
            if charts is not None:
                environment |= chart_environment(around.workdir, charts)
            return profile, environment, around.workdir.work
        if plan.program.name == "sort":
            scratch = around.workdir.scratch(f"sort-{index}")
            return filter_profile(plan.program, write=(scratch,)), filter_environment(scratch), Path("/")
        if plan.program.name in BUILT_FILTERS:
            environment = go_filter_environment(
                memory_bytes=around.limits.memory_bytes, signals_confined=around.sandbox.signals_confined
            )
            return filter_profile(plan.program), environment, Path("/")
        return filter_profile(plan.program), filter_environment(), Path("/")

    def _argocd_confinement(self, plan: StagePlan) -> tuple[Profile, dict[str, str], Path]:
        """No kubeconfig, but a folder for the socket over which it speaks with itself."""
        around = self._around
        workdir = around.workdir
        profile = cli_profile(
            plan.program,
            read=(workdir.authority,),
            write=(workdir.home, workdir.work),
            connect_ports=around.connect_ports,
            helper=plan.helper,
            sockets_in=workdir.temporary,
        )
        environment = argocd_environment(
            workdir,
            memory_bytes=around.limits.memory_bytes,
            signals_confined=around.sandbox.signals_confined,
            diff_program=plan.helper.path if plan.helper else None,
        )
        return profile, environment, workdir.work

    async def _adopt(self, future: Future[subprocess.Popen[bytes]], *, grace_seconds: float) -> None:
        process = StageProcess(
            await asyncio.wrap_future(future), on_reaped=self._around.sandbox.ended, grace_seconds=grace_seconds
        )
        self._processes.append(process)
        limits = self._around.limits
        process_limits.limit_process(
            process.pid, memory_bytes=limits.memory_bytes, timeout_seconds=limits.timeout_seconds
        )

    async def _finished(self) -> None:
        streams = [stream.finished for stream in (self._stdout, self._stderr) if stream is not None]
        await asyncio.wait([*streams, *(process.exited for process in self._processes)])

    async def _watch(self) -> None:
        """Keep folder and memory within their bounds, and end stages whose reader has been gone for a second.

        A shell would wait for such a stage's next line, which for ``kubectl get --watch | head -1`` may never come.
        """
        reader_gone_since: float | None = None
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            running = [process.pid for process in self._processes if process.exit_code is None]
            if excess := await asyncio.to_thread(self._excess, running):
                self._kill(excess)
            now = time.monotonic()
            if self._processes[-1].exit_code is None:
                continue
            reader_gone_since = reader_gone_since or now
            if now - reader_gone_since >= _READER_GONE_SECONDS:
                for process in self._processes[:-1]:
                    process.forgiven = process.forgiven or process.exit_code is None
                    process.kill()

    def _excess(self, leaders: list[int]) -> KilledFor:
        """Which bound the processes of running stages are beyond; blocks."""
        members = usage.families(leaders).values()
        if any(usage.memory_bytes(pids) > self._around.limits.memory_bytes for pids in members):
            return KilledFor.MEMORY
        removed = usage.removed_file_bytes(pid for pids in members for pid in pids)
        return KilledFor.DISK if self._around.workdir.over_quota(removed_bytes=removed) else KilledFor.NONE

    async def _end_when(self, ended: asyncio.Event) -> None:
        """Leave a command that lost its requests a moment to say so itself."""
        await ended.wait()
        await asyncio.sleep(_LAST_WORDS_SECONDS)
        self._kill(KilledFor.POLICY)
        await asyncio.wait({asyncio.ensure_future(self._finished())}, timeout=_DRAIN_SECONDS)

    async def _report(self, on_progress: ProgressCallback, *, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            size = self._stdout.size if self._stdout else 0
            await on_progress(Progress(stdout_bytes=size, seconds=time.monotonic() - self._started))

    @property
    def _grace(self) -> float:
        return max((process.grace_seconds for process in self._processes if process.exit_code is None), default=0.0)

    async def _terminate(self, *ends: asyncio.Future[None]) -> None:
        """Ask those to end that do so in order, and wait for it."""
        grace = self._grace
        for process in self._processes:
            process.terminate()
        if grace and ends:
            await asyncio.wait(ends, timeout=grace)

    def _kill(self, cause: KilledFor) -> None:
        self._killed_for = self._killed_for or cause
        for process in self._processes:
            process.kill()

    def _cause(self, codes: tuple[int, ...], *, stderr: bytes) -> KilledFor:
        """Which limit of the kernel's ended a stage, as far as its end tells."""
        cpu = process_limits.cpu_seconds(self._around.limits.timeout_seconds)
        for code, process in zip(codes, self._processes, strict=True):
            if code == -signal.SIGXFSZ:
                return KilledFor.DISK
            if code == -signal.SIGXCPU or (code == -signal.SIGKILL and process.cpu_seconds >= cpu - 0.5):
                return KilledFor.CPU
            if code == -signal.SIGKILL and not process.forgiven:
                return KilledFor.MEMORY  # nobody else kills in this container but the kernel's out-of-memory killer
            if code > 0 and any(text in stderr for text in _GO_OUT_OF_MEMORY):
                return KilledFor.MEMORY
        return KilledFor.NONE

    def _exit_code(self, codes: tuple[int, ...]) -> int:
        last = len(codes) - 1
        for index in range(last, -1, -1):
            code = codes[index]
            lost_its_reader = index < last and (code == -signal.SIGPIPE or self._processes[index].forgiven)
            if code and not lost_its_reader:
                return code if code > 0 else 128 - code
        return 0
