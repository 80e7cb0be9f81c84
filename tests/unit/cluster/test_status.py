"""When a policy's status is written, and how."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from k8s_mcp_server.cluster.ceiling import Answers, Ceiling
from k8s_mcp_server.cluster.client import Answer, ApiClient, ApiStatusError
from k8s_mcp_server.cluster.objects import ListedObject, Listing
from k8s_mcp_server.cluster.status import StatusWriter, apply_status
from k8s_mcp_server.cluster.store import PolicyStore, Resource
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.catalog import Catalog
from k8s_mcp_server.policy.ceiling import Need
from k8s_mcp_server.policy.compile import Policy, read_policy
from k8s_mcp_server.policy.environment import Environment
from tests.support.asking import CATALOG
from tests.support.clocks import ManualClock
from tests.support.policies import RULE, namespace_body, policy_body

pytestmark = pytest.mark.unit

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ENVIRONMENT = Environment()


class Cluster:
    """A store that listed everything, a writer, and what it wrote."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = PolicyStore(clock=self.clock)
        self.leads = True
        self.error: Exception | None = None
        self.is_powerful = True
        self.catalog = CATALOG
        self.asked: list[str] = []
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.version = 100
        self.now = NOW
        self.writer = StatusWriter(
            self.apply,
            store=self.store,
            ceiling=Ceiling(
                Answers(self.holds, clock=self.clock), catalog=lambda: self.catalog, environment=ENVIRONMENT
            ),
            environment=ENVIRONMENT,
            is_leader=lambda: self.leads,
            clock=self.clock,
            now=lambda: self.now,
        )

    async def holds(self, need: Need, namespace: str) -> bool:
        self.asked.append(f"{need} {namespace}".strip())
        return self.is_powerful

    async def apply(self, policy: Policy, status: dict[str, Any]) -> None:
        if self.error is not None:
            raise self.error
        self.written.append((policy.name, status))

    def has(self, *bodies: dict[str, Any], namespaces: int = 1) -> None:
        self.version += 1
        lists = {
            Resource.POLICIES: bodies,
            Resource.NAMESPACES: [namespace_body(name) for name in ("team-a", "team-b")[:namespaces]],
        }
        for resource, items in lists.items():
            listed = tuple(ListedObject.from_raw(json.dumps(item).encode()) for item in items)
            listing = Listing(resource_version=str(self.version), requested_at=self.clock(), items=listed)
            self.store.replace(resource, listing)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.mark.anyio
async def test_a_new_policy_gets_its_status_once(cluster: Cluster) -> None:
    cluster.has(policy_body())
    await cluster.writer.once()
    await cluster.writer.once()

    ((name, status),) = cluster.written
    assert name == "team-a"
    assert status["observedGeneration"] == 1
    assert status["matchedNamespaces"] == 1

    cluster.has(policy_body(version="2", status=status))
    cluster.pass_time(600)
    cluster.has(policy_body(version="2", status=status))
    await cluster.writer.once()
    assert len(cluster.written) == 1


@pytest.mark.anyio
async def test_who_does_not_lead_writes_nothing(cluster: Cluster) -> None:
    cluster.leads = False
    cluster.has(policy_body())
    await cluster.writer.once()
    assert not cluster.written


@pytest.mark.anyio
async def test_a_store_that_is_too_old_writes_nothing(cluster: Cluster) -> None:
    cluster.has(policy_body())
    cluster.pass_time(31)
    await cluster.writer.once()
    assert not cluster.written


@pytest.mark.anyio
async def test_before_it_is_known_what_the_api_server_serves_nothing_is_written(cluster: Cluster) -> None:
    cluster.has(policy_body())
    cluster.catalog = Catalog()
    await cluster.writer.once()
    assert not cluster.written

    cluster.catalog = CATALOG
    await cluster.writer.once()
    assert len(cluster.written) == 1


@pytest.mark.anyio
async def test_a_changed_spec_is_written_at_once(cluster: Cluster) -> None:
    cluster.has(policy_body())
    await cluster.writer.once()
    cluster.has(policy_body(version="2", generation=2, suspend=True))
    await cluster.writer.once()

    assert [status["observedGeneration"] for _, status in cluster.written] == [1, 2]


@pytest.mark.anyio
async def test_a_generation_that_is_served_with_another_spec_is_written_at_once(cluster: Cluster) -> None:
    """As after a change of the CRD."""
    cluster.has(policy_body())
    await cluster.writer.once()
    cluster.has(policy_body(approvals="two"))
    await cluster.writer.once()

    _, status = cluster.written[-1]
    assert "approvals" in next(item["message"] for item in status["conditions"] if item["type"] == "Ready")


@pytest.mark.anyio
async def test_anything_else_is_written_once_a_minute_at_most(cluster: Cluster) -> None:
    cluster.has(policy_body(rules=[{**RULE, "namespaces": ["*"]}]))
    await cluster.writer.once()
    for _ in range(6):
        cluster.pass_time(9.9)
        cluster.has(policy_body(rules=[{**RULE, "namespaces": ["*"]}]), namespaces=2)
        await cluster.writer.once()
    assert len(cluster.written) == 1

    cluster.pass_time(1)
    await cluster.writer.once()

    assert [status["matchedNamespaces"] for _, status in cluster.written] == [1, 2]


@pytest.mark.anyio
async def test_expiry_is_written_when_its_time_comes(cluster: Cluster) -> None:
    body = policy_body(expiresAt="2026-06-01T12:02:00Z")
    cluster.has(body)
    await cluster.writer.once()
    cluster.pass_time(120)
    cluster.has({**body, "status": cluster.written[0][1]})
    await cluster.writer.once()

    active = cluster.written[-1][1]["conditions"][1]
    assert (active["reason"], active["lastTransitionTime"]) == ("Expired", "2026-06-01T12:02:00Z")


@pytest.mark.anyio
async def test_a_write_that_failed_is_tried_again_and_holds_up_nobody(cluster: Cluster) -> None:
    cluster.has(policy_body())
    cluster.error = Unavailable("down")
    await cluster.writer.once()

    cluster.error = None
    await cluster.writer.once()

    assert len(cluster.written) == 1


@pytest.mark.anyio
async def test_a_status_that_somebody_else_changed_is_mended_after_a_minute(cluster: Cluster) -> None:
    cluster.has(policy_body())
    await cluster.writer.once()
    cluster.pass_time(60)
    cluster.has(policy_body(version="2", status={"observedGeneration": 1, "conditions": []}))
    await cluster.writer.once()

    assert len(cluster.written) == 2


class Api:
    """Takes one request."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.request_made: dict[str, Any] = {}

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        self.request_made = {"method": method, "path": path, **options}
        if self.error is not None:
            raise self.error
        return Answer(status=200, body=b"{}", headers={})


@pytest.mark.anyio
async def test_status_is_applied_to_that_very_object_by_our_field_manager() -> None:
    api = Api()
    await apply_status(cast("ApiClient", api), read_policy(policy_body("a.b")), {"observedGeneration": 1})

    made = api.request_made
    assert (made["method"], made["path"]) == ("PATCH", "/apis/k8s-mcp.io/v1alpha1/mcpaccesspolicies/a.b/status")
    assert made["query"] == {"fieldManager": "k8s-mcp-server", "force": "true"}
    assert made["headers"] == {"Content-Type": "application/apply-patch+yaml"}
    assert made["body"]["metadata"] == {"name": "a.b", "uid": "uid-a.b"}


@pytest.mark.anyio
@pytest.mark.parametrize("status", [404, 409])
async def test_a_policy_that_went_meanwhile_is_no_failure(status: int) -> None:
    api = Api(ApiStatusError(status, "gone"))
    await apply_status(cast("ApiClient", api), read_policy(policy_body()), {})


@pytest.mark.anyio
async def test_a_refused_status_is_a_failure() -> None:
    with pytest.raises(Unavailable):
        await apply_status(cast("ApiClient", Api(ApiStatusError(403, "no"))), read_policy(policy_body()), {})
