from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from k8s_mcp_server.cluster.client import Answer, ApiClient, ApiStatusError
from k8s_mcp_server.cluster.objects import ListedObject, Listing
from k8s_mcp_server.cluster.status import StatusWriter, apply_status, count_namespaces, status_of
from k8s_mcp_server.cluster.store import PolicyStore, Resource
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.compile import Policy, read_policy
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.roles import read_role
from k8s_mcp_server.policy.scopes import Namespace
from k8s_mcp_server.policy.snapshot import Snapshot
from tests.support.clocks import ManualClock
from tests.support.policies import RULE, SUBJECT, namespace_body, policy_body, role_body

pytestmark = pytest.mark.unit

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ENVIRONMENT = Environment()


def conditions(policy: Policy, **options: Any) -> dict[str, dict[str, Any]]:
    status = status_of(policy, **{"matched_namespaces": 0, "previous": {}, "now": NOW, **options})
    return {item["type"]: item for item in status["conditions"]}


@pytest.mark.parametrize(
    ("body", "ready", "active"),
    [
        pytest.param(policy_body(), ("True", "Accepted"), ("True", "Active"), id="in force"),
        pytest.param(
            policy_body(expiresAt="2026-06-01T12:00:01Z"),
            ("True", "Accepted"),
            ("True", "Active"),
            id="not yet expired",
        ),
        pytest.param(
            policy_body(expiresAt="2026-06-01T12:00:00Z"), ("True", "Accepted"), ("False", "Expired"), id="expired"
        ),
        pytest.param(policy_body(suspend=True), ("True", "Accepted"), ("False", "Suspended"), id="suspended"),
        pytest.param(policy_body(block=True), ("True", "Accepted"), ("False", "Blocked"), id="blocking"),
        pytest.param(
            policy_body(block=True, suspend=True), ("True", "Accepted"), ("False", "Blocked"), id="blocking, suspended"
        ),
        pytest.param(policy_body(spec={}), ("False", "InvalidSpec"), ("False", "InvalidSpec"), id="invalid"),
    ],
)
def test_conditions_say_what_becomes_of_the_policy(
    body: dict[str, Any], ready: tuple[str, str], active: tuple[str, str]
) -> None:
    found = conditions(read_policy(body))

    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ready
    assert (found["Active"]["status"], found["Active"]["reason"]) == active
    assert all(item["message"] and item["observedGeneration"] == 1 for item in found.values())


def test_an_invalid_policy_says_what_is_wrong_and_what_follows() -> None:
    found = conditions(read_policy(policy_body(spec={"subjects": [SUBJECT], "deny": [{}], "rules": []})))

    assert "spec.deny.0" in found["Ready"]["message"]
    assert "refused everything" in found["Active"]["message"]


def test_messages_are_bounded() -> None:
    rules = [{f"unknown-{number}-{'x' * 200}": 1} for number in range(60)]
    assert len(conditions(read_policy(policy_body(spec={"rules": rules})))["Ready"]["message"]) <= 1024


def test_a_condition_keeps_its_transition_time_until_its_status_changes() -> None:
    before = status_of(read_policy(policy_body()), matched_namespaces=1, previous={}, now=NOW)
    later = NOW + timedelta(hours=1)

    same = conditions(read_policy(policy_body(generation=2)), previous=before, now=later)
    other = conditions(read_policy(policy_body(generation=2, suspend=True)), previous=before, now=later)

    assert same["Active"]["lastTransitionTime"] == "2026-06-01T12:00:00Z"
    assert same["Active"]["observedGeneration"] == 2
    assert other["Ready"]["lastTransitionTime"] == "2026-06-01T12:00:00Z"
    assert other["Active"]["lastTransitionTime"] == "2026-06-01T13:00:00Z"


@pytest.mark.parametrize(
    "previous",
    [
        pytest.param({"conditions": "?"}, id="no list"),
        pytest.param({"conditions": ["?"]}, id="no objects"),
        pytest.param({"conditions": [{"type": "Active", "status": "True"}]}, id="no time"),
    ],
)
def test_a_status_that_somebody_spoilt_is_made_anew(previous: dict[str, Any]) -> None:
    assert conditions(read_policy(policy_body()), previous=previous)["Active"]["lastTransitionTime"]


@pytest.mark.parametrize(
    ("scopes", "count"),
    [
        pytest.param([{"namespaces": ["team-a", "missing"]}], 1, id="names that exist"),
        pytest.param([{"namespaces": ["team-*"]}], 2, id="a glob"),
        pytest.param([{"namespaces": ["*"]}], 3, id="a glob passes over protected namespaces"),
        pytest.param([{"namespaces": ["kube-system"]}], 1, id="a protected namespace by its name"),
        pytest.param([{"namespaces": ["k8s-mcp-system"]}], 0, id="our own"),
        pytest.param([{"namespaceSelector": {"matchLabels": {"team": "a"}}}], 1, id="a selector"),
        pytest.param([{"namespaceSelector": {"matchSubject": {"label": "team"}}}], 3, id="those of any team"),
        pytest.param([{"namespaces": ["team-a"]}, {"namespaces": ["team-*", "other"]}], 3, id="each once"),
        pytest.param([{"clusterScoped": True}], 0, id="cluster-scoped"),
    ],
)
def test_matched_namespaces_are_counted(scopes: list[dict[str, Any]], count: int) -> None:
    base = {key: value for key, value in RULE.items() if key != "namespaces"}
    policy = read_policy(policy_body(rules=[base | scope for scope in scopes]))
    names = ["team-a", "team-b", "other", "kube-system", "argocd", "k8s-mcp-system"]
    namespaces = {name: Namespace(name=name, labels={"team": name[-1]}) for name in names}

    assert count_namespaces(policy, namespaces=namespaces, environment=ENVIRONMENT) == count


def test_an_invalid_policy_matches_no_namespace() -> None:
    policy = read_policy(policy_body(spec={}))
    namespaces = {"team-a": Namespace(name="team-a", labels={})}

    assert count_namespaces(policy, namespaces=namespaces, environment=ENVIRONMENT) == 0


FOLLOWS = policy_body(rules=[RULE, {"namespaces": ["team-a"], "roleRef": {"kind": "ClusterRole", "name": "edit"}}])


def following(*roles: dict[str, Any]) -> Policy:
    return Snapshot.build([], [], map(read_role, roles)).following(read_policy(FOLLOWS))


@pytest.mark.parametrize(
    ("body", "stalled"),
    [
        pytest.param(policy_body(), "False", id="in force"),
        pytest.param(policy_body(suspend=True), "False", id="suspended: ready, and told by Active"),
        pytest.param(policy_body(spec={}), "True", id="invalid"),
        pytest.param(FOLLOWS, "True", id="a missing role"),
    ],
)
def test_what_will_not_get_ready_by_itself_is_stalled(body: dict[str, Any], stalled: str) -> None:
    found = conditions(Snapshot.empty().following(read_policy(body)))

    assert found["Stalled"]["status"] == stalled
    assert (found["Ready"]["status"] == "False") is (stalled == "True")


def test_what_a_policy_gives_beyond_what_it_seems_to_is_said() -> None:
    writes = {**RULE, "name": "write", "verbs": ["create"]}

    assert conditions(read_policy(policy_body()))["Warnings"]["status"] == "False"
    one = conditions(read_policy(policy_body(rules=[writes])))["Warnings"]
    assert (one["status"], one["reason"]) == ("True", "WorkloadWrites")
    assert "write writes workloads" in one["message"]
    several = policy_body(rules=[{**writes, "allowPrivilegedWorkloads": True}])
    assert conditions(read_policy(several))["Warnings"]["reason"] == "SeveralWarnings"


def test_a_missing_role_makes_a_policy_not_ready_and_leaves_its_other_rules_active() -> None:
    found = conditions(following())

    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("False", "RoleNotFound")
    assert found["Ready"]["message"] == "rules[1] gives nothing: no ClusterRole edit"
    assert found["Active"]["status"] == "True"


def test_what_a_role_would_have_given_is_said() -> None:
    role = role_body("edit", {"apiGroups": [""], "resources": ["pods", "pods/exec", "secrets"], "verbs": ["*"]})
    policy = following(role)
    status = status_of(policy, matched_namespaces=1, previous={}, now=NOW)

    assert status["withheld"] == ["pods/exec", "secrets"]
    assert conditions(policy)["Ready"]["status"] == "True"


def test_a_policy_without_roles_has_nothing_withheld() -> None:
    assert "withheld" not in status_of(read_policy(policy_body()), matched_namespaces=1, previous={}, now=NOW)


class Cluster:
    """A store that listed everything, a writer, and what it wrote."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = PolicyStore(clock=self.clock)
        self.leads = True
        self.error: Exception | None = None
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.version = 100
        self.now = NOW
        self.writer = StatusWriter(
            self.apply,
            store=self.store,
            environment=ENVIRONMENT,
            is_leader=lambda: self.leads,
            clock=self.clock,
            now=lambda: self.now,
        )

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
async def test_a_changed_spec_is_written_at_once(cluster: Cluster) -> None:
    cluster.has(policy_body())
    await cluster.writer.once()
    cluster.has(policy_body(version="2", generation=2, suspend=True))
    await cluster.writer.once()

    assert [status["observedGeneration"] for _, status in cluster.written] == [1, 2]


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
