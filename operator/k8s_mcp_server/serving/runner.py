"""The life of one command: read, admitted, run under a token of its own, cleaned up, recorded.

Whatever happens (a refusal, a timeout, a client that leaves), the token dies, the processes are gone, and one audit
line and the metrics say how it ended.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from k8s_mcp_server.commands.dry_run import without_waiting
from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.commands.reading import check_input
from k8s_mcp_server.errors import CommandDenied, CommandRefused, Unavailable
from k8s_mcp_server.execution.result import ApiAccess
from k8s_mcp_server.serving.admission import Admission, NotAdmittedError
from k8s_mcp_server.serving.arguments import CommandArguments, read_arguments
from k8s_mcp_server.serving.outcome import Run, outcome_of
from k8s_mcp_server.serving.preparation import CommandContext
from k8s_mcp_server.serving.result import CommandResult, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from k8s_mcp_server.execution.pipeline import Pipeline
    from k8s_mcp_server.execution.result import Result
    from k8s_mcp_server.gateway.session import CommandSession
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.limits import Limits
    from k8s_mcp_server.policy.tools import Tool
    from k8s_mcp_server.serving.grants import Grants, Standing
    from k8s_mcp_server.serving.preparation import Preparation
    from k8s_mcp_server.serving.tools.base import Report

PROGRESS_SECONDS: Final = 1.0
_CLEANUP_SECONDS: Final = 10.0
_RETRY_WHEN_UNAVAILABLE: Final = 5.0

logger = logging.getLogger(__name__)


class Gateway(Protocol):
    """What the runner needs of the gateway."""

    @property
    def port(self) -> int:
        """The loopback port it listens on."""

    @property
    def ca_pem(self) -> str:
        """The certificate that its own is verified with."""

    def open(self, *, client: Client, tool: Tool, command_id: str) -> CommandSession:
        """A token for one command."""

    async def close_session(self, session: CommandSession) -> None:
        """The token's end, and that of what it has open."""


class Executor(Protocol):
    """What the runner needs of the executor."""

    async def run(
        self,
        pipeline: Pipeline,
        *,
        access: ApiAccess | None,
        stdin: bytes,
        files: Mapping[str, bytes],
        limits: Limits,
        ended: asyncio.Event,
    ) -> Result:
        """Run the pipeline to its end, to a limit, or until ``ended``; cancelled, it leaves nothing behind."""


class Recorder(Protocol):
    """Told when a command starts and when it has ended."""

    def started(self, command: Command) -> None:
        """A command was admitted and starts."""

    def ended(self, command: Command, result: CommandResult) -> None:
        """A command has ended, or was never started."""


@dataclass(slots=True, kw_only=True)
class Command:
    """What is known of one command so far; its audit line is written from it.

    Args:
        started_at: on the runner's clock.
        raw: the arguments as they came.
        limits: in force for it; its timeout is the one asked for once that was read.
        phase: what a progress report says.
    """

    command_id: str
    tool: Tool
    client: Client
    standing: Standing
    started_at: float
    raw: Mapping[str, Any]
    limits: Limits
    phase: str = "waiting for a free place"
    arguments: CommandArguments | None = None
    pipeline: Pipeline | None = None
    timeout_clamped: bool = False
    session: CommandSession | None = None
    result: Result | None = None
    is_started: bool = False


class CommandRunner:
    """Runs commands for clients. Lives in one event loop.

    Args:
        executor: starts the processes.
        gateway: gives each command its token.
        grants: what policies say about a client.
        admission: places and rates.
        recorder: audit and metrics.
        not_ready: why no command may run in this replica now, such as a missing sandbox; empty when they may.
        cluster: its name, for results.
        clock: monotonic seconds.
        preparations: of the CLIs whose commands need one.
        progress_seconds: seconds between two progress reports.
    """

    def __init__(
        self,
        *,
        executor: Executor,
        gateway: Gateway,
        grants: Grants,
        admission: Admission,
        recorder: Recorder,
        not_ready: Callable[[], tuple[str, ...]],
        cluster: str,
        clock: Callable[[], float],
        preparations: Mapping[Tool, Preparation] | None = None,
        progress_seconds: float = PROGRESS_SECONDS,
    ) -> None:
        self._executor = executor
        self._gateway = gateway
        self._grants = grants
        self._admission = admission
        self._recorder = recorder
        self._not_ready = not_ready
        self._cluster = cluster
        self._clock = clock
        self._preparations = preparations or {}
        self._progress_seconds = progress_seconds

    async def run(self, tool: Tool, *, client: Client, arguments: Mapping[str, Any], report: Report) -> CommandResult:
        """Run one command line for ``client``.

        Never raises for what a client did. Cancelled, it cleans up and records before it lets go.
        """
        standing = self._grants.standing(client, tool=tool)
        command = Command(
            command_id=str(uuid.uuid4()),
            tool=tool,
            client=client,
            standing=standing,
            started_at=self._clock(),
            raw=arguments,
            limits=standing.limits,
        )
        result = self._answer(command, Status.CANCELLED)
        reporting = asyncio.create_task(self._keep_reporting(command, report))
        reporting.add_done_callback(_note_failure)
        try:
            result = await self._answered(command)
        finally:
            reporting.cancel()
            self._recorder.ended(command, result)
        return result

    async def _answered(self, command: Command) -> CommandResult:
        try:
            return await self._attempt(command)
        except CommandRefused as refusal:
            return self._answer(
                command,
                Status.REFUSED,
                reason=refusal.reason,
                message=refusal.message,
                hint=refusal.instead,
                next_command=refusal.next_command,
            )
        except CommandDenied as denial:
            return self._answer(
                command,
                Status.DENIED,
                reason=denial.reason,
                message=denial.message,
                hint=denial.hint,
                denials=denial.denials,
                next_command=denial.next_command,
            )
        except NotAdmittedError as refusal:
            return self._answer(
                command,
                Status.REFUSED if refusal.is_own_limit else Status.UNAVAILABLE,
                reason=refusal.reason,
                message=refusal.message,
                hint="wait, then send the same command again",
                retry_after_seconds=refusal.retry_after,
            )
        except Unavailable as error:
            logger.warning("command %s could not run: %s", command.command_id, error)
            return self._unavailable(command, reason="Unavailable", message=str(error))
        except Exception:  # the edge where a fault of ours becomes an answer
            logger.exception("command %s met an internal error", command.command_id)
            message = "an internal error; the service's log has it under this command's id"
            return self._unavailable(command, reason="InternalError", message=message)

    async def _attempt(self, command: Command) -> CommandResult:
        arguments = command.arguments = read_arguments(command.raw, tool=command.tool)
        if (denial := command.standing.denial) is not None:
            return self._answer(command, Status.DENIED, reason=denial.reason, message=denial.message, hint=denial.hint)
        if reasons := self._not_ready():
            message = f"this replica cannot run commands now: {', '.join(reasons)}"
            return self._unavailable(command, reason=reasons[0], message=message)
        pipeline = command.pipeline = parse_command(arguments.command, cli=command.tool, files=arguments.files)
        check_input(pipeline, stdin=arguments.stdin)
        if arguments.timeout is not None:
            limit = command.limits.timeout_seconds
            command.timeout_clamped = arguments.timeout > limit
            command.limits = replace(command.limits, timeout_seconds=min(arguments.timeout, limit))
        clis = sum(stage.program == command.tool for stage in pipeline.stages)
        if command.standing.is_dry:
            pipeline = without_waiting(pipeline)
        async with self._admission.place(command.client, limits=command.standing.limits, processes=clis):
            return await self._execute(command, pipeline, inputs=arguments)

    async def _execute(self, command: Command, pipeline: Pipeline, *, inputs: CommandArguments) -> CommandResult:
        """Run an admitted command in a task of its own.

        The SDK cancels by level: every await of a cancelled request raises again, those of a cleanup too. A task
        outside of its scopes is cancelled once, and cleans up undisturbed.
        """
        command.phase, command.is_started = "running", True
        self._recorder.started(command)
        work = asyncio.create_task(self._execute_under_token(command, pipeline, inputs=inputs))
        try:
            await asyncio.wait({work})
        finally:
            if not work.done():
                work.cancel()
                with anyio.move_on_after(_CLEANUP_SECONDS, shield=True):
                    await asyncio.wait({work})
        return work.result()

    async def _execute_under_token(
        self, command: Command, pipeline: Pipeline, *, inputs: CommandArguments
    ) -> CommandResult:
        session = self._gateway.open(client=command.client, tool=command.tool, command_id=command.command_id)
        command.session = session
        access = ApiAccess(
            server_url=f"https://127.0.0.1:{self._gateway.port}",
            ca_pem=self._gateway.ca_pem,
            token=session.token,
            namespace=command.standing.default_namespace,
        )
        began = self._clock()
        try:
            pipeline = await self._prepare(command, pipeline, access=access, inputs=inputs)
            left = max(1, round(command.limits.timeout_seconds - (self._clock() - began)))
            limits = replace(command.limits, timeout_seconds=left)
            command.result = await self._executor.run(
                pipeline, access=access, stdin=inputs.stdin, files=inputs.files, limits=limits, ended=session.ended
            )
        except OSError as error:
            raise Unavailable("its processes could not be started") from error
        finally:
            await self._gateway.close_session(session)
        run = Run(
            command_id=command.command_id,
            cluster=self._cluster,
            pipeline=pipeline,
            limits=command.limits,
            longest_timeout=command.standing.limits.timeout_seconds,
            timeout_clamped=command.timeout_clamped,
        )
        return outcome_of(command.result, run=run, requests=session)

    async def _prepare(
        self, command: Command, pipeline: Pipeline, *, access: ApiAccess, inputs: CommandArguments
    ) -> Pipeline:
        """What the CLI's preparation makes of the pipeline, within the command's time.

        Raises:
            Unavailable: the time is over.
        """
        preparation = self._preparations.get(command.tool)
        if preparation is None or command.session is None:
            return pipeline
        context = CommandContext(
            session=command.session,
            access=access,
            limits=command.limits,
            stdin=inputs.stdin,
            files=inputs.files,
        )
        try:
            async with asyncio.timeout(command.limits.timeout_seconds):
                return await preparation.prepare(pipeline, context)
        except TimeoutError as error:
            raise Unavailable("its preparation took longer than its time") from error

    async def _keep_reporting(self, command: Command, report: Report) -> None:
        """Tell the client that its command lives, until cancelled."""
        while True:
            await asyncio.sleep(self._progress_seconds)
            elapsed = round(self._clock() - command.started_at, 1)
            await report(elapsed, float(command.limits.timeout_seconds), f"{command.phase}, {elapsed:.0f} s")

    def _unavailable(self, command: Command, *, reason: str, message: str) -> CommandResult:
        return self._answer(
            command,
            Status.UNAVAILABLE,
            reason=reason,
            message=message,
            hint="send the same command again later",
            retry_after_seconds=_RETRY_WHEN_UNAVAILABLE,
        )

    def _answer(self, command: Command, status: Status, **fields: Any) -> CommandResult:
        return CommandResult(status=status, command_id=command.command_id, cluster=self._cluster, **fields)


def _note_failure(reporting: asyncio.Task[None]) -> None:
    if not reporting.cancelled() and (error := reporting.exception()) is not None:
        logger.debug("progress could not be reported: %r", error)
