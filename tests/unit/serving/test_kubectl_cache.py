"""kubectl's discovery cache: what aggregated discovery says, in kubectl's own layout."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.authoring.resources import Served
from k8s_mcp_server.cluster.client import Answer
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.serving.kubectl_cache import REWRITE_SECONDS, KubectlCache, cache_files
from tests.support.serving import FakeClock, FakeDiscovery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.unit

PODS = {
    "resource": "pods",
    "responseKind": {"group": "", "version": "v1", "kind": "Pod"},
    "scope": "Namespaced",
    "singularResource": "pod",
    "verbs": ["get", "list"],
    "shortNames": ["po"],
    "categories": ["all"],
    "subresources": [
        {"subresource": "log", "responseKind": {"group": "", "version": "v1", "kind": "Pod"}, "verbs": ["get"]},
        {"subresource": "odd", "verbs": ["get"]},
    ],
}
CORE = {"kind": "APIGroupDiscoveryList", "items": [{"versions": [{"version": "v1", "resources": [PODS]}]}]}
GROUPS = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": []}, {"version": "v1beta1"}]},
        {"metadata": {"name": "down.example.com"}, "versions": [{"version": "v1", "freshness": "Stale"}]},
    ],
}
CATALOG = Catalog([ApiResource(group="", resource="pods", kind="Pod", scope=Scope.NAMESPACED)])


def test_groups_are_listed_with_the_first_version_preferred() -> None:
    groups = {group["name"]: group for group in cache_files([CORE, GROUPS])["servergroups.json"]["groups"]}

    assert set(groups) == {"", "apps"}
    assert groups[""]["preferredVersion"] == {"groupVersion": "v1", "version": "v1"}
    assert [version["groupVersion"] for version in groups["apps"]["versions"]] == ["apps/v1", "apps/v1beta1"]


def test_resources_and_subresources_are_as_client_go_converts_them() -> None:
    pods, log = cache_files([CORE])["v1/serverresources.json"]["resources"]

    assert (pods["name"], pods["singularName"], pods["namespaced"]) == ("pods", "pod", True)
    assert (pods["kind"], pods["shortNames"], pods["categories"]) == ("Pod", ["po"], ["all"])
    assert (log["name"], log["kind"], log["verbs"]) == ("pods/log", "Pod", ["get"])


def test_an_api_whose_server_does_not_answer_is_left_out() -> None:
    assert not [name for name in cache_files([GROUPS]) if "down" in name]


class FakeApi:
    """Answers discovery, or does not."""

    def __init__(self) -> None:
        self.asked = 0
        self.down = False
        self.was_asked = asyncio.Event()

    async def request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        assert method == "GET"
        if path == "/version":
            return Answer(status=200, body=b'{"gitVersion": "v1.37.2"}', headers={})
        assert headers is not None
        assert "aggregated" in headers["Accept"] or "APIGroupDiscoveryList" in headers["Accept"]
        self.asked += 1
        self.was_asked.set()
        if self.down:
            raise Unavailable("down")
        document = CORE if path == "/api" else GROUPS
        return Answer(status=200, body=json.dumps(document).encode(), headers={})


class Rig:
    """A cache that runs on what a test sets."""

    def __init__(self, parent: Path) -> None:
        self.api, self.discovery, self.clock = FakeApi(), FakeDiscovery(), FakeClock()
        self.folders: list[Path] = []
        self.published = asyncio.Event()
        self.cache = KubectlCache(
            self._connect,
            discovery=self.discovery,
            parent=parent,
            port=4567,
            published=self._publish,
            clock=self.clock,
            poll_seconds=0.001,
        )

    @contextlib.asynccontextmanager
    async def _connect(self) -> AsyncIterator[Any]:
        yield self.api

    def _publish(self, folder: Path, documents: Mapping[str, Any]) -> None:
        assert (documents["/api"], documents["/apis"], documents["gitVersion"]) == (CORE, GROUPS, "v1.37.2")
        assert list(Served(documents).catalog)
        self.folders.append(folder)
        self.published.set()

    async def next_folder(self) -> Path:
        async with asyncio.timeout(10):
            await self.published.wait()
        self.published.clear()
        return self.folders[-1]


@contextlib.asynccontextmanager
async def running(parent: Path) -> AsyncIterator[Rig]:
    rig = Rig(parent)
    task = asyncio.create_task(rig.cache.run())
    try:
        yield rig
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.anyio
async def test_the_cache_is_filled_where_kubectl_looks_for_it(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.discovery.catalog = CATALOG
        folder = await rig.next_folder()

    groups = json.loads((folder / "discovery/127.0.0.1_4567/servergroups.json").read_text(encoding="utf-8"))
    assert groups["kind"] == "APIGroupList"
    assert (folder / "discovery/127.0.0.1_4567/apps/v1/serverresources.json").is_file()


@pytest.mark.anyio
async def test_it_is_filled_again_when_discovery_changes_and_one_older_folder_stays(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        for _ in range(3):
            rig.discovery.catalog = Catalog(CATALOG)
            await rig.next_folder()
        async with asyncio.timeout(10):
            while rig.folders[0].exists():  # noqa: ASYNC110 - a folder has no event
                await asyncio.sleep(0.001)

    assert [folder.exists() for folder in rig.folders] == [False, True, True]


@pytest.mark.anyio
async def test_it_is_filled_again_before_kubectl_takes_it_for_old(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.discovery.catalog = CATALOG
        first = await rig.next_folder()
        rig.clock.seconds += REWRITE_SECONDS + 1
        second = await rig.next_folder()

    assert first != second


@pytest.mark.anyio
async def test_an_api_server_that_is_down_is_asked_again(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.api.down = True
        rig.discovery.catalog = CATALOG
        async with asyncio.timeout(10):
            await rig.api.was_asked.wait()
        assert rig.folders == []
        rig.api.down = False
        assert (await rig.next_folder()).exists()


@pytest.mark.anyio
async def test_what_an_earlier_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "kubectl-cache" / "99"
    left.mkdir(parents=True)

    async with running(tmp_path) as rig:
        rig.discovery.catalog = CATALOG
        await rig.next_folder()

    assert not left.exists()
