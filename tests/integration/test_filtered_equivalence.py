"""What a policy leaves of lists and watches is the whole answer filtered by hand, over random clusters and policies.

One cluster is used again and again: each example brings its ConfigMaps, its namespaces' labels and its policy.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from devtools.toolchain import ensure_tools
from devtools.vocabulary import kubectl
from devtools.vocabulary.everything import CLIENTS
from devtools.vocabulary.gateway import RunningGateway, running
from devtools.vocabulary.objects import manifest
from devtools.vocabulary.site import Site, apply, empowered
from tests.support.random_cluster import PLACES, Scope, World, worlds
from tests.support.raw_http import RawClient, RawResponse

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.cluster import TestCluster
    from k8s_mcp_server.gateway.session import CommandSession

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
CONFIGMAPS = "/api/v1/configmaps"
Fetch = Callable[..., Awaitable[RawResponse]]
T = TypeVar("T")


def bounded(examples: int) -> settings:
    """So many examples, however slow the machine."""
    return settings(
        max_examples=examples,
        deadline=None,
        print_blob=True,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink takes minutes on a real cluster
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


@dataclass(slots=True, kw_only=True)
class Laboratory:
    """The cluster of the examples, and the gateway before it."""

    site: Site
    gateway: RunningGateway
    runner: asyncio.Runner
    folder: Path
    prefix: str
    session: CommandSession

    def run(self, work: Awaitable[T]) -> T:
        """Run something in the gateway's event loop."""

        async def bounded_work() -> T:
            async with asyncio.timeout(60):
                return await work

        return self.runner.run(bounded_work())

    def enter(self, world: World) -> None:
        """Make the cluster and the policy as the world has them."""
        namespaces = [f"{self.prefix}{number}" for number in range(PLACES)]
        for name, labels in zip(namespaces, world.labels, strict=True):
            body = {"metadata": {"labels": {"tier": labels.get("tier")}}}
            self.run(self.change("PATCH", f"/api/v1/namespaces/{name}", body))
        self.become(world.objects)
        listed = self.run(self.direct("/api/v1/namespaces"))
        self.gateway.see_namespaces(listed.body.decode())
        self.gateway.allow(world.policy(f"{CLIENTS}*"))

    def become(self, objects: dict[tuple[int, str], str]) -> None:
        """Make the ConfigMaps those, by creations, changes and deletions."""
        listed = self.run(self.direct(CONFIGMAPS)).json()["items"]
        there = {
            (int(item["metadata"]["namespace"].removeprefix(self.prefix)), item["metadata"]["name"]): item
            for item in listed
            if item["metadata"]["namespace"].startswith(self.prefix) and item["metadata"]["name"] != "kube-root-ca.crt"
        }
        for number, name in there.keys() - objects.keys():
            path = f"/api/v1/namespaces/{self.prefix}{number}/configmaps/{name}"
            self.run(self.change("DELETE", path, {}))
        for (number, name), tier in objects.items():
            path = f"/api/v1/namespaces/{self.prefix}{number}/configmaps"
            body = {"metadata": {"name": name, "labels": {"tier": tier}}}
            if (number, name) in there:
                self.run(self.change("PATCH", f"{path}/{name}", body))
            else:
                self.run(self.change("POST", path, body))

    async def direct(self, target: str, *, accept: str = JSON) -> RawResponse:
        """GET from the API server."""
        cluster = self.site.cluster
        return await exchange("GET", target, port=cluster.port, ca=cluster.ca_file.read_text(), token=self.site.token,
                              accept=accept)  # fmt: skip

    async def through(self, target: str, *, accept: str = JSON) -> RawResponse:
        """GET through the gateway."""
        gateway = self.gateway.gateway
        return await exchange("GET", target, port=gateway.port, ca=gateway.ca_pem, token=self.session.token,
                              accept=accept)  # fmt: skip

    async def change(self, method: str, target: str, body: dict[str, Any]) -> None:
        """Change something directly."""
        cluster = self.site.cluster
        answer = await exchange(method, target, port=cluster.port, ca=cluster.ca_file.read_text(),
                                token=self.site.token, body=json.dumps(body).encode())  # fmt: skip
        assert answer.status < 300, (method, target, answer)


async def exchange(
    method: str, target: str, *, port: int, ca: str, token: str, accept: str = JSON, body: bytes = b""
) -> RawResponse:
    """One request over a connection of its own."""
    kind = "application/merge-patch+json" if method == "PATCH" else JSON
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", f"Accept: {accept}", f"Authorization: Bearer {token}"]
    lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"] if body else []
    async with await RawClient.connect(port, ca) as client:
        await client.send("\r\n".join([*lines, "", ""]).encode() + body)
        return await client.response()


@pytest.fixture(scope="module")
def laboratory(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("filtered")
    with empowered(cluster) as site, asyncio.Runner() as runner:
        prefix = f"fe-{site.mark}-"
        namespaces = [f"{prefix}{number}" for number in range(PLACES)]
        apply(cluster, *(manifest("v1", "Namespace", name) for name in namespaces))
        stack = AsyncExitStack()
        gateway = runner.run(stack.enter_async_context(running(site, folder)))
        try:
            for name in namespaces:  # made by a controller, a moment later
                cluster.kubectl("wait", "configmap/kube-root-ca.crt", "-n", name, "--for=create", "--timeout=30s")
            yield Laboratory(
                site=site, gateway=gateway, runner=runner, folder=folder, prefix=prefix, session=gateway.open()
            )
        finally:
            runner.run(stack.aclose())
            cluster.kubectl("delete", "namespace", *namespaces, "--wait=false")


def by_hand(items: list[dict[str, Any]], world: World) -> list[dict[str, Any]]:
    """The objects that the client may see."""
    return [item for item in items if world.shows(item["metadata"].get("namespace", ""), item["metadata"]["name"])]


def target_of(world: World, *parameters: str) -> str:
    query = "&".join(item for item in (world.query, *parameters) if item)
    return f"{CONFIGMAPS}?{query}" if query else CONFIGMAPS


@bounded(40)
@given(data=st.data())
def test_a_list_is_the_whole_list_filtered_by_hand(laboratory: Laboratory, data: st.DataObject) -> None:
    world = data.draw(worlds(laboratory.prefix))
    laboratory.enter(world)
    target = target_of(world)
    whole = laboratory.run(laboratory.direct(target)).json()
    answer = laboratory.run(laboratory.through(target))
    expected = by_hand(whole["items"], world)
    if answer.status == 403:  # the name that it selects is not given anywhere
        assert expected == []
        return
    cut = answer.json()
    assert cut["items"] == expected
    assert {**cut, "items": [], "metadata": {}} == {**whole, "items": [], "metadata": {}}
    assert cut["metadata"].keys() == {"resourceVersion"}
    if "metadata.namespace" not in world.query:
        # With that selector and a limit, kube-apiserver 1.37 itself loses or repeats objects: the continue token of
        # the first page lacks the namespace ({"start":"/n1"} instead of {"start":"/ns/n1"}), so the next
        # one starts elsewhere.
        assert paged(laboratory, target) == expected

    table, cut_table = (
        laboratory.run(fetch(target, accept=TABLE)).json() for fetch in (laboratory.direct, laboratory.through)
    )
    rows = [row for row in table["rows"] if by_hand([row["object"]], world)]
    assert without_ages(cut_table["rows"]) == without_ages(rows)
    assert cut_table["columnDefinitions"] == table["columnDefinitions"]


def paged(laboratory: Laboratory, target: str) -> list[dict[str, Any]]:
    """The list, three objects of the whole at a time."""
    separator = "&" if "?" in target else "?"
    items: list[dict[str, Any]] = []
    page = f"{target}{separator}limit=3"
    following = page
    while following:
        answer = laboratory.run(laboratory.through(following)).json()
        items += answer["items"] or []
        token = answer["metadata"].get("continue", "")
        following = f"{page}&continue={token}" if token else ""
    return items


def test_a_policy_of_one_namespace_pages_through_all_of_it(laboratory: Laboratory) -> None:
    """As a guard: a selector of that namespace, put into the request for the client, would make pages lose objects."""
    names = [f"n{number}" for number in range(8)]
    everywhere = {(number, name): "a" for number in range(PLACES) for name in names}
    rules = (Scope(namespaces=(f"{laboratory.prefix}1",)),)
    world = World(labels=({},) * PLACES, objects=everywhere, later={}, rules=rules, prefix=laboratory.prefix)
    laboratory.enter(world)
    found = paged(laboratory, CONFIGMAPS)
    assert [item["metadata"]["name"] for item in found] == ["kube-root-ca.crt", *names]
    assert {item["metadata"]["namespace"] for item in found} == {f"{laboratory.prefix}1"}


def without_ages(rows: list[dict[str, Any]]) -> list[tuple[list[Any], Any]]:
    return [(row["cells"][:-1], row["object"]) for row in rows]


@bounded(10)
@given(data=st.data())
def test_the_list_of_namespaces_is_filtered_by_hand(laboratory: Laboratory, data: st.DataObject) -> None:
    world = data.draw(worlds(laboratory.prefix))
    laboratory.enter(world)
    whole = laboratory.run(laboratory.direct("/api/v1/namespaces")).json()["items"]
    cut = laboratory.run(laboratory.through("/api/v1/namespaces")).json()["items"]
    assert cut == [item for item in whole if world.shows_namespace(item["metadata"]["name"])]


@bounded(12)
@given(data=st.data())
def test_a_watch_is_the_whole_watch_filtered_by_hand(laboratory: Laboratory, data: st.DataObject) -> None:
    world = data.draw(worlds(laboratory.prefix))
    laboratory.enter(world)
    version = laboratory.run(laboratory.direct(CONFIGMAPS)).json()["metadata"]["resourceVersion"]
    laboratory.become(world.later)
    target = target_of(world, "watch=true", f"resourceVersion={version}", "timeoutSeconds=1")
    fetches = [
        fetch(target, accept=accept) for fetch in (laboratory.direct, laboratory.through) for accept in (JSON, TABLE)
    ]

    async def together() -> list[RawResponse]:
        return await asyncio.gather(*fetches)

    whole, whole_table, cut, cut_table = laboratory.run(together())
    expected = [event for event in events(whole) if by_hand([event["object"]], world)]
    if cut.status == 403:
        assert expected == []
        return
    assert events(cut) == expected
    shown = [event for event in events(whole_table) if by_hand([event["object"]["rows"][0]["object"]], world)]
    assert [(item["type"], without_ages(item["object"]["rows"])) for item in events(cut_table)] == [
        (item["type"], without_ages(item["object"]["rows"])) for item in shown
    ]
    if shown:
        first = events(whole_table)[0]["object"]["columnDefinitions"]
        assert events(cut_table)[0]["object"]["columnDefinitions"] == first


def events(answer: RawResponse) -> list[dict[str, Any]]:
    assert answer.status == 200, answer
    return [json.loads(line) for line in answer.body.splitlines()]


@bounded(6)
@given(data=st.data())
def test_what_kubectl_prints_is_filtered_by_hand(laboratory: Laboratory, data: st.DataObject) -> None:
    world = data.draw(worlds(laboratory.prefix))
    laboratory.enter(world)
    printed = laboratory.run(print_both(laboratory, "json", "yaml", "name", "wide"))
    whole = json.loads(printed["direct json"])
    expected = {**whole, "items": by_hand(whole["items"], world)}
    assert json.loads(printed["through json"]) == expected
    assert yaml.safe_load(printed["through yaml"]) == expected
    names = [f"configmap/{item['metadata']['name']}" for item in expected["items"]]
    assert printed["through name"].split() == names
    head, *rows = [line.split()[:-1] for line in printed["direct wide"].splitlines()]
    shown = [row for row in rows if world.shows(row[0], row[1])]
    assert [line.split()[:-1] for line in printed["through wide"].splitlines()] == ([head, *shown] if shown else [])


async def print_both(laboratory: Laboratory, *outputs: str) -> dict[str, str]:
    """What ``kubectl get configmaps -A`` prints each way."""
    cluster, gateway = laboratory.site.cluster, laboratory.gateway.gateway
    ca_file = laboratory.folder / "gateway.pem"
    ca_file.write_text(gateway.ca_pem, encoding="ascii")
    servers = {
        "direct": (cluster.server_url, cluster.ca_file, laboratory.site.token),
        "through": (f"https://127.0.0.1:{gateway.port}", ca_file, laboratory.session.token),
    }
    binary = ensure_tools(["kubectl"])["kubectl"]

    async def one(way: str, output: str) -> str:
        server, ca, token = servers[way]
        target = kubectl.Target(
            name=f"{way}-{output}", server=server, ca_file=ca, token=token, namespace=f"{laboratory.prefix}0"
        )
        arguments = ("get", "configmaps", "-A", "-o", output)
        outcome = await kubectl.run(binary, arguments, target=target, folder=laboratory.folder)
        assert outcome.code == 0, outcome
        return outcome.stdout

    asked = [(way, output) for way in servers for output in outputs]
    printed = []
    for start in range(0, len(asked), 4):  # four processes at a time
        printed += await asyncio.gather(*(one(*item) for item in asked[start : start + 4]))
    return {f"{way} {output}": text for (way, output), text in zip(asked, printed, strict=True)}
