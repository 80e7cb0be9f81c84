"""The CRD of the cluster beside what this server reads."""

from __future__ import annotations

import copy
import json
from typing import Any, cast

import pytest

from k8s_mcp_server.cluster.client import Answer, ApiClient
from k8s_mcp_server.cluster.definition import SETTLE_SECONDS, PolicyDefinition
from k8s_mcp_server.cluster.objects import Listing
from k8s_mcp_server.errors import Unavailable
from tests.support.clocks import ManualClock
from tests.support.crd import crd

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Api:
    """Answers a list of CRDs."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items = items

    async def request(self, method: str, path: str, *, query: dict[str, str]) -> Answer:
        assert (method, path) == ("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")
        assert query == {"fieldSelector": "metadata.name=mcpaccesspolicies.k8s-mcp.io"}
        return Answer(status=200, body=json.dumps({"items": self.items}).encode(), headers={})


async def looked(definition: PolicyDefinition, *items: dict[str, Any]) -> PolicyDefinition:
    await definition.look(cast("ApiClient", Api(*items)))
    return definition


def without(*path: str) -> dict[str, Any]:
    """The CRD without one property, found by the keys that lead to it."""
    body = copy.deepcopy(crd())
    node = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for key in path[:-1]:
        node = node["properties"][key] if key in node.get("properties", {}) else node[key]
    del node["properties"][path[-1]]
    return body


async def test_before_it_was_looked_at_nothing_is_known() -> None:
    definition = PolicyDefinition()
    assert (definition.is_read, definition.is_outdated) == (False, False)


async def test_the_crd_of_this_version_is_not_outdated(caplog: pytest.LogCaptureFixture) -> None:
    definition = await looked(PolicyDefinition(), crd())
    assert (definition.is_read, definition.is_outdated) == (True, False)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param(("deny",), "spec.deny", id="a field"),
        pytest.param(("rules", "items", "fromRBAC"), "spec.rules[].fromRBAC", id="of a rule"),
        pytest.param(("deny", "items", "namespaceSelector", "matchExpressions"), "matchExpressions", id="far inside"),
        pytest.param(("limits", "memoryBytes"), "spec.limits.memoryBytes", id="of the limits"),
    ],
)
async def test_a_crd_that_lacks_a_field_is_outdated_and_the_log_names_it_once(
    caplog: pytest.LogCaptureFixture, path: tuple[str, ...], name: str
) -> None:
    definition = await looked(PolicyDefinition(), without(*path))
    await looked(definition, without(*path))
    assert definition.is_outdated
    (told,) = caplog.messages
    assert "older than this server" in told
    assert name in told


async def test_a_renewed_crd_is_believed_when_every_api_server_has_had_the_time_to_notice_it() -> None:
    clock = ManualClock()
    definition = await looked(PolicyDefinition(clock=clock), without("deny"))
    await looked(definition, crd())
    clock.advance(SETTLE_SECONDS - 0.1)
    assert (await looked(definition, crd())).is_outdated
    clock.advance(0.1)
    assert not definition.is_outdated


async def test_a_newer_crd_is_good_enough_and_told(caplog: pytest.LogCaptureFixture) -> None:
    body = copy.deepcopy(crd())
    fields = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    fields["approvals"] = {"type": "string"}
    assert not (await looked(PolicyDefinition(), body)).is_outdated
    assert "does not know spec.approvals" in caplog.messages[0]


async def test_a_crd_that_serves_another_version_is_told(caplog: pytest.LogCaptureFixture) -> None:
    body = copy.deepcopy(crd())
    body["spec"]["versions"][0]["name"] = "v1beta1"
    await looked(PolicyDefinition(), body)
    assert "serves v1beta1, and this server reads v1alpha1" in caplog.messages[0]


@pytest.mark.parametrize(
    "items", [pytest.param((), id="none"), pytest.param(({"metadata": {"name": "widgets.example.com"}},), id="others")]
)
async def test_where_there_is_no_crd_none_is_outdated(items: tuple[dict[str, Any], ...]) -> None:
    definition = await looked(PolicyDefinition(), *items)
    assert (definition.is_read, definition.is_outdated) == (True, False)


async def test_an_answer_that_makes_no_sense_leaves_what_was_known() -> None:
    definition = await looked(PolicyDefinition(), without("deny"))
    with pytest.raises(Unavailable):
        await looked(definition, {"metadata": {"name": "mcpaccesspolicies.k8s-mcp.io"}, "spec": {"versions": 5}})
    assert definition.is_outdated


LISTING = Listing(resource_version="1", requested_at=0.0, items=())


async def guarded(definition: PolicyDefinition, *, before: dict[str, Any], after: dict[str, Any]) -> Listing:
    """A LIST during which the CRD changes from one to the other."""
    api = Api(before)

    async def listed() -> Listing:
        api.items = (after,)
        return LISTING

    return await definition.guard(cast("ApiClient", api), listed)


async def test_a_list_under_the_crd_of_this_version_counts() -> None:
    assert await guarded(PolicyDefinition(), before=crd(), after=crd()) is LISTING


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(without("deny"), crd(), id="renewed after the list was asked for"),
        pytest.param(crd(), without("deny"), id="older by the time of its answer"),
    ],
)
async def test_a_list_under_an_older_crd_does_not_count(before: dict[str, Any], after: dict[str, Any]) -> None:
    clock = ManualClock()
    definition = PolicyDefinition(clock=clock)
    for _ in range(2):  # the second time at once after the CRD was renewed
        with pytest.raises(Unavailable, match="older than this server"):
            await guarded(definition, before=before, after=after)
        assert definition.is_outdated
        before = after = crd()

    clock.advance(SETTLE_SECONDS)
    assert await guarded(definition, before=crd(), after=crd()) is LISTING
