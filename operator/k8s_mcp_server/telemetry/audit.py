"""The audit log: one JSON line for each command, and for each request that a command made.

It says who did what and why it was allowed or not. It never holds a token, a manifest or a flag's value: what may
carry a secret is given as its size in bytes (threats: a log that leaks, a log that lies).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TextIO

from k8s_mcp_server.policy.decision import Verdict

if TYPE_CHECKING:
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo

_LONGEST_VALUE: Final = 512
_UNREMARKABLE: Final = frozenset({Verdict.EXACT, Verdict.FILTERED})


class RequestAudit(StrEnum):
    """Which requests get a line of their own."""

    DENIED = "Denied"
    ALL = "All"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request that a command sent to the gateway, and what became of it.

    Args:
        target: path and parameter names; values only of a few harmless ones (gateway/recorded.py); cut to 512
            characters.
        status: HTTP status that the command got; 0 when the connection ended before one.
        duration_seconds: from the request's head to the end of its answer.
    """

    command_id: str
    audit_id: str
    client: Client
    tool: str
    method: str
    request: RequestInfo | None
    target: str
    decision: Decision
    status: int
    duration_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """One command line that a client asked for, and what became of it.

    Args:
        subcommand: such as ``get`` or ``rollout status``; empty when the line could not be read.
        flags: names only, such as ``--namespace``.
        stages: the programs joined by pipes.
        outcome: the result's ``status``.
        reason: for a refusal or denial, its stable word.
        requests_audited: requests that would be denied, but for mode Audit.
        dry_runs: writes that changed nothing, because a policy says so.
    """

    command_id: str
    client: Client
    tool: str
    subcommand: str
    flags: tuple[str, ...]
    stages: tuple[str, ...]
    outcome: str
    reason: str
    exit_code: int | None
    duration_seconds: float
    command_bytes: int
    stdin_bytes: int
    stdout_bytes: int
    stderr_bytes: int
    truncated: bool
    requests_allowed: int
    requests_filtered: int
    requests_denied: int
    policies: tuple[str, ...]
    requests_audited: int = 0
    dry_runs: int = 0
    audit_reasons: tuple[str, ...] = ()


class AuditLog:
    """Writes audit lines, one JSON object a line, whole lines only.

    Args:
        stream: where the lines go; flushed after each.
        cluster: the cluster's name, in every line.
        requests: which requests get a line.
        now: the clock, for tests.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        cluster: str,
        requests: RequestAudit = RequestAudit.DENIED,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stream = stream
        self._cluster = cluster
        self._requests = requests
        self._now = now
        self._lock = threading.Lock()

    def command(self, record: CommandRecord) -> None:
        """Write the line of one command."""
        self._write(
            {
                "kind": "Command",
                "commandID": record.command_id,
                **_client(record.client),
                "groups": sorted(record.client.groups),
                "tool": record.tool,
                "subcommand": record.subcommand,
                "flags": list(record.flags),
                "stages": list(record.stages),
                "outcome": record.outcome,
                "reason": record.reason,
                "exitCode": record.exit_code,
                "durationSeconds": round(record.duration_seconds, 4),
                "commandBytes": record.command_bytes,
                "stdinBytes": record.stdin_bytes,
                "stdoutBytes": record.stdout_bytes,
                "stderrBytes": record.stderr_bytes,
                "truncated": record.truncated,
                "requests": {
                    "exact": record.requests_allowed,
                    "filtered": record.requests_filtered,
                    "deny": record.requests_denied,
                    "audit": record.requests_audited,
                },
                "dryRuns": record.dry_runs,
                "policies": list(record.policies),
                "policyReasons": list(record.audit_reasons),
            }
        )

    def request(self, record: RequestRecord) -> None:
        """Write the line of one request, if it was denied, would be but for mode Audit, or all are asked for."""
        decision = record.decision
        if decision.verdict in _UNREMARKABLE and self._requests is RequestAudit.DENIED:
            return
        matched = decision.matched
        self._write(
            {
                "kind": "Request",
                "commandID": record.command_id,
                "auditID": record.audit_id,
                **_client(record.client),
                "tool": record.tool,
                "method": record.method,
                "target": record.target,
                "attributes": _attributes(record.request),
                "verdict": decision.verdict.value,
                "reason": decision.reason.value,
                "dryRun": decision.dry_run,
                "policy": matched.policy if matched else "",
                "policyUID": matched.uid if matched else "",
                "policyResourceVersion": matched.resource_version if matched else "",
                "rule": matched.rule if matched else "",
                "status": record.status,
                "durationSeconds": round(record.duration_seconds, 4),
            }
        )

    def _write(self, fields: dict[str, Any]) -> None:
        stamp = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        # ensure_ascii escapes newlines, control, bidi and tag characters: no value can forge a line or hide in one.
        line = json.dumps({"time": stamp, "cluster": self._cluster, **_shortened(fields)}, ensure_ascii=True)
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


def _client(client: Client) -> dict[str, str]:
    return {"client": client.username, "authenticator": client.authenticator.value}


def _attributes(request: RequestInfo | None) -> dict[str, str] | None:
    if request is None:
        return None
    if not request.is_resource_request:
        return {"verb": request.verb, "path": request.path}
    return {
        "verb": request.verb,
        "apiGroup": request.api_group,
        "apiVersion": request.api_version,
        "resource": request.resource,
        "subresource": request.subresource,
        "namespace": request.namespace,
        "name": request.name,
    }


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…({len(value)})"
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    return value
