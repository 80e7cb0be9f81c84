"""The facade: everything the service itself needs from the API server, started and stopped as one.

    definition  whether the CRD is of this server's time
    store       policies and namespaces, as snapshots with an age
    discovery   which resources there are
    tokens      who a bearer token belongs to
    access      what the cluster's own RBAC gives a client
    events      what ``kubectl describe`` shows of policies
    now         the time that policies end by

All requests are made in the operator thread, by one client. Readers in other threads see immutable values.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import math
from collections.abc import Coroutine, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.cluster.access_review import AccessReviewer, review_access
from k8s_mcp_server.cluster.ceiling import Answers, Ceiling, review_self
from k8s_mcp_server.cluster.client import ApiClient
from k8s_mcp_server.cluster.clock import SteadyTime
from k8s_mcp_server.cluster.definition import PolicyDefinition
from k8s_mcp_server.cluster.discovery import Discovery, DiscoveryReader
from k8s_mcp_server.cluster.events import PolicyEvents
from k8s_mcp_server.cluster.kopf_watch import watch_with_kopf
from k8s_mcp_server.cluster.lease import ApiLeaseClient, LeaderElection
from k8s_mcp_server.cluster.operator import OperatorThread, Publisher
from k8s_mcp_server.cluster.resync import DEFAULT_INTERVAL, Resync, list_all
from k8s_mcp_server.cluster.status import StatusWriter, apply_status
from k8s_mcp_server.cluster.store import PolicyStore, Resource
from k8s_mcp_server.cluster.token_review import TokenReviewer, review_token
from k8s_mcp_server.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    from k8s_mcp_server.cluster.connection import ApiServer
    from k8s_mcp_server.cluster.objects import Listing
    from k8s_mcp_server.policy.compile import Policy
    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

STOP_SECONDS: Final = 5.0
# Discovery costs little and is asked for every few seconds; a catalog this old means that it does not work at all.
STALE_DISCOVERY_SECONDS: Final = 300.0


class NotReady(StrEnum):
    """Why nothing can be decided now."""

    OPERATOR_STOPPED = "OperatorStopped"
    POLICIES_NOT_SERVED = "PoliciesNotServed"  # the CRD is not installed
    POLICY_DEFINITION_OUTDATED = "PolicyDefinitionOutdated"  # the CRD is older than this server
    POLICY_SYNC_PENDING = "PolicySyncPending"
    POLICY_SNAPSHOT_STALE = "PolicySnapshotStale"
    DISCOVERY_MISSING = "DiscoveryMissing"
    DISCOVERY_STALE = "DiscoveryStale"


class Cluster:
    """The service's view of its cluster.

    Args:
        api_server: where it is and how to prove ourselves.
        environment: our namespace, our audience, and the age at which a snapshot decides nothing any more.
        metrics: gets ages, counts and outcomes.
        identity: this replica's name in the Lease, such as its pod's.
        resync_seconds: between two full LISTs; less than half of ``environment.max_snapshot_age``.

    Raises:
        ConfigurationError: ``resync_seconds`` is not.
    """

    def __init__(
        self,
        api_server: ApiServer,
        *,
        environment: Environment,
        metrics: Metrics,
        identity: str,
        resync_seconds: float = DEFAULT_INTERVAL,
    ) -> None:
        if not 0 < resync_seconds < environment.max_snapshot_age / 2:
            raise ConfigurationError(
                f"resync seconds must be above 0 and below half of the snapshot's age limit, "
                f"{environment.max_snapshot_age:g} s; they are {resync_seconds:g}"
            )
        self._api_server = api_server
        self._environment = environment
        self._metrics = metrics
        self._identity = identity
        self._resync_seconds = resync_seconds
        self._client: ApiClient | None = None
        self._thread = OperatorThread(self._main, restarted=metrics.operator_restarted)
        self.now = SteadyTime()
        self.store = PolicyStore()
        self.definition = PolicyDefinition()
        self.discovery = Discovery(call=self._thread.call, interval=resync_seconds)
        self.tokens = TokenReviewer(self._review, call=self._thread.call, metrics=metrics)
        self.access = AccessReviewer(self._review_access, call=self._thread.call)
        self.events = PolicyEvents(policies_for=self._policies_for, identity=identity, metrics=metrics)
        metrics.watch_policies(age=self.store.age, counts=self.store.counts)
        metrics.leader(is_leader=False)

    def start(self) -> None:
        """Begin to watch; returns at once, and ``not_ready_reasons`` tells when decisions can be made. Only once."""
        self._thread.start()

    def stop(self) -> None:
        """End everything, within five seconds. Blocks: call it in a thread from an event loop."""
        if not self._thread.stop(timeout=STOP_SECONDS):
            logger.error("The operator thread did not end in %.0f s and is left behind.", STOP_SECONDS)

    def not_ready_reasons(self) -> tuple[NotReady, ...]:
        """Why nothing can be decided now; empty when decisions are sound."""
        checks = {
            NotReady.OPERATOR_STOPPED: not self._thread.alive,
            NotReady.POLICIES_NOT_SERVED: not self.store.policies_served,
            NotReady.POLICY_DEFINITION_OUTDATED: self.definition.is_outdated,
            NotReady.POLICY_SYNC_PENDING: self._is_sync_pending(),
            NotReady.POLICY_SNAPSHOT_STALE: self._environment.max_snapshot_age < self.store.age() < math.inf,
            NotReady.DISCOVERY_MISSING: math.isinf(self.discovery.age()),
            NotReady.DISCOVERY_STALE: STALE_DISCOVERY_SECONDS < self.discovery.age() < math.inf,
        }
        return tuple(reason for reason, holds in checks.items() if holds)

    def _is_sync_pending(self) -> bool:
        return not self.definition.is_read or (math.isinf(self.store.age()) and self.store.policies_served)

    def _policies_for(self, client: Client) -> tuple[Policy, ...]:
        return self.store.snapshot.policies_for(client)

    async def _review(self, token: str) -> Client | None:
        if self._client is None:
            raise Unavailable("there is no connection to the API server")
        return await review_token(self._client, token, audience=self._environment.audience)

    async def _review_access(self, client: Client, request: RequestInfo) -> bool:
        if self._client is None:
            raise Unavailable("there is no connection to the API server")
        return await review_access(self._client, client, request)

    async def _main(self, stop: asyncio.Event) -> None:
        """The operator thread's work: until ``stop``, or until a part of it fails."""
        async with ApiClient.connect(self._api_server) as client:
            with self._using(client):
                await _run_until(stop, self._parts(client))

    @contextlib.contextmanager
    def _using(self, client: ApiClient) -> Iterator[None]:
        self._client = client
        try:
            yield
        finally:
            self._client = None

    async def _list(self, client: ApiClient, resource: Resource) -> Listing:
        if resource is Resource.POLICIES:
            return await self.definition.guard(client, lambda: list_all(client, resource))
        return await list_all(client, resource)

    async def _watch(self, listed: asyncio.Event) -> None:
        await listed.wait()
        gc.freeze()  # a search for cycles in ten thousand policies stops every thread for a quarter of a second
        await watch_with_kopf(
            self._api_server,
            since=self.store.listed_version,
            sink=Publisher(self.store).take,
            metrics=self._metrics,
        )

    def _parts(self, client: ApiClient) -> list[Coroutine[Any, Any, None]]:
        election = LeaderElection(
            ApiLeaseClient(client, namespace=self._environment.own_namespace),
            identity=self._identity,
            changed=lambda leads: self._metrics.leader(is_leader=leads),
        )
        status = StatusWriter(
            functools.partial(apply_status, client),
            store=self.store,
            ceiling=Ceiling(
                Answers(functools.partial(review_self, client)),
                catalog=lambda: self.discovery.catalog,
                environment=self._environment,
            ),
            environment=self._environment,
            is_leader=lambda: election.is_leader,
            now=self.now,
            changed=self.events.changed,
        )
        resync = Resync(
            self.store,
            list_resource=functools.partial(self._list, client),
            interval=self._resync_seconds,
            metrics=self._metrics,
        )
        return [
            resync.run(),
            self.discovery.run(DiscoveryReader(client).read),
            self._watch(resync.listed),
            election.run(),
            status.run(interval=self._resync_seconds),
            self.events.run(client, interval=self._resync_seconds),
        ]


async def _run_until(stop: asyncio.Event, parts: list[Coroutine[Any, Any, None]]) -> None:
    """Run all parts until ``stop`` is set or one of them ends, then end the others, and raise what one raised."""
    tasks = [asyncio.create_task(part) for part in parts]
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (stopped, *tasks):
            task.cancel()
        outcomes = await asyncio.gather(stopped, *tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
