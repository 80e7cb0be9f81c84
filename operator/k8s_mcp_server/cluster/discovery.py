"""What the API server serves: the catalog that says whether a resource is namespaced.

Uses aggregated discovery (``/api`` and ``/apis`` in one answer each, Kubernetes 1.30 and later) with
conditional requests, so that asking often costs next to nothing. Which resources are custom ones is asked when the
answers change. A resource that is not in the catalog has no
scope, and the policy denies it; the gateway then asks once for a refresh.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.cluster.clock import boot_clock
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope

if TYPE_CHECKING:
    from k8s_mcp_server.cluster.client import Answer, ApiClient
    from k8s_mcp_server.cluster.operator import Call

logger = logging.getLogger(__name__)

PATHS: Final = ("/api", "/apis")
CRDS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
ACCEPT: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
DEFAULT_INTERVAL: Final = 10.0
SHORTEST_INTERVAL: Final = 1.0
RETRY_INTERVAL: Final = 2.0
REFRESH_TIMEOUT: Final = 15.0
_KIND: Final = "APIGroupDiscoveryList"

Read = Callable[[], Awaitable[Catalog]]


class DiscoveryReader:
    """Reads the catalog from the API server and remembers each answer's ETag."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._known: dict[str, tuple[str, tuple[ApiResource, ...]]] = {}
        self._catalog = Catalog()
        self._customs_known = False

    async def read(self) -> Catalog:
        """The catalog now; the same object as before when nothing changed.

        Raises:
            Unavailable: the API server does not answer, or not with aggregated discovery.
        """
        answers = {path: await self._get(path) for path in PATHS}
        if self._customs_known and all(answer.status == HTTPStatus.NOT_MODIFIED for answer in answers.values()):
            return self._catalog
        for path, answer in answers.items():
            if answer.status != HTTPStatus.NOT_MODIFIED:
                resources = tuple(resources_of(answer.json()))
                self._known[path] = (answer.headers.get("ETag", ""), resources)
        customs = await self._customs()
        self._catalog = Catalog(
            replace(resource, custom=f"{resource.resource}.{resource.group}" in customs)
            for _, resources in self._known.values()
            for resource in resources
        )
        return self._catalog

    async def _customs(self) -> frozenset[str]:
        """The names of all CustomResourceDefinitions; none when they cannot be had, and they are asked for again."""
        self._customs_known = False
        try:
            answer = await self._client.request("GET", CRDS, headers={"Accept": METADATA_ONLY})
            names = frozenset(str(item["metadata"]["name"]) for item in answer.json().get("items") or ())
        except (Unavailable, KeyError, TypeError) as error:
            logger.warning("Which resources are custom is not known; those have no dry run now: %s", error)
            return frozenset()
        self._customs_known = True
        return names

    async def _get(self, path: str) -> Answer:
        headers = {"Accept": ACCEPT}
        etag, _ = self._known.get(path, ("", ()))
        if etag:
            headers["If-None-Match"] = etag
        return await self._client.request("GET", path, headers=headers)


def resources_of(document: Mapping[str, Any]) -> Iterator[ApiResource]:
    """The resources of an ``APIGroupDiscoveryList``, each once per group, as its preferred version has it.

    Raises:
        Unavailable: it is something else, as from an API server before 1.30.
    """
    if document.get("kind") != _KIND:
        message = "the API server has no aggregated discovery (Kubernetes 1.30 or later is needed)"
        raise Unavailable(message)
    try:
        for group in document.get("items") or ():
            yield from _group_resources(group)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unavailable(f"the API server's discovery cannot be read: {error!r}") from error


def _group_resources(group: Mapping[str, Any]) -> Iterator[ApiResource]:
    """Each resource of a group, unless its versions disagree about its scope: then it counts as unknown."""
    name = group.get("metadata", {}).get("name", "")
    found: dict[str, ApiResource] = {}
    scopes: dict[str, set[Scope]] = {}
    for version in group.get("versions") or ():
        for item in version.get("resources") or ():
            resource = _resource(name, item)
            found.setdefault(resource.resource, resource)
            scopes.setdefault(resource.resource, set()).add(resource.scope)
    return (resource for resource in found.values() if len(scopes[resource.resource]) == 1)


def _resource(group: str, item: Mapping[str, Any]) -> ApiResource:
    return ApiResource(
        group=group,
        resource=item["resource"],
        kind=(item.get("responseKind") or {}).get("kind", ""),
        scope=Scope(item["scope"]),
        short_names=tuple(item.get("shortNames") or ()),
        verbs=frozenset(item.get("verbs") or ()),
        subresources=tuple(
            (part["subresource"], frozenset(part.get("verbs") or ())) for part in item.get("subresources") or ()
        ),
    )


class Discovery:
    """The current catalog. Readable from any thread; ``refresh`` works in any event loop.

    Args:
        call: runs a coroutine function in the operator's loop.
        interval: seconds between two periodic readings.
        clock: seconds.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        *,
        call: Call,
        interval: float = DEFAULT_INTERVAL,
        clock: Callable[[], float] = boot_clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._read: Read | None = None
        self._call = call
        self._interval = interval
        self._clock = clock
        self._sleep = sleep
        self._lock = asyncio.Lock()
        self._catalog = Catalog()
        self._read_at = -math.inf
        self._attempted_at = -math.inf
        self._failure: Unavailable | None = None

    @property
    def catalog(self) -> Catalog:
        """The newest catalog; empty before the first reading."""
        return self._catalog

    def age(self) -> float:
        """Seconds since the catalog was last known to hold; infinite before the first reading."""
        return self._clock() - self._read_at

    async def refresh(self) -> None:
        """See what the API server serves now. Simultaneous callers share a reading; there is at most one a second.

        Raises:
            Unavailable: the API server does not answer.
        """
        await self._call(functools.partial(self._refresh_since, self._clock()), timeout=REFRESH_TIMEOUT)

    async def run(self, read: Read) -> None:
        """Read again and again, in the operator's loop. A failure leaves the catalog as it is, and it ages."""
        self._read = read
        while True:
            try:
                await self._refresh_since(self._clock())
                wait = self._interval
            except Unavailable as error:
                logger.warning("Discovery failed: %s", error)
                wait = min(RETRY_INTERVAL, self._interval)
            await self._sleep(wait)

    async def _refresh_since(self, asked_at: float) -> None:
        async with self._lock:
            if self._attempted_at < asked_at:
                await self._sleep(max(0.0, self._attempted_at + SHORTEST_INTERVAL - self._clock()))
                await self._attempt()
            elif self._failure is not None:
                raise Unavailable(str(self._failure)) from self._failure

    async def _attempt(self) -> None:
        self._attempted_at = self._clock()
        self._failure = None
        try:
            self._catalog = await self._read_now()
        except Unavailable as error:
            self._failure = error
            raise
        self._read_at = self._attempted_at

    async def _read_now(self) -> Catalog:
        if self._read is None:
            raise Unavailable("discovery has not begun")
        return await self._read()
