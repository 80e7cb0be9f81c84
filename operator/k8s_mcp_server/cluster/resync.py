"""Full LISTs of policies, namespaces and roles, at the start and ever after.

They are what decisions rest on: events only make changes visible sooner. Each LIST replaces what is known,
and the age of the store is counted from the moment the oldest of them was asked for.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from k8s_mcp_server.cluster.client import ApiClient, ApiStatusError
from k8s_mcp_server.cluster.clock import boot_clock
from k8s_mcp_server.cluster.objects import ListedObject, Listing
from k8s_mcp_server.cluster.store import PolicyStore, Resource
from k8s_mcp_server.errors import Unavailable

if TYPE_CHECKING:
    from k8s_mcp_server.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

PATHS: Final = {
    Resource.POLICIES: "/apis/k8s-mcp.io/v1alpha1/mcpaccesspolicies",
    Resource.NAMESPACES: "/api/v1/namespaces",
    Resource.ROLES: "/apis/rbac.authorization.k8s.io/v1/clusterroles",
}
# Answers after which nothing of the resource holds any more. Roles may be kept from the service: it works without.
_WITHDRAWN: Final = {
    Resource.POLICIES: frozenset({HTTPStatus.NOT_FOUND}),
    Resource.NAMESPACES: frozenset({HTTPStatus.NOT_FOUND}),
    Resource.ROLES: frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN}),
}
DEFAULT_INTERVAL: Final = 10.0
RETRY_INTERVAL: Final = 1.0
PAGE_SIZE: Final = 500
# A namespace's spec and status decide nothing, so they are not even sent.
_METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class _ListMetadata(msgspec.Struct):
    resource_version: str = msgspec.field(name="resourceVersion", default="")
    continue_: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


async def list_all(client: ApiClient, resource: Resource, *, clock: Callable[[], float] = boot_clock) -> Listing:
    """Every object of the resource, in pages that the API server keeps consistent.

    Raises:
        ApiStatusError: with 410 when the pages took too long, with 404 when the resource is not served.
        Unavailable: the API server does not answer, or not with a list.
    """
    requested_at = clock()
    accept = _METADATA_ONLY if resource is Resource.NAMESPACES else "application/json"
    query = {"limit": str(PAGE_SIZE)}
    items: list[ListedObject] = []
    while True:
        answer = await client.request("GET", PATHS[resource], query=query, headers={"Accept": accept})
        try:
            page = msgspec.json.decode(answer.body, type=_List)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(f"the list of {resource} cannot be read: {error}") from error
        items += [ListedObject.from_raw(item) for item in page.items or ()]
        if not page.metadata.continue_:
            return Listing(
                resource_version=page.metadata.resource_version, requested_at=requested_at, items=tuple(items)
            )
        query["continue"] = page.metadata.continue_


class Resync:
    """Lists all resources again and again, and sooner after a failure.

    Args:
        store: gets every LIST.
        list_resource: makes one LIST.
        interval: seconds between two LISTs; must be less than half of the age at which decisions stop.
        metrics: counts what only a LIST noticed.
    """

    def __init__(
        self,
        store: PolicyStore,
        *,
        list_resource: Callable[[Resource], Awaitable[Listing]],
        interval: float = DEFAULT_INTERVAL,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._list = list_resource
        self._interval = interval
        self._metrics = metrics
        self._failing: set[Resource] = set()
        self.listed = asyncio.Event()
        """Set as soon as everything that decisions need was listed once."""

    async def run(self) -> None:
        """List for ever. Nothing that goes wrong ends it; the store's age tells."""
        while True:
            try:
                complete = await self.once()
            except Exception:
                logger.exception("The resync failed unexpectedly; it goes on.")
                complete = False
            await asyncio.sleep(self._interval if complete else min(RETRY_INTERVAL, self._interval))

    async def once(self) -> bool:
        """List all resources once. Says whether all is known that can be."""
        outcomes = await asyncio.gather(*(self._replace(resource) for resource in Resource))
        if not math.isinf(self._store.age()):
            self.listed.set()
        return all(outcomes)

    async def _replace(self, resource: Resource) -> bool:
        try:
            listing = await self._list(resource)
        except Unavailable as error:
            is_withdrawn = isinstance(error, ApiStatusError) and error.status in _WITHDRAWN[resource]
            if is_withdrawn:
                self._store.forget(resource)
            if resource not in self._failing:
                self._failing.add(resource)
                logger.warning("Cannot list %s: %s", resource, error)
            return is_withdrawn and resource is Resource.ROLES  # nothing waits for what may be kept from us
        if resource in self._failing:
            self._failing.discard(resource)
            logger.info("Listing %s works again.", resource)
        dropped = self._store.replace(resource, listing)
        if dropped:
            self._metrics.resync_dropped(len(dropped))
            logger.warning("%s gone without an event: %s", resource, ", ".join(sorted(dropped)))
        return True
