from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any, cast

import pytest

from k8s_mcp_server.cluster.client import Answer, ApiClient
from k8s_mcp_server.cluster.discovery import ACCEPT, CRDS, Discovery, DiscoveryReader, resources_of
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from tests.support.clocks import ManualClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

pytestmark = pytest.mark.unit


def resource(name: str, scope: str = "Namespaced", **fields: Any) -> dict[str, Any]:
    kind = {"group": "", "version": "", "kind": name.title()}
    return {"resource": name, "scope": scope, "responseKind": kind, "verbs": ["get", "list"], **fields}


def document(**groups: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Groups, each a list of versions in the order of preference."""
    items = [
        {"metadata": {"name": name} if name != "core" else {}, "versions": [{"resources": item} for item in versions]}
        for name, versions in groups.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items}


def test_resources_have_their_group_scope_and_names() -> None:
    pods = resource("pods", shortNames=["po"], subresources=[{"subresource": "log", "verbs": ["get"]}])
    found = Catalog(
        resources_of(document(core=[[pods, resource("nodes", "Cluster")]], apps=[[resource("deployments")]]))
    )

    assert len(found) == 3
    assert found.scope_of(group="", resource="nodes") is Scope.CLUSTER
    assert found.find(group="", resource="pods") == ApiResource(
        group="",
        resource="pods",
        kind="Pods",
        scope=Scope.NAMESPACED,
        short_names=("po",),
        verbs=frozenset({"get", "list"}),
        subresources=(("log", frozenset({"get"})),),
    )


def test_a_resource_of_several_versions_is_there_once_as_the_preferred_version_has_it() -> None:
    new, old = resource("widgets", shortNames=["w"]), resource("widgets")
    (found,) = resources_of(document(acme=[[new], [old, resource("gone")][:1]]))

    assert found.short_names == ("w",)


def test_versions_that_disagree_about_the_scope_make_the_resource_unknown() -> None:
    doc = document(acme=[[resource("widgets")], [resource("widgets", "Cluster"), resource("gadgets")]])

    assert [item.resource for item in resources_of(doc)] == ["gadgets"]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"kind": "APIGroupList", "groups": []}, id="an API server that does not aggregate"),
        pytest.param({"kind": "APIVersions"}, id="the core group of such a server"),
        pytest.param(document(acme=[[{"resource": "widgets"}]]), id="a resource without a scope"),
        pytest.param(document(acme=[[resource("widgets", "Galaxy")]]), id="an unknown scope"),
        pytest.param({"kind": "APIGroupDiscoveryList", "items": ["?"]}, id="a group that is none"),
    ],
)
def test_discovery_that_is_not_understood_is_no_discovery(broken: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        list(resources_of(broken))


class Server:
    """Serves discovery documents with ETags."""

    def __init__(self) -> None:
        self.documents = {
            "/api": document(core=[[resource("pods")]]),
            "/apis": document(apps=[[resource("deployments")]]),
        }
        self.requests: list[tuple[str, int]] = []
        self.customs: list[str] | None = []
        self.asked_for_customs = 0

    def custom_resource_definitions(self) -> Answer:
        self.asked_for_customs += 1
        if self.customs is None:
            raise Unavailable("forbidden")
        items = [{"metadata": {"name": name}} for name in self.customs]
        return Answer(status=200, body=json.dumps({"items": items}).encode(), headers={})

    async def request(self, method: str, path: str, *, headers: Mapping[str, str]) -> Answer:
        if path == CRDS:
            return self.custom_resource_definitions()
        assert (method, headers["Accept"]) == ("GET", ACCEPT)
        body = json.dumps(self.documents[path]).encode()
        etag = f'"{hash(body)}"'
        status = 304 if headers.get("If-None-Match") == etag else 200
        self.requests.append((path, status))
        return Answer(status=status, body=b"" if status == 304 else body, headers={"ETag": etag})


@pytest.mark.anyio
async def test_what_did_not_change_is_not_sent_again() -> None:
    server = Server()
    reader = DiscoveryReader(cast("ApiClient", server))
    first = await reader.read()

    assert await reader.read() is first
    assert [status for _, status in server.requests] == [200, 200, 304, 304]

    server.documents["/apis"] = document(apps=[[resource("deployments")]], acme=[[resource("widgets", "Cluster")]])
    changed = await reader.read()

    assert server.requests[-2:] == [("/api", 304), ("/apis", 200)]
    assert changed.scope_of(group="", resource="pods") is Scope.NAMESPACED
    assert changed.scope_of(group="acme", resource="widgets") is Scope.CLUSTER

    server.documents["/apis"] = document(apps=[[resource("deployments")]])
    assert (await reader.read()).scope_of(group="acme", resource="widgets") is None


@pytest.mark.anyio
async def test_which_resources_are_custom_is_asked_when_something_changed_and_until_it_is_known() -> None:
    server = Server()
    server.documents["/apis"] = document(acme=[[resource("widgets")]], metrics=[[resource("pods")]])
    server.customs = None
    reader = DiscoveryReader(cast("ApiClient", server))
    assert not any(item.custom for item in await reader.read())

    server.customs = ["widgets.acme"]
    assert [(item.resource, item.group) for item in await reader.read() if item.custom] == [("widgets", "acme")]

    await reader.read()
    assert server.asked_for_customs == 2


async def call_here(work: Callable[[], Awaitable[Any]], *, timeout: float) -> Any:  # noqa: ASYNC109  as in Call
    async with asyncio.timeout(timeout):
        return await work()


class Readings:
    """Counts readings; may be told to fail."""

    def __init__(self) -> None:
        self.count = 0
        self.error: Exception | None = None

    async def __call__(self) -> Catalog:
        self.count += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return Catalog([ApiResource(group="", resource=f"r{self.count}", kind="", scope=Scope.CLUSTER)])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def readings() -> Readings:
    return Readings()


@pytest.fixture
def discovery(clock: ManualClock, readings: Readings) -> Discovery:
    discovery = Discovery(call=call_here, clock=clock, sleep=clock.sleep)
    discovery._read = readings
    return discovery


@pytest.mark.anyio
async def test_before_the_first_reading_nothing_is_known(clock: ManualClock) -> None:
    discovery = Discovery(call=call_here, clock=clock)
    assert len(discovery.catalog) == 0
    assert discovery.age() == math.inf
    with pytest.raises(Unavailable):
        await discovery.refresh()


@pytest.mark.anyio
async def test_a_refresh_shows_what_there_is_now(discovery: Discovery, clock: ManualClock) -> None:
    await discovery.refresh()
    assert [item.resource for item in discovery.catalog] == ["r1"]
    clock.advance(4)
    assert discovery.age() == 4

    await discovery.refresh()
    assert [item.resource for item in discovery.catalog] == ["r2"]
    assert discovery.age() == 0


@pytest.mark.anyio
async def test_callers_at_the_same_time_share_one_reading(discovery: Discovery, readings: Readings) -> None:
    await asyncio.gather(*(discovery.refresh() for _ in range(20)))

    assert readings.count == 1


@pytest.mark.anyio
async def test_there_is_at_most_one_reading_a_second(
    discovery: Discovery, readings: Readings, clock: ManualClock
) -> None:
    began = clock()
    for _ in range(5):
        clock.advance(0.1)
        await discovery.refresh()

    assert readings.count == 5
    assert clock() - began >= 4


@pytest.mark.anyio
async def test_a_failed_reading_is_told_to_all_who_waited_and_leaves_the_catalog(
    discovery: Discovery, readings: Readings, clock: ManualClock
) -> None:
    await discovery.refresh()
    readings.error = Unavailable("down")
    clock.advance(5)

    outcomes = await asyncio.gather(*(discovery.refresh() for _ in range(3)), return_exceptions=True)

    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert readings.count == 2
    assert [item.resource for item in discovery.catalog] == ["r1"]
    assert discovery.age() == 5
