"""What a policy's object says about itself: its conditions, and who writes them.

Status informs people; no decision reads it. Only the holder of the Lease writes, by server-side apply with a
field manager of its own, and only where something differs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from k8s_mcp_server.cluster.client import ApiClient, ApiStatusError
from k8s_mcp_server.cluster.clock import boot_clock
from k8s_mcp_server.cluster.resync import PATHS
from k8s_mcp_server.cluster.store import PolicyObject, PolicyStore, Resource
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.compile import API_VERSION, CompiledPolicy, InvalidPolicy, Policy, PolicyState
from k8s_mcp_server.policy.notices import notices
from k8s_mcp_server.policy.scopes import (
    Namespace,
    NamespaceLabels,
    NamespaceNames,
    NamespaceScope,
    Reach,
    TeamNamespaces,
    reach,
)
from k8s_mcp_server.policy.withheld import withheld

if TYPE_CHECKING:
    from k8s_mcp_server.policy.environment import Environment

logger = logging.getLogger(__name__)

FIELD_MANAGER: Final = "k8s-mcp-server"
REWRITE_SECONDS: Final = 60.0
MESSAGE_LENGTH: Final = 1024
_APPLY: Final = "application/apply-patch+yaml"

Status = dict[str, Any]


def status_of(policy: Policy, *, matched_namespaces: int, previous: Mapping[str, Any], now: datetime) -> Status:
    """What the object's status should be.

    Args:
        policy: as read, with the rules of its roles.
        matched_namespaces: how many namespaces its rules reach now.
        previous: the status now; a condition that keeps its ``status`` keeps its ``lastTransitionTime``.
        now: aware.
    """
    ready = _ready(policy)
    conditions = (ready, _active(policy, now), _stalled(ready), _warnings(policy))
    kept_back = () if isinstance(policy, InvalidPolicy) else withheld(policy.rules)
    return {
        "observedGeneration": policy.generation,
        "conditions": [_condition(item, policy=policy, previous=previous, now=now) for item in conditions],
        "matchedNamespaces": matched_namespaces,
        **({"withheld": list(kept_back)} if kept_back else {}),
    }


def count_namespaces(policy: Policy, *, namespaces: Mapping[str, Namespace], environment: Environment) -> int:
    """How many existing namespaces the policy's rules reach, for any client that it names."""
    if isinstance(policy, InvalidPolicy):
        return 0
    reached: set[str] = set()
    for stated in {rule.scope for rule in policy.rules}:
        scope = stated.of_anybody() if isinstance(stated, TeamNamespaces) else stated
        if not isinstance(scope, NamespaceNames | NamespaceLabels):
            continue
        reached.update(
            name
            for name in _candidates(scope, namespaces) - reached
            if reach(scope, name, known=namespaces, environment=environment) is Reach.INSIDE
        )
    return len(reached)


def _candidates(scope: NamespaceScope, namespaces: Mapping[str, Namespace]) -> AbstractSet[str]:
    """Literal names are looked up; only globs and selectors have to be tried on every namespace."""
    if isinstance(scope, NamespaceNames) and not scope.names.globs:
        return scope.names.literals
    return namespaces.keys()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Condition:
    type: str
    holds: bool
    reason: str
    message: str


def _ready(policy: Policy) -> _Condition:
    if isinstance(policy, InvalidPolicy):
        message = "; ".join(policy.errors) or "the policy cannot be read"
        return _Condition(type="Ready", holds=False, reason="InvalidSpec", message=message)
    if policy.missing_roles:
        missing = "; ".join(f"{rule} gives nothing: no ClusterRole {role}" for rule, role in policy.missing_roles)
        return _Condition(type="Ready", holds=False, reason="RoleNotFound", message=missing)
    return _Condition(type="Ready", holds=True, reason="Accepted", message="the policy is understood")


def _active(policy: Policy, now: datetime) -> _Condition:
    state = policy.state(now=now)
    if policy.block:
        state_reason, message = "Blocked", "block: the named clients are refused everything"
    elif state is PolicyState.INVALID:
        state_reason, message = "InvalidSpec", "an invalid policy gives nothing"
        if isinstance(policy, InvalidPolicy) and policy.refuses_everything:
            message = "invalid, and it may deny: the named clients are refused everything until it is mended"
    elif state is PolicyState.SUSPENDED:
        state_reason, message = "Suspended", "suspend: the rules give nothing, the denies hold"
    elif state is PolicyState.EXPIRED:
        state_reason, message = "Expired", f"expired at {_expiry(policy)}: the rules give nothing, the denies hold"
    else:
        state_reason, message = "Active", "the rules give what they say"
        if _expiry(policy):
            message += f" until {_expiry(policy)}"
    return _Condition(type="Active", holds=state_reason == "Active", reason=state_reason, message=message)


def _stalled(ready: _Condition) -> _Condition:
    """For kstatus, which takes a policy that is not ready for one on its way unless it is told otherwise."""
    if ready.holds:
        return _Condition(type="Stalled", holds=False, reason=ready.reason, message="nothing is in the way")
    return _Condition(type="Stalled", holds=True, reason=ready.reason, message=ready.message)


def _warnings(policy: Policy) -> _Condition:
    found = () if isinstance(policy, InvalidPolicy) else notices(policy.rules)
    if not found:
        return _Condition(type="Warnings", holds=False, reason="NoWarnings", message="the rules give what they seem to")
    reasons = {notice.reason for notice in found}
    reason = reasons.pop() if len(reasons) == 1 else "SeveralWarnings"
    return _Condition(type="Warnings", holds=True, reason=reason, message="; ".join(item.message for item in found))


def _expiry(policy: Policy) -> str:
    expires_at = policy.expires_at if isinstance(policy, CompiledPolicy) else None
    return _time(expires_at) if expires_at is not None else ""


def _condition(condition: _Condition, *, policy: Policy, previous: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    status = "True" if condition.holds else "False"
    before = _conditions(previous).get(condition.type, {})
    unchanged = before.get("status") == status and before.get("lastTransitionTime")
    return {
        "type": condition.type,
        "status": status,
        "reason": condition.reason,
        "message": condition.message[:MESSAGE_LENGTH],
        "observedGeneration": policy.generation,
        "lastTransitionTime": before["lastTransitionTime"] if unchanged else _time(now),
    }


def _conditions(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    conditions = status.get("conditions")
    if not isinstance(conditions, list):
        return {}
    return {str(item.get("type")): item for item in conditions if isinstance(item, Mapping)}


def _time(moment: datetime) -> str:
    """As ``metav1.Time`` has it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _differs(wanted: Status, current: Mapping[str, Any]) -> bool:
    found = _conditions(current)
    keys = (wanted.keys() | {"withheld"}) - {"conditions"}
    return any(wanted.get(key) != current.get(key) for key in keys) or any(
        condition != found.get(condition["type"]) for condition in wanted["conditions"]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    at: float
    status: Status


class StatusWriter:
    """Keeps policies' status as it should be, looking at each once a minute, and at once when its spec changed.

    Args:
        apply: applies a status to a policy's object.
        store: the policies.
        environment: decides which namespaces a rule reaches, and when the store is too old to speak.
        is_leader: whether this replica writes.
        clock: seconds.
        now: the time, aware.
    """

    def __init__(
        self,
        apply: Callable[[Policy, Status], Awaitable[None]],
        *,
        store: PolicyStore,
        environment: Environment,
        is_leader: Callable[[], bool],
        clock: Callable[[], float] = boot_clock,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._apply = apply
        self._store = store
        self._environment = environment
        self._is_leader = is_leader
        self._clock = clock
        self._now = now
        self._checked: dict[str, _Checked] = {}

    async def run(self, *, interval: float) -> None:
        """Write for ever: after each change of the store, and every ``interval`` seconds for what time changes."""
        changed = asyncio.Event()
        unsubscribe = self._store.subscribe(changed.set)
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), interval)
                changed.clear()
                await self.once()
        finally:
            unsubscribe()

    async def once(self) -> None:
        """Write every status that is not as it should be, if this replica leads and knows enough."""
        policies = self._store.policy_objects
        uids = {item.policy.uid for item in policies}
        self._checked = {uid: checked for uid, checked in self._checked.items() if uid in uids}
        for item in policies:
            if not self._is_leader() or self._store.age() > self._environment.max_snapshot_age:
                return
            await asyncio.sleep(0)
            try:
                await self._write(item)
            except ApiStatusError as error:
                logger.warning("The status of policy %s was not written: %s", item.policy.name, error)
            except Unavailable as error:
                logger.warning("Policies' status is not written now: %s", error)
                return

    async def _write(self, item: PolicyObject) -> None:
        policy, checked = item.policy, self._checked.get(item.policy.uid)
        recent = checked is not None and self._clock() - checked.at < REWRITE_SECONDS
        current = checked.status if checked is not None and recent else item.status
        if recent and current["observedGeneration"] == policy.generation:
            return
        snapshot = self._store.snapshot
        count = count_namespaces(policy, namespaces=snapshot.namespaces, environment=self._environment)
        wanted = status_of(snapshot.following(policy), matched_namespaces=count, previous=current, now=self._now())
        if _differs(wanted, current):
            await self._apply(policy, wanted)
        self._checked[policy.uid] = _Checked(at=self._clock(), status=wanted)


async def apply_status(client: ApiClient, policy: Policy, status: Status) -> None:
    """Server-side apply of a status to the policy's object, if it still is that object.

    Raises:
        Unavailable: the API server does not answer, or refuses.
    """
    path = f"{PATHS[Resource.POLICIES]}/{quote(policy.name, safe='')}/status"
    body = {
        "apiVersion": API_VERSION,
        "kind": "McpAccessPolicy",
        "metadata": {"name": policy.name, "uid": policy.uid},
        "status": status,
    }
    query = {"fieldManager": FIELD_MANAGER, "force": "true"}
    try:
        await client.request("PATCH", path, query=query, body=body, headers={"Content-Type": _APPLY})
    except ApiStatusError as error:
        if error.status not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            raise
        logger.debug("Policy %s is gone or another one by now: %s", policy.name, error)
