"""What a policy's status says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from k8s_mcp_server.cluster.ceiling import within
from k8s_mcp_server.cluster.conditions import ROLE_PATIENCE, State, status_of
from k8s_mcp_server.cluster.status import count_namespaces
from k8s_mcp_server.policy.compile import Policy, read_policy
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.notices import Notice
from k8s_mcp_server.policy.roles import read_role
from k8s_mcp_server.policy.scopes import Namespace
from k8s_mcp_server.policy.snapshot import Snapshot
from tests.support.policies import RULE, SUBJECT, policy_body, role_body

pytestmark = pytest.mark.unit

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
ENVIRONMENT = Environment()


HELD = within(State.TRUE, "RightsHeld", "all of it")


def status(policy: Policy, **options: Any) -> dict[str, Any]:
    given = {"matched_namespaces": 0, "warnings": (), "within": HELD, "previous": {}, "now": NOW, **options}
    return status_of(policy, **given)


def conditions(policy: Policy, **options: Any) -> dict[str, dict[str, Any]]:
    return {item["type"]: item for item in status(policy, **options)["conditions"]}


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
    before = status(read_policy(policy_body()))
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
    ("body", "ready", "reconciling", "stalled"),
    [
        pytest.param(policy_body(), "True", "False", "False", id="in force"),
        pytest.param(policy_body(suspend=True), "True", "False", "False", id="suspended: ready, and told by Active"),
        pytest.param(policy_body(spec={}), "False", "False", "True", id="invalid: stuck until somebody mends it"),
        pytest.param(FOLLOWS, "False", "True", "False", id="a missing role: it may still come"),
    ],
)
def test_kstatus_is_told_what_is_under_way_and_what_is_stuck(
    body: dict[str, Any], ready: str, reconciling: str, stalled: str
) -> None:
    found = conditions(Snapshot.empty().following(read_policy(body)))

    assert [found[name]["status"] for name in ("Ready", "Reconciling", "Stalled")] == [ready, reconciling, stalled]


def test_a_role_that_is_missing_for_minutes_leaves_its_policy_stuck() -> None:
    policy = following()
    first = status(policy)
    still = status(policy, previous=first, now=NOW + ROLE_PATIENCE - timedelta(seconds=1))
    late = conditions(policy, previous=still, now=NOW + ROLE_PATIENCE)

    assert {item["type"]: item["status"] for item in still["conditions"]}["Stalled"] == "False"
    assert (late["Stalled"]["status"], late["Stalled"]["reason"]) == ("True", "RoleNotFound")
    assert late["Reconciling"]["status"] == "False"


def test_warnings_are_told_by_their_reason_where_there_is_one() -> None:
    one, other = Notice(reason="WorkloadWrites", message="one"), Notice(reason="Deputies", message="other")
    policy = read_policy(policy_body())

    assert conditions(policy)["Warnings"]["status"] == "False"
    told = conditions(policy, warnings=[one])["Warnings"]
    assert (told["status"], told["reason"], told["message"]) == ("True", "WorkloadWrites", "one")
    both = conditions(policy, warnings=[one, other])["Warnings"]
    assert (both["reason"], both["message"]) == ("SeveralWarnings", "one; other")


def test_a_missing_role_makes_a_policy_not_ready_and_leaves_its_other_rules_active() -> None:
    found = conditions(following())

    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("False", "RoleNotFound")
    assert found["Ready"]["message"] == "rules[1] gives nothing: no ClusterRole edit"
    assert found["Active"]["status"] == "True"


def test_what_a_role_would_have_given_is_said() -> None:
    role = role_body("edit", {"apiGroups": [""], "resources": ["pods", "pods/exec", "secrets"], "verbs": ["*"]})
    policy = following(role)
    assert status(policy)["withheld"] == ["pods/exec", "secrets"]
    assert conditions(policy)["Ready"]["status"] == "True"


def test_a_policy_without_roles_has_nothing_withheld() -> None:
    assert "withheld" not in status(read_policy(policy_body()))
