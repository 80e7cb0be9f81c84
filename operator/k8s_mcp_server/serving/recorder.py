"""The audit line and the metrics of each command, and the Event about a denied one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8s_mcp_server.commands.summary import summarize
from k8s_mcp_server.serving.result import Status
from k8s_mcp_server.telemetry.audit import CommandRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.serving.result import CommandResult
    from k8s_mcp_server.serving.runner import Command
    from k8s_mcp_server.telemetry.audit import AuditLog
    from k8s_mcp_server.telemetry.metrics import Metrics


class CommandRecorder:
    """Writes one audit line per command, counts it, and tells of denied ones.

    Args:
        audit: where the line goes.
        metrics: what counts.
        clock: the runner's.
        denied: told whose command was denied, and the stable word for why; must not block.
    """

    def __init__(
        self,
        *,
        audit: AuditLog,
        metrics: Metrics,
        clock: Callable[[], float],
        denied: Callable[[Client, str], None] = lambda _client, _reason: None,
    ) -> None:
        self._denied = denied
        self._audit = audit
        self._metrics = metrics
        self._clock = clock

    def started(self, command: Command) -> None:
        """A command was admitted and starts."""
        self._metrics.command_started(command.tool.value)

    def ended(self, command: Command, result: CommandResult) -> None:
        """A command has ended, or was never started."""
        seconds = max(0.0, self._clock() - command.started_at)
        count = self._metrics.command_finished if command.is_started else self._metrics.command_refused
        count(command.tool.value, outcome=result.status.value, seconds=seconds)
        self._audit.command(_record(command, result, seconds=seconds))
        if result.status is Status.DENIED:
            self._denied(command.client, result.reason)


def _record(command: Command, result: CommandResult, *, seconds: float) -> CommandRecord:
    summary = summarize(command.pipeline) if command.pipeline else None
    ran, session = command.result, command.session
    return CommandRecord(
        command_id=command.command_id,
        client=command.client,
        tool=command.tool.value,
        subcommand=summary.subcommand if summary else "",
        flags=summary.flags if summary else (),
        stages=summary.stages if summary else (),
        outcome=result.status.value,
        reason=result.reason,
        exit_code=result.exit_code,
        duration_seconds=seconds,
        command_bytes=_size(command.raw.get("command")),
        stdin_bytes=_size(command.raw.get("stdin")),
        stdout_bytes=len(ran.stdout) if ran else 0,
        stderr_bytes=len(ran.stderr) if ran else 0,
        truncated=result.truncated,
        requests_allowed=session.requests_allowed if session else 0,
        requests_filtered=session.requests_filtered if session else 0,
        requests_denied=session.requests_denied if session else 0,
        requests_audited=session.requests_audited if session else 0,
        dry_runs=session.dry_runs if session else 0,
        policies=tuple(session.policies) if session else (),
        audit_reasons=command.standing.audit_reasons,
    )


def _size(value: object) -> int:
    return len(value.encode(errors="replace")) if isinstance(value, str) else 0
