"""What a policy's object says about itself: the conditions of its status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from k8s_mcp_server.policy.compile import CompiledPolicy, InvalidPolicy, Policy, PolicyState
from k8s_mcp_server.policy.withheld import withheld

if TYPE_CHECKING:
    from k8s_mcp_server.policy.notices import Notice

MESSAGE_LENGTH: Final = 1024
# How long a role may be missing before a policy that follows it counts as stuck: it may be applied after the policy.
ROLE_PATIENCE: Final = timedelta(minutes=5)

Status: TypeAlias = dict[str, Any]


class State(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"

    @classmethod
    def of(cls, holds: object) -> State:
        """True or False."""
        return cls.TRUE if holds else cls.FALSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition: ``reason`` is a stable word, ``message`` for people."""

    type: str
    state: State
    reason: str
    message: str


def status_of(
    policy: Policy,
    *,
    matched_namespaces: int,
    warnings: Iterable[Notice],
    within: Condition,
    previous: Mapping[str, Any],
    now: datetime,
) -> Status:
    """What the object's status should be.

    Args:
        policy: as read, with the rules of its roles.
        matched_namespaces: how many namespaces its rules reach now.
        warnings: what it gives beyond what it seems to.
        within: how it stands to the server's own rights.
        previous: the status now; a condition that keeps its ``status`` keeps its ``lastTransitionTime``.
        now: aware.
    """
    ready = _ready(policy)
    is_stuck = _is_stuck(policy, previous=previous, now=now)
    conditions = (
        ready,
        _active(policy, now),
        within,
        _warnings(tuple(warnings)),
        _reconciling(ready, is_stuck=is_stuck),
        _stalled(ready, is_stuck=is_stuck),
    )
    kept_back = () if isinstance(policy, InvalidPolicy) else withheld(policy.rules)
    return {
        "observedGeneration": policy.generation,
        "conditions": [_written(item, policy=policy, previous=previous, now=now) for item in conditions],
        "matchedNamespaces": matched_namespaces,
        **({"withheld": list(kept_back)} if kept_back else {}),
    }


def conditions_of(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The conditions of a status by type; what somebody spoilt is left out."""
    conditions = status.get("conditions")
    if not isinstance(conditions, list):
        return {}
    return {str(item.get("type")): item for item in conditions if isinstance(item, Mapping)}


def _ready(policy: Policy) -> Condition:
    if isinstance(policy, InvalidPolicy):
        message = "; ".join(policy.errors) or "the policy cannot be read"
        return Condition(type="Ready", state=State.FALSE, reason="InvalidSpec", message=message)
    if policy.missing_roles:
        missing = "; ".join(f"{rule} gives nothing: no ClusterRole {role}" for rule, role in policy.missing_roles)
        return Condition(type="Ready", state=State.FALSE, reason="RoleNotFound", message=missing)
    return Condition(type="Ready", state=State.TRUE, reason="Accepted", message="the policy is understood")


def _active(policy: Policy, now: datetime) -> Condition:
    state = policy.state(now=now)
    if policy.block:
        reason, message = "Blocked", "block: the named clients are refused everything"
    elif state is PolicyState.INVALID:
        reason, message = "InvalidSpec", "an invalid policy gives nothing"
        if isinstance(policy, InvalidPolicy) and policy.refuses_everything:
            message = "invalid, and it may deny: the named clients are refused everything until it is mended"
    elif state is PolicyState.SUSPENDED:
        reason, message = "Suspended", "suspend: the rules give nothing, the denies hold"
    elif state is PolicyState.EXPIRED:
        reason, message = "Expired", f"expired at {_expiry(policy)}: the rules give nothing, the denies hold"
    else:
        reason, message = "Active", "the rules give what they say"
        if _expiry(policy):
            message += f" until {_expiry(policy)}"
    return Condition(type="Active", state=State.of(reason == "Active"), reason=reason, message=message)


def _warnings(found: tuple[Notice, ...]) -> Condition:
    if not found:
        message = "the rules give what they seem to"
        return Condition(type="Warnings", state=State.FALSE, reason="NoWarnings", message=message)
    reasons = {notice.reason for notice in found}
    reason = reasons.pop() if len(reasons) == 1 else "SeveralWarnings"
    return Condition(
        type="Warnings", state=State.TRUE, reason=reason, message="; ".join(item.message for item in found)
    )


def _is_stuck(policy: Policy, *, previous: Mapping[str, Any], now: datetime) -> bool:
    """Whether somebody must do something before the policy can be ready."""
    if isinstance(policy, InvalidPolicy):
        return True
    if not policy.missing_roles:
        return False
    before = conditions_of(previous).get("Ready", {})
    since = _read_time(before.get("lastTransitionTime")) if before.get("reason") == "RoleNotFound" else None
    return since is not None and now - since >= ROLE_PATIENCE


def _reconciling(ready: Condition, *, is_stuck: bool) -> Condition:
    """For kstatus (sigs.k8s.io/cli-utils/pkg/kstatus): true is "in progress"."""
    if ready.state is State.FALSE and not is_stuck:
        return Condition(type="Reconciling", state=State.TRUE, reason=ready.reason, message=ready.message)
    return Condition(type="Reconciling", state=State.FALSE, reason=ready.reason, message="nothing is under way")


def _stalled(ready: Condition, *, is_stuck: bool) -> Condition:
    """For kstatus: true is "failed", where a policy that is not ready would else count as in progress for ever."""
    if is_stuck:
        return Condition(type="Stalled", state=State.TRUE, reason=ready.reason, message=ready.message)
    return Condition(type="Stalled", state=State.FALSE, reason=ready.reason, message="nothing is in the way")


def _expiry(policy: Policy) -> str:
    expires_at = policy.expires_at if isinstance(policy, CompiledPolicy) else None
    return _time(expires_at) if expires_at is not None else ""


def _written(condition: Condition, *, policy: Policy, previous: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    before = conditions_of(previous).get(condition.type, {})
    unchanged = before.get("status") == condition.state.value and before.get("lastTransitionTime")
    return {
        "type": condition.type,
        "status": condition.state.value,
        "reason": condition.reason,
        "message": condition.message[:MESSAGE_LENGTH],
        "observedGeneration": policy.generation,
        "lastTransitionTime": before["lastTransitionTime"] if unchanged else _time(now),
    }


def _time(moment: datetime) -> str:
    """As ``metav1.Time`` has it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None
