"""Audit logs as the service writes them, for what reads them."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.telemetry.audit import AuditLog, RequestAudit, RequestRecord

if TYPE_CHECKING:
    from pathlib import Path

BOT = Client(username="system:serviceaccount:agents:bot")
PODS = RequestInfo(is_resource_request=True, path="", verb="get", resource="pods", namespace="shop", name="web-0")
DEPLOYMENT = replace(PODS, verb="patch", api_group="apps", resource="deployments", name="web")
ALLOWED = Decision(verdict=Verdict.EXACT, reason=Reason.ALLOWED_BY_RULE)
DENIED = Decision(verdict=Verdict.DENY, reason=Reason.NOT_ALLOWED)


def record(
    request: RequestInfo,
    decision: Decision = DENIED,
    *,
    client: Client = BOT,
    method: str = "GET",
    target: str = "/",
) -> RequestRecord:
    """One audited request."""
    return RequestRecord(
        command_id="1",
        audit_id="2",
        client=client,
        tool="kubectl",
        method=method,
        request=request,
        target=target,
        decision=decision,
        status=200,
        duration_seconds=0.1,
    )


def log(path: Path, *records: RequestRecord, age: timedelta = timedelta()) -> Path:
    """A file as the service writes it, among other lines."""
    stream = io.StringIO("server started\n")
    stream.seek(0, io.SEEK_END)
    audit = AuditLog(stream, cluster="c", requests=RequestAudit.ALL, now=lambda: datetime.now(UTC) - age)
    for item in records:
        audit.request(item)
    path.write_text(stream.getvalue(), encoding="utf-8")
    return path
