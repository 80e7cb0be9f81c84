"""Who writes what a policy's object says about itself, when, and how.

Status informs people; no decision reads it. Only the holder of the Lease writes, by server-side apply with a
field manager of its own, and only where something differs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from k8s_mcp_server.cluster.client import ApiClient, ApiStatusError
from k8s_mcp_server.cluster.clock import boot_clock
from k8s_mcp_server.cluster.conditions import Status, conditions_of, status_of
from k8s_mcp_server.cluster.resync import PATHS
from k8s_mcp_server.cluster.store import PolicyObject, PolicyStore, Resource
from k8s_mcp_server.cluster.warnings import Warnings
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.compile import API_VERSION, InvalidPolicy, Policy
from k8s_mcp_server.policy.scopes import Namespace, for_anybody, inside

if TYPE_CHECKING:
    from k8s_mcp_server.cluster.ceiling import Ceiling
    from k8s_mcp_server.policy.environment import Environment

logger = logging.getLogger(__name__)

FIELD_MANAGER: Final = "k8s-mcp-server"
REWRITE_SECONDS: Final = 60.0
_APPLY: Final = "application/apply-patch+yaml"


def count_namespaces(policy: Policy, *, namespaces: Mapping[str, Namespace], environment: Environment) -> int:
    """How many existing namespaces the policy's rules reach, for any client that it names."""
    if isinstance(policy, InvalidPolicy):
        return 0
    reached: set[str] = set()
    for stated in {rule.scope for rule in policy.rules}:
        scope = for_anybody(stated)
        if scope is not None:
            reached.update(inside(scope, known=namespaces, environment=environment))
    return len(reached)


def _differs(wanted: Status, current: Mapping[str, Any]) -> bool:
    found = conditions_of(current)
    keys = (wanted.keys() | {"withheld"}) - {"conditions"}
    return any(wanted.get(key) != current.get(key) for key in keys) or any(
        condition != found.get(condition["type"]) for condition in wanted["conditions"]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    at: float
    digest: bytes
    status: Status


class StatusWriter:
    """Keeps policies' status as it should be, looking at each once a minute, and at once when its spec changed.

    Args:
        apply: applies a status to a policy's object.
        store: the policies.
        ceiling: compares them with the server's own rights.
        environment: decides which namespaces a rule reaches, and when the store is too old to speak.
        is_leader: whether this replica writes.
        clock: seconds.
        now: the time, aware.
        changed: told of each status that was written, with the one before.
    """

    def __init__(
        self,
        apply: Callable[[Policy, Status], Awaitable[None]],
        *,
        store: PolicyStore,
        ceiling: Ceiling,
        environment: Environment,
        is_leader: Callable[[], bool],
        clock: Callable[[], float] = boot_clock,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        changed: Callable[[Policy, Mapping[str, Any], Status], None] = lambda _policy, _before, _after: None,
    ) -> None:
        self._changed = changed
        self._apply = apply
        self._store = store
        self._ceiling = ceiling
        self._warnings = Warnings(environment=environment, now=now)
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
                    async with asyncio.timeout(interval):  # wait_for of Python 3.11 may swallow a cancellation
                        await changed.wait()
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
            if not self._may_write():
                return
            await asyncio.sleep(0)
            try:
                await self._write(item)
            except ApiStatusError as error:
                logger.warning("The status of policy %s was not written: %s", item.policy.name, error)
            except Unavailable as error:
                logger.warning("Policies' status is not written now: %s", error)
                return

    def _may_write(self) -> bool:
        is_known = self._store.age() <= self._environment.max_snapshot_age and self._ceiling.is_ready
        return is_known and self._is_leader()

    async def _write(self, item: PolicyObject) -> None:
        policy, checked = item.policy, self._checked.get(item.policy.uid)
        recent = checked is not None and self._clock() - checked.at < REWRITE_SECONDS
        current = checked.status if checked is not None and recent else item.status
        if checked is not None and recent and checked.digest == item.digest:
            return
        snapshot = self._store.snapshot
        followed, namespaces = snapshot.following(policy), snapshot.namespaces
        wanted = status_of(
            followed,
            matched_namespaces=count_namespaces(followed, namespaces=namespaces, environment=self._environment),
            warnings=self._warnings.about(followed, snapshot),
            within=await self._ceiling.compare(followed, namespaces=namespaces, previous=current),
            previous=current,
            now=self._now(),
        )
        if _differs(wanted, current):
            await self._apply(policy, wanted)
            self._changed(policy, current, wanted)
        self._checked[policy.uid] = _Checked(at=self._clock(), digest=item.digest, status=wanted)


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
