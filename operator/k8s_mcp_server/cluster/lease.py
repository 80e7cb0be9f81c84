"""Leader election on a Lease that the manifests create, so that one replica writes status.

The rules are those of client-go's tools/leaderelection: a candidate takes the Lease when it has not seen it
change for the duration that the holder stated, measured by its own clock; writes carry the resourceVersion,
so of two candidates one wins. The Lease is only read and updated, never created. Two leaders for a moment
would do no harm: both would write the same.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from k8s_mcp_server.cluster.clock import boot_clock
from k8s_mcp_server.errors import Unavailable

if TYPE_CHECKING:
    from k8s_mcp_server.cluster.client import ApiClient

logger = logging.getLogger(__name__)

LEASE_NAME: Final = "k8s-mcp-server"
DURATION: Final = 15.0
RENEW_INTERVAL: Final = 5.0
# Less than DURATION: whoever could not renew stops before another may begin.
RENEW_DEADLINE: Final = 10.0
_RELEASE_TIMEOUT: Final = 1.0

LeaseObject = dict[str, Any]


class LeaseClient(Protocol):
    """Reads and updates one Lease."""

    async def read(self) -> LeaseObject:
        """The Lease; raises Unavailable."""
        ...

    async def update(self, lease: Mapping[str, Any]) -> LeaseObject:
        """Write it at the version that was read; raises Unavailable, also when somebody else was quicker."""
        ...


class ApiLeaseClient:
    """The Lease of that name in the service's own namespace."""

    def __init__(self, client: ApiClient, *, namespace: str, name: str = LEASE_NAME) -> None:
        self._client = client
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"

    async def read(self) -> LeaseObject:
        """The Lease; raises Unavailable."""
        return (await self._client.request("GET", self._path)).json()

    async def update(self, lease: Mapping[str, Any]) -> LeaseObject:
        """Write it at the version that was read; raises Unavailable, also when somebody else was quicker."""
        return (await self._client.request("PUT", self._path, body=lease)).json()


class LeaderElection:
    """One candidate.

    Args:
        lease: what is competed for.
        identity: this replica, such as its pod's name.
        changed: called with whether this replica leads, when that changes.
        clock: seconds.
        now: the time that is written into the Lease.
    """

    def __init__(
        self,
        lease: LeaseClient,
        *,
        identity: str,
        changed: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = boot_clock,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._lease = lease
        self._identity = identity
        self._changed = changed
        self._clock = clock
        self._now = now
        self._renewed_at = -math.inf
        self._observed: tuple[str, str] | None = None
        self._observed_at = -math.inf
        self._was_leader = False

    @property
    def is_leader(self) -> bool:
        """Whether this replica leads now; ends by itself when the Lease could not be renewed in time."""
        return self._clock() - self._renewed_at < RENEW_DEADLINE

    async def run(self, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Compete until cancelled, then let go."""
        try:
            while True:
                await self.attempt()
                await sleep(RENEW_INTERVAL)
        finally:
            await self._release()

    async def attempt(self) -> None:
        """Take or renew the Lease, if it is free or ours. Failures are logged; what was held ages."""
        started = self._clock()
        try:
            lease = await self._lease.read()
            if self._may_take(lease):
                await self._lease.update(self._taken(lease))
                self._renewed_at = started
            else:
                self._renewed_at = -math.inf
        except Unavailable as error:
            logger.info("The Lease could not be taken or renewed: %s", error)
        self._report()

    def _may_take(self, lease: Mapping[str, Any]) -> bool:
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        version = (holder, str((lease.get("metadata") or {}).get("resourceVersion", "")))
        if version != self._observed:
            self._observed, self._observed_at = version, self._clock()
        if holder in {"", self._identity}:
            return True
        return self._clock() - self._observed_at >= float(spec.get("leaseDurationSeconds") or DURATION)

    def _taken(self, lease: Mapping[str, Any]) -> LeaseObject:
        spec = dict(lease.get("spec") or {})
        now = _micro_time(self._now())
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec["holderIdentity"] = self._identity
        spec["leaseDurationSeconds"] = int(DURATION)
        spec["renewTime"] = now
        return {**lease, "spec": spec}

    async def _release(self) -> None:
        if not self.is_leader:
            return
        self._renewed_at = -math.inf
        self._report()
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                lease = await self._lease.read()
                spec = dict(lease.get("spec") or {})
                if spec.get("holderIdentity") == self._identity:
                    spec |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro_time(self._now())}
                    await self._lease.update({**lease, "spec": spec})
        except (Unavailable, TimeoutError) as error:
            logger.info("The Lease was not released, another replica takes it in %.0f s: %s", DURATION, error)

    def _report(self) -> None:
        if self.is_leader != self._was_leader:
            self._was_leader = self.is_leader
            self._changed(self._was_leader)


def _micro_time(moment: datetime) -> str:
    """As ``metav1.MicroTime`` has it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
