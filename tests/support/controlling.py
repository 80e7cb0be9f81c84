"""The part of the service that watches policies and writes their status, started and asked by tests."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from k8s_mcp_server.cluster.cluster import Cluster, NotReady
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.eventually import eventually
from tests.support.policies import policy_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from devtools.cluster import TestCluster
    from k8s_mcp_server.cluster.connection import ApiServer

QUICK = 0.3
NEVER = 400.0


class Policies:
    """Policies that go when the test ends."""

    def __init__(self, cluster: TestCluster) -> None:
        self._cluster = cluster
        self._made: set[str] = set()

    @staticmethod
    def unique() -> str:
        """A name that no other has."""
        return f"test-{uuid.uuid4().hex[:10]}"

    async def apply(self, name: str, **fields: Any) -> None:
        """Make it, or change it."""
        body = policy_body(name, **fields)
        body["metadata"] = {"name": name}
        self._made.add(name)
        await asyncio.to_thread(self._cluster.kubectl, "apply", "-f", "-", input=json.dumps(body))

    async def delete(self, name: str) -> None:
        """Take it away."""
        await asyncio.to_thread(self._cluster.kubectl, "delete", "mcpaccesspolicy", name)

    async def status(self, name: str) -> dict[str, Any]:
        """As the API server has it."""
        shown = await asyncio.to_thread(self._cluster.kubectl, "get", "mcpaccesspolicy", name, "-o", "json")
        found: dict[str, Any] = json.loads(shown.stdout).get("status", {})
        return found

    async def active(self, name: str) -> str:
        """Why it is active or not; empty as long as nothing has looked at it."""
        conditions = {item["type"]: item for item in (await self.status(name)).get("conditions", ())}
        return str(conditions["Active"]["reason"]) if "Active" in conditions else ""

    def remove(self) -> None:
        """Take away all that were made."""
        if self._made:
            self._cluster.kubectl("delete", "mcpaccesspolicy", *self._made, "--ignore-not-found", check=False)


@asynccontextmanager
async def started(
    api_server: ApiServer, home: str, *, resync_seconds: float = QUICK, identity: str = "replica-1"
) -> AsyncIterator[Cluster]:
    """One replica's, ready; it has let go of everything when the block ends."""
    cluster = Cluster(
        api_server,
        environment=Environment(own_namespace=home, max_snapshot_age=1000),
        metrics=Metrics(),
        identity=identity,
        resync_seconds=resync_seconds,
    )
    cluster.start()
    try:
        await eventually(lambda: not cluster.not_ready_reasons(), within=30)
        yield cluster
    finally:
        async with asyncio.timeout(5):
            await asyncio.to_thread(cluster.stop)
        assert cluster.not_ready_reasons()[0] is NotReady.OPERATOR_STOPPED


async def until_active(policies: Policies, name: str, reason: str) -> None:
    """Wait until its status says so."""
    async with asyncio.timeout(30):
        while await policies.active(name) != reason:  # noqa: ASYNC110  the API server is asked
            await asyncio.sleep(0.05)
