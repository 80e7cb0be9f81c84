"""What kubectl reads through the gateway, under a policy for two namespaces."""

from __future__ import annotations

import json

import pytest

from tests.support.gateway_site import (
    Rig,
    apply,
    configmap,
    settled,
)
from tests.support.raw_http import RawClient, request

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_get_and_describe_show_what_the_policy_allows(rig: Rig) -> None:
    got = await rig.kubectl("get", "pods", "-o", "wide")
    assert (got.code, got.stderr) == (0, "")
    assert "web" in got.stdout
    described = await rig.kubectl("describe", "pod", "web")
    assert (described.code, described.stderr) == (0, "")
    assert "example.com/web:1" in described.stdout


@pytest.mark.parametrize(
    "output",
    ["", "wide", "name", "json", "yaml", "jsonpath={.items[*].metadata.namespace}"],
    ids=["table", "wide", "name", "json", "yaml", "jsonpath"],
)
async def test_a_list_of_all_namespaces_holds_only_those_of_the_policy(rig: Rig, output: str) -> None:
    got = await rig.kubectl("get", "configmaps", "-A", *(["-o", output] if output else []))
    assert (got.code, got.stderr) == (0, "")
    assert rig.site.other not in got.stdout
    assert "kube-system" not in got.stdout
    if output != "name":
        assert rig.site.team in got.stdout
        assert rig.site.second in got.stdout
    assert rig.session.filtered


async def test_namespaces_are_listed_as_far_as_the_policy_names_them(rig: Rig) -> None:
    got = await rig.kubectl("get", "namespaces", "-o", "name")
    assert (got.code, got.stderr) == (0, "")
    assert got.stdout.split() == sorted([f"namespace/{rig.site.team}", f"namespace/{rig.site.second}"])


@pytest.mark.parametrize("chunk", ["500", "1"], ids=["at once", "one by one"])
async def test_custom_resources_whose_lists_begin_with_the_items_are_cut_as_well(rig: Rig, chunk: str) -> None:
    site = rig.site
    got = await rig.kubectl("get", f"widgets.{site.group}", "-A", "-o", "json", f"--chunk-size={chunk}")
    assert (got.code, got.stderr) == (0, "")
    found = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in json.loads(got.stdout)["items"]]
    assert sorted(found) == sorted(
        (namespace, name) for namespace in (site.team, site.second) for name in ("one", "two")
    )
    raw = await rig.kubectl("get", "--raw", f"/apis/{site.group}/v1/widgets")
    assert list(json.loads(raw.stdout)) == ["apiVersion", "items", "kind", "metadata"]
    assert len(json.loads(raw.stdout)["items"]) == 4


async def test_a_filtered_list_comes_whole_whatever_the_page_size(rig: Rig) -> None:
    objects = [configmap(f"page-{index}", rig.site.team) for index in range(12)]
    apply(rig.site.cluster, *objects)
    got = await rig.kubectl("get", "configmaps", "-A", "--chunk-size=3", "-o", "name")
    assert (got.code, got.stderr) == (0, "")
    assert sum("page-" in line for line in got.stdout.split()) == 12
    assert sum("limit=3" in line["target"] for line in await settled(rig)) == 1


async def test_the_objects_of_another_namespace_cannot_be_counted_by_paging(rig: Rig) -> None:
    site = rig.site
    apply(site.cluster, *(configmap(f"hidden-{index}", site.other) for index in range(5)))
    for namespace in (site.other, "kube-system", "missing"):
        selector = f"--field-selector=metadata.namespace={namespace}"
        got = await rig.kubectl("get", "configmaps", "-A", "--chunk-size=1", selector, "-o", "json")
        assert (got.code, got.stderr) == (0, "")
        assert json.loads(got.stdout)["items"] == []
        assert "continue" not in json.loads(got.stdout)["metadata"]
    lists = [line for line in await settled(rig) if line["attributes"].get("resource") == "configmaps"]
    assert [line["verdict"] for line in lists] == ["filtered"] * 3
    assert not any(site.other in line["target"] for line in lists)


async def test_a_raw_get_is_answered_like_the_api_server_does(rig: Rig) -> None:
    client = await RawClient.connect(rig.gateway.port, rig.gateway.ca_pem)
    async with client:
        await client.send(request("GET", "/version", token=rig.session.token))
        answer = await client.response()
    direct = rig.site.cluster.kubectl("get", "--raw", "/version").stdout
    assert json.loads(answer.body) == json.loads(direct)
