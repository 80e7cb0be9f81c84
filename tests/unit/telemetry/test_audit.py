"""The audit log: whole lines, nothing secret, nothing forged."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from k8s_mcp_server.policy.decision import Decision, Reason, RuleRef, Verdict
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.telemetry.audit import AuditLog, CommandRecord, RequestAudit, RequestRecord

pytestmark = pytest.mark.unit

CLIENT = Client(username="system:serviceaccount:agents:shop-deployer")


def _log(requests: RequestAudit = RequestAudit.DENIED) -> tuple[AuditLog, io.StringIO]:
    stream = io.StringIO()
    return AuditLog(stream, cluster="test", requests=requests, now=lambda: datetime(2026, 1, 2, tzinfo=UTC)), stream


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def _request(verdict: Verdict, *, target: str = "/api/v1/namespaces/shop/pods") -> RequestRecord:
    return RequestRecord(
        command_id="c1",
        audit_id="a1",
        client=CLIENT,
        tool="kubectl",
        method="GET",
        request=RequestInfo(is_resource_request=True, path=target, verb="list", resource="pods", namespace="shop"),
        target=target,
        decision=Decision(
            verdict=verdict,
            reason=Reason.ALLOWED_BY_RULE,
            matched=RuleRef(policy="p", uid="u", resource_version="7", rule="r"),
        ),
        status=200,
        duration_seconds=0.01,
    )


def _command(**changes: Any) -> CommandRecord:
    values: dict[str, Any] = {
        "command_id": "c1",
        "client": CLIENT,
        "tool": "kubectl",
        "subcommand": "get",
        "flags": ("--namespace",),
        "stages": ("kubectl", "jq"),
        "outcome": "succeeded",
        "reason": "",
        "exit_code": 0,
        "duration_seconds": 0.5,
        "command_bytes": 20,
        "stdin_bytes": 0,
        "stdout_bytes": 10,
        "stderr_bytes": 0,
        "truncated": False,
        "requests_allowed": 1,
        "requests_filtered": 0,
        "requests_denied": 0,
        "policies": ("p",),
    }
    return CommandRecord(**values | changes)


@pytest.mark.parametrize(
    ("requests", "verdict", "lines"),
    [
        pytest.param(RequestAudit.DENIED, Verdict.DENY, 1, id="a denied request always has a line"),
        pytest.param(RequestAudit.DENIED, Verdict.AUDIT, 1, id="one that would be denied has a line as well"),
        pytest.param(RequestAudit.DENIED, Verdict.EXACT, 0, id="an allowed one has none by default"),
        pytest.param(RequestAudit.ALL, Verdict.FILTERED, 1, id="all have one when asked for"),
    ],
)
def test_which_requests_get_a_line(requests: RequestAudit, verdict: Verdict, lines: int) -> None:
    log, stream = _log(requests)
    log.request(_request(verdict))
    assert len(_lines(stream)) == lines


def test_a_request_s_line_names_policy_version_rule_verdict_and_audit_id() -> None:
    log, stream = _log(RequestAudit.ALL)
    log.request(_request(Verdict.FILTERED))
    (line,) = _lines(stream)
    expected = {"policyUID": "u", "policyResourceVersion": "7", "rule": "r", "verdict": "filtered", "auditID": "a1"}
    assert expected.items() <= line.items()
    assert line["client"] == CLIENT.username
    assert line["attributes"]["resource"] == "pods"


def test_a_command_s_line_says_who_what_and_how_much() -> None:
    log, stream = _log()
    log.command(_command())
    (line,) = _lines(stream)
    assert line["kind"] == "Command"
    assert line["time"] == "2026-01-02T00:00:00.000Z"
    assert (line["tool"], line["subcommand"], line["flags"]) == ("kubectl", "get", ["--namespace"])
    assert line["requests"] == {"exact": 1, "filtered": 0, "deny": 0, "audit": 0}


@pytest.mark.parametrize(
    "evil",
    [
        pytest.param('x\n{"kind": "Command", "client": "admin"}', id="a newline and a forged line"),
        pytest.param("x\u202etxt.exe", id="a bidi override"),
        pytest.param("x\U000e0041", id="a tag character"),
        pytest.param("x\x1b[2J", id="a terminal escape"),
    ],
)
def test_no_value_can_forge_a_line_or_hide_in_one(evil: str) -> None:
    log, stream = _log()
    log.request(_request(Verdict.DENY, target=evil))
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.isascii()
    assert all(character.isprintable() or character == "\n" for character in text)


def test_a_huge_value_is_cut_and_says_how_long_it_was() -> None:
    log, stream = _log()
    log.command(_command(subcommand="x" * 100_000))
    (line,) = _lines(stream)
    assert len(line["subcommand"]) < 600
    assert "(100000)" in line["subcommand"]
