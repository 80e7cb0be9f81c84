from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any, cast

import pytest

from k8s_mcp_server.cluster.client import Answer, ApiClient, ApiStatusError
from k8s_mcp_server.cluster.objects import ListedObject, Listing
from k8s_mcp_server.cluster.resync import Resync, list_all
from k8s_mcp_server.cluster.store import PolicyStore, Resource
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.clocks import ManualClock
from tests.support.eventually import eventually
from tests.support.policies import namespace_body, policy_body, role_body

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Pages:
    """Answers each request with the next page after a second, and remembers what was asked."""

    def __init__(self, *pages: bytes | Exception) -> None:
        self.clock = ManualClock()
        self.pages = list(pages)
        self.queries: list[dict[str, str]] = []

    async def request(self, method: str, path: str, *, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        assert method == "GET"
        assert headers["Accept"].startswith("application/json")
        self.queries.append(dict(query))
        self.clock.advance(1)
        page = self.pages.pop(0)
        if isinstance(page, Exception):
            raise page
        return Answer(status=200, body=page, headers={})


def page(*bodies: Mapping[str, Any], version: str = "100", more: str = "") -> bytes:
    return json.dumps({"metadata": {"resourceVersion": version, "continue": more}, "items": list(bodies)}).encode()


async def listed(pages: Pages) -> Listing:
    return await list_all(cast("ApiClient", pages), Resource.NAMESPACES, clock=pages.clock)


async def test_a_list_of_many_pages_is_one_list_as_old_as_its_first_request() -> None:
    pages = Pages(page(namespace_body("a"), more="next"), page(namespace_body("b")))

    asked_at = pages.clock()
    listing = await listed(pages)

    assert [item.name for item in listing.items] == ["a", "b"]
    assert (listing.resource_version, listing.requested_at) == ("100", asked_at)
    assert [query.get("continue") for query in pages.queries] == [None, "next"]
    assert {query["limit"] for query in pages.queries} == {"500"}


async def test_an_empty_list_may_have_no_items_at_all() -> None:
    assert (await listed(Pages(b'{"metadata": {"resourceVersion": "7"}, "items": null}'))).items == ()


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(ApiStatusError(410, "expired"), id="the pages took too long"),
        pytest.param(b"<html>", id="something else answers"),
        pytest.param(b'{"kind": "Status"}', id="a Status"),
        pytest.param(b'{"metadata": {}, "items": [{}]}', id="an object without a name"),
    ],
)
async def test_a_list_that_breaks_off_is_no_list(second: bytes | Exception) -> None:
    with pytest.raises(Unavailable):
        await listed(Pages(page(namespace_body("a"), more="next"), second))


class Lists:
    """What the API server would list, or the error it answers with."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.version = 100
        self.bodies: dict[Resource, list[dict[str, Any]]] = {
            Resource.POLICIES: [policy_body("kept"), policy_body("gone")],
            Resource.ROLES: [role_body("edit")],
            Resource.NAMESPACES: [namespace_body("team-a")],
        }
        self.errors: dict[Resource, Exception] = {}

    async def __call__(self, resource: Resource) -> Listing:
        if resource in self.errors:
            raise self.errors[resource]
        self.version += 1
        items = tuple(ListedObject.from_raw(json.dumps(body).encode()) for body in self.bodies[resource])
        return Listing(resource_version=str(self.version), requested_at=self.clock(), items=items)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lists(clock: ManualClock) -> Lists:
    return Lists(clock)


@pytest.fixture
def store(clock: ManualClock) -> PolicyStore:
    return PolicyStore(clock=clock)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def resync(store: PolicyStore, lists: Lists, metrics: Metrics) -> Resync:
    return Resync(store, list_resource=lists, metrics=metrics)


async def test_a_missed_deletion_is_dropped_and_counted(
    resync: Resync, store: PolicyStore, lists: Lists, metrics: Metrics
) -> None:
    assert await resync.once()
    assert set(store.snapshot.policies) == {"kept", "gone"}

    lists.bodies[Resource.POLICIES].pop()
    assert await resync.once()

    assert set(store.snapshot.policies) == {"kept"}
    assert metrics.registry.get_sample_value("k8s_mcp_resync_dropped_objects_total") == 1


@pytest.mark.parametrize("resource", [Resource.POLICIES, Resource.NAMESPACES])
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ApiStatusError(500, "etcd is down"), id="5xx"),
        pytest.param(ApiStatusError(403, "no"), id="403"),
        pytest.param(Unavailable("refused"), id="refused"),
    ],
)
async def test_one_list_that_fails_lets_the_store_age(
    resync: Resync, store: PolicyStore, lists: Lists, *, error: Exception, resource: Resource
) -> None:
    await resync.once()
    lists.errors[resource] = error
    lists.clock.advance(20)

    assert not await resync.once()

    assert store.age() == 20
    assert set(store.snapshot.policies) == {"kept", "gone"}

    lists.errors.clear()
    assert await resync.once()
    assert store.age() == 0


class TestRoles:
    """ClusterRoles are needed only while a policy follows one, and may be kept from the service."""

    FOLLOWS = policy_body(
        "kept", rules=[{"namespaces": ["team-a"], "roleRef": {"kind": "ClusterRole", "name": "edit"}}]
    )

    async def test_while_no_policy_follows_a_role_their_age_does_not_count(
        self, resync: Resync, store: PolicyStore, lists: Lists
    ) -> None:
        lists.errors[Resource.ROLES] = Unavailable("refused")
        assert not await resync.once()
        assert store.age() == 0
        assert set(store.snapshot.policies) == {"kept", "gone"}

    async def test_where_a_policy_follows_one_they_count_from_the_first_moment(
        self, resync: Resync, store: PolicyStore, lists: Lists
    ) -> None:
        lists.bodies[Resource.POLICIES] = [self.FOLLOWS]
        lists.errors[Resource.ROLES] = Unavailable("refused")
        assert not await resync.once()
        assert store.age() == math.inf
        assert not store.snapshot.policies

        lists.errors.clear()
        assert await resync.once()
        assert (store.age(), set(store.snapshot.roles)) == (0, {"edit"})

    async def test_roles_that_cannot_be_listed_any_more_age(
        self, resync: Resync, store: PolicyStore, lists: Lists
    ) -> None:
        lists.bodies[Resource.POLICIES] = [self.FOLLOWS]
        await resync.once()
        lists.errors[Resource.ROLES] = ApiStatusError(500, "etcd is down")
        lists.clock.advance(20)
        assert not await resync.once()
        assert store.age() == 20

    @pytest.mark.parametrize("status", [403, 404])
    async def test_roles_that_are_kept_from_the_service_give_nothing_and_stop_nothing_else(
        self, resync: Resync, store: PolicyStore, lists: Lists, status: int
    ) -> None:
        lists.bodies[Resource.POLICIES] = [self.FOLLOWS]
        await resync.once()
        assert set(store.snapshot.roles) == {"edit"}
        lists.errors[Resource.ROLES] = ApiStatusError(status, "no")
        lists.clock.advance(20)

        assert await resync.once()

        assert (store.age(), set(store.snapshot.roles)) == (0, set())


async def test_policies_that_are_not_served_any_more_are_gone_at_once(
    resync: Resync, store: PolicyStore, lists: Lists
) -> None:
    await resync.once()
    lists.errors[Resource.POLICIES] = ApiStatusError(404, "not found")

    assert not await resync.once()

    assert store.age() == math.inf
    assert not store.snapshot.policies


async def test_an_unexpected_error_does_not_end_the_resync(
    resync: Resync, lists: Lists, store: PolicyStore, caplog: pytest.LogCaptureFixture
) -> None:
    lists.errors[Resource.POLICIES] = ZeroDivisionError()
    synced = asyncio.Event()
    resync._interval = 0
    task = asyncio.create_task(resync.run())
    await eventually(lambda: "unexpectedly" in caplog.text)

    lists.errors.clear()
    store.subscribe(synced.set)
    async with asyncio.timeout(5):
        await synced.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert store.age() == 0
