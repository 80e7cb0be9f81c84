"""`policy suggest --unused`: the rules that no request was allowed by for some time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.policy.compile import CompiledPolicy, Policy
from k8s_mcp_server.policy.decision import Verdict

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.audit_lines import AuditedRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedRule:
    """A rule, and when it was last used; None when the log does not show that it ever was."""

    policy: str
    rule: str
    last_used: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unused:
    """The rules that nobody used.

    Args:
        log_begins: the time of the first request in the log; what was before is not known.
    """

    rules: tuple[UnusedRule, ...]
    log_begins: datetime


def unused_rules(lines: Iterable[AuditedRequest], policies: Iterable[Policy], *, days: int, now: datetime) -> Unused:
    """Rules of the policies that allowed nothing in the last days.

    The log names one rule for each request: of several that allow it the first, by the policies' names.

    Raises:
        UnusableInput: the log holds denied requests only, so that it says nothing about what is used.
    """
    allowed = [line for line in lines if line.verdict is not Verdict.DENY]
    if not allowed:
        raise UnusableInput("the log has no allowed requests; the setting `audit_requests: All` writes them")
    last: dict[tuple[str, str], datetime] = {}
    for line in allowed:
        key = (line.policy, line.rule)
        last[key] = max(line.time, last.get(key, line.time))
    since = now - timedelta(days=days)
    valid = [policy for policy in policies if isinstance(policy, CompiledPolicy)]
    rules = [(policy.name, rule.name) for policy in valid for rule in policy.rules]
    found = tuple(
        UnusedRule(policy=policy, rule=rule, last_used=used)
        for policy, rule in rules
        if (used := last.get((policy, rule))) is None or used < since
    )
    return Unused(rules=found, log_begins=min(line.time for line in allowed))
