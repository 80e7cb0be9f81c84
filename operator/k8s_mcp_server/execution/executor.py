"""Runs pipelines: finds the programs, gives each command its private folder, and always cleans up after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from k8s_mcp_server.errors import CommandRefused, Unavailable
from k8s_mcp_server.execution.processes import uninterrupted
from k8s_mcp_server.execution.running import RunningPipeline, StagePlan, Surroundings
from k8s_mcp_server.execution.workdir import Workdir

if TYPE_CHECKING:
    from pathlib import Path

    from k8s_mcp_server.execution.binaries import Binaries
    from k8s_mcp_server.execution.pipeline import Pipeline, Stage
    from k8s_mcp_server.execution.result import ApiAccess, Result
    from k8s_mcp_server.execution.running import ProgressCallback
    from k8s_mcp_server.execution.sandbox.spawn import Sandbox
    from k8s_mcp_server.policy.limits import Limits

PROGRESS_SECONDS: Final = 1.0
_STRAYS_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Executor:
    """Runs any number of commands at once; they share nothing but what is read-only.

    Args:
        binaries: the programs of this machine.
        sandbox: confines each process.
        runtime_dir: where commands get their folders; exists, is private to this server and on a file system of
            bounded size.
        discovery_cache: a folder of kubectl's discovery cache that commands may read and cannot write; None lets
            each command make its own. May be set later.
        progress_seconds: how often ``on_progress`` is called.
    """

    def __init__(
        self,
        *,
        binaries: Binaries,
        sandbox: Sandbox,
        runtime_dir: Path,
        discovery_cache: Path | None = None,
        progress_seconds: float = PROGRESS_SECONDS,
    ) -> None:
        self.binaries = binaries
        self.discovery_cache = discovery_cache
        self._sandbox = sandbox
        self._runtime_dir = runtime_dir
        self._progress_seconds = progress_seconds
        self._strays_task: asyncio.Task[None] | None = None

    async def run(
        self,
        pipeline: Pipeline,
        *,
        access: ApiAccess | None,
        limits: Limits,
        stdin: bytes = b"",
        files: Mapping[str, bytes] | None = None,
        on_progress: ProgressCallback | None = None,
        ended: asyncio.Event | None = None,
    ) -> Result:
        """Run a pipeline to its end, or to the end that its limits set.

        When the awaiting task is cancelled, all processes are killed and reaped and the folder is removed before
        the cancellation goes on.

        Args:
            pipeline: what to run.
            access: how its CLIs reach the gateway; None gives them no network at all.
            limits: its time, output and memory.
            stdin: input of the first stage.
            files: put into the folder that its CLIs work in, by relative name.
            on_progress: called now and then while it runs; what it raises ends the command.
            ended: once it is set, the command has a second left; what it has put out is kept.

        Raises:
            CommandRefused: a program is not there, or there are two inputs.
            Unavailable: its folder cannot be made, or a process cannot be started.
        """
        plans = tuple(self._plan(stage) for stage in pipeline.stages)
        text = _only_input(pipeline.stdin, stdin)
        workdir = _make_workdir(self._runtime_dir, access=access, files=files)
        running = RunningPipeline(
            plans,
            surroundings=Surroundings(
                sandbox=self._sandbox,
                workdir=workdir,
                connect_ports=_ports(access),
                discovery_cache=self.discovery_cache,
                limits=limits,
            ),
            stdin=text,
        )
        try:
            await _start(running)
            await running.wait(on_progress, progress_seconds=self._progress_seconds, ended=ended)
        finally:
            kept, left_out = await uninterrupted(_clean_up(running, workdir, max_bytes=limits.output_bytes))
            self._look_for_strays_soon()
        result = replace(running.result(), files=kept, files_left_out=left_out)
        return replace(
            result, stdout=_relative(result.stdout, workdir=workdir), stderr=_relative(result.stderr, workdir=workdir)
        )

    def _look_for_strays_soon(self) -> None:
        """One look for all commands that ended within a second, beside them and not within."""
        if self._strays_task is None or self._strays_task.done():
            self._strays_task = asyncio.ensure_future(self._end_strays())

    async def _end_strays(self) -> None:
        await asyncio.sleep(_STRAYS_SECONDS)
        ended = await asyncio.to_thread(self._sandbox.end_strays)
        if ended:
            _log.error("%d processes had left their command's process group and were ended", ended)

    def _plan(self, stage: Stage) -> StagePlan:
        program = self.binaries.find(stage.program)
        if program is None:
            raise CommandRefused("ProgramMissing", f"{stage.program} is not installed in this server.")
        helper = self.binaries.helpers.get(stage.helper)
        if stage.helper and helper is None:
            raise CommandRefused("ProgramMissing", f"{stage.helper} is not installed in this server.")
        return StagePlan(stage=stage, program=program, is_cli=self.binaries.is_cli(stage.program), helper=helper)


def _make_workdir(parent: Path, *, access: ApiAccess | None, files: Mapping[str, bytes] | None) -> Workdir:
    try:
        return Workdir(parent, access=access, files=files)
    except OSError as error:
        raise Unavailable("The command's folder could not be made.") from error


async def _start(running: RunningPipeline) -> None:
    try:
        await running.start()
    except OSError as error:
        raise Unavailable("The command could not be started.") from error


async def _clean_up(
    running: RunningPipeline, workdir: Workdir, *, max_bytes: int
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """End what still runs, and remove the folder; what files the command left."""
    try:
        await running.end()
        return await asyncio.to_thread(workdir.changed_files, max_bytes=max_bytes)
    finally:
        await asyncio.to_thread(workdir.remove)


def _only_input(heredoc: bytes | None, stdin: bytes) -> bytes:
    if heredoc is None:
        return stdin
    if stdin:
        raise CommandRefused(
            "TwoInputs",
            "The command has a here-document, and the stdin argument has text, too.",
            instead="Use one of them: leave the here-document out of the command.",
        )
    return heredoc


def _relative(output: bytes, *, workdir: Workdir) -> bytes:
    """Paths in the command's own folders as the client knows them."""
    for folder in (workdir.work, workdir.temporary, workdir.temporary_from_work):
        output = output.replace(f"{folder}/".encode(), b"")
    return output


def _ports(access: ApiAccess | None) -> tuple[int, ...]:
    if access is None:
        return ()
    port = urlsplit(access.server_url).port
    if port is None:
        raise ValueError(f"no port in {access.server_url}")
    return (port,)
