"""Reads the service's audit log: the requests that clients made, and what became of each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from k8s_mcp_server.authoring.documents import STDIN
from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.policy.decision import Reason, Verdict
from k8s_mcp_server.policy.identity import Authenticator, Client
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.tools import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedRequest:
    """One ``Request`` line.

    Args:
        time: aware.
        client: by name only; the log holds no groups.
        target: as received, at most 512 characters of it.
        policy, rule: what decided; empty when nothing did.
    """

    time: datetime
    client: Client
    tool: Tool
    method: str
    target: str
    request: RequestInfo
    verdict: Verdict
    reason: Reason
    policy: str
    rule: str


def read_audit_log(source: str) -> list[AuditedRequest]:
    """The requests in a file, or on standard input; other lines are left out.

    Raises:
        UnusableInput: the file cannot be read, or a line of an audit log has another form.
    """
    try:
        text = sys.stdin.read() if source == STDIN else Path(source).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UnusableInput(f"{source}: {error.strerror}") from error
    return list(parse_audit_log(text.splitlines(), source=source))


def parse_audit_log(lines: Iterable[str], *, source: str) -> Iterator[AuditedRequest]:
    """The requests of some lines. A log is often mixed with others: what is no JSON object is passed over.

    Raises:
        UnusableInput: a ``Request`` line has another form.
    """
    for number, line in enumerate(lines, start=1):
        entry = _object(line)
        if entry.get("kind") != "Request" or "attributes" not in entry:
            continue
        try:
            if entry["attributes"] is not None:
                yield _read(entry)
        except (KeyError, ValueError, TypeError) as error:
            raise UnusableInput(f"{source}:{number}: no line of an audit log: {error!r}") from error


def _object(line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _read(entry: Mapping[str, Any]) -> AuditedRequest:
    attributes = entry["attributes"]
    request = RequestInfo(
        is_resource_request="path" not in attributes,
        path=attributes.get("path", ""),
        verb=attributes["verb"],
        api_group=attributes.get("apiGroup", ""),
        api_version=attributes.get("apiVersion", ""),
        namespace=attributes.get("namespace", ""),
        resource=attributes.get("resource", ""),
        subresource=attributes.get("subresource", ""),
        name=attributes.get("name", ""),
        audiences=(),
    )
    return AuditedRequest(
        time=datetime.fromisoformat(entry["time"]),
        client=Client(username=entry["client"], authenticator=Authenticator(entry["authenticator"])),
        tool=Tool(entry["tool"]),
        method=entry["method"],
        target=entry["target"],
        request=request,
        verdict=Verdict(entry["verdict"]),
        reason=Reason(entry["reason"]),
        policy=entry["policy"],
        rule=entry["rule"],
    )
