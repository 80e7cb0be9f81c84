"""The order of the decision, step by step."""

from __future__ import annotations

from datetime import timedelta

import pytest

from k8s_mcp_server.policy.compile import InvalidPolicy, read_policy
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.tools import Tool
from tests.support.asking import AGENT_SUBJECT, NOW, ask, body, grant, policy, rule

pytestmark = pytest.mark.unit

EVERY_REASON_TO_ALLOW = rule("*", "pods")


def invalid(**spec: object) -> InvalidPolicy:
    read = read_policy(body("broken", **spec))
    assert isinstance(read, InvalidPolicy)
    return read


def refused(decision: Decision, reason: Reason) -> bool:
    return (decision.verdict, decision.reason) == (Verdict.DENY, reason)


@pytest.mark.parametrize(
    "text", ["get pods web -n team-a", "list pods", "get namespaces team-a", "get /version", "get /metrics"]
)
def test_a_client_that_no_policy_names_may_do_nothing(text: str) -> None:
    stranger = Client(username="stranger")
    assert refused(ask(text, grant(rule("*", "pods")), client=stranger), Reason.NO_POLICY)
    assert refused(ask(text), Reason.NO_POLICY)


@pytest.mark.parametrize("text", ["get pods web -n team-a", "get /version", "list namespaces", "get pods x -n nowhere"])
def test_a_block_of_one_policy_refuses_everything_that_others_allow(text: str) -> None:
    policies = [policy("a", EVERY_REASON_TO_ALLOW), policy("z", block=True)]
    assert refused(ask(text, *policies), Reason.BLOCKED)


@pytest.mark.parametrize(
    "state", [{"suspend": True}, {"expiresAt": "2026-01-02T00:00:00Z"}], ids=["suspended", "expired"]
)
def test_a_block_holds_in_a_policy_that_is_no_longer_active(state: dict[str, object]) -> None:
    assert refused(
        ask("get pods web -n team-a", policy("a", EVERY_REASON_TO_ALLOW), policy("b", block=True, **state)),
        Reason.BLOCKED,
    )


def test_a_block_does_not_touch_clients_that_its_policy_does_not_name() -> None:
    other = policy("b", block=True, subjects=[{**AGENT_SUBJECT, "name": "other"}])
    assert ask("get pods web -n team-a", grant(EVERY_REASON_TO_ALLOW), other).verdict is Verdict.EXACT


def test_an_invalid_policy_grants_nothing() -> None:
    broken = invalid(rules=[EVERY_REASON_TO_ALLOW, {"verbs": ["get"]}])
    assert refused(ask("get pods web -n team-a", broken), Reason.POLICY_INVALID)


def test_an_invalid_policy_without_denies_leaves_other_policies_in_force() -> None:
    broken = invalid(rules=[{"verbs": ["get"]}])
    assert ask("get pods web -n team-a", broken, grant(EVERY_REASON_TO_ALLOW)).verdict is Verdict.EXACT


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(
            {"rules": [{"verbs": []}], "deny": [rule("get", "secrets")]}, id="a valid deny beside a broken rule"
        ),
        pytest.param({"deny": [{"verbs": ["get"]}]}, id="a broken deny"),
        pytest.param({"deny": "everything"}, id="a deny that is no list"),
        pytest.param({"denyAll": True}, id="a field that this server does not know"),
        pytest.param({"block": "yes", "rules": [{"verbs": []}]}, id="a block that cannot be read"),
    ],
)
def test_the_clients_of_an_invalid_policy_that_may_deny_are_refused_everything(spec: dict[str, object]) -> None:
    broken = invalid(**spec)
    for text in ("get pods web -n team-a", "get /version"):
        decision = ask(text, broken, grant(EVERY_REASON_TO_ALLOW))
        assert decision.verdict is Verdict.DENY
        assert decision.reason in {Reason.POLICY_INVALID, Reason.BLOCKED}


@pytest.mark.parametrize(
    "state", [{}, {"suspend": True}, {"expiresAt": "2026-01-02T00:00:00Z"}], ids=["active", "suspended", "expired"]
)
def test_a_deny_of_any_policy_wins_over_the_rules_of_all(state: dict[str, object]) -> None:
    denies = policy("denies", deny=[rule("get", "pods", name="no-pods")], **state)
    decision = ask("get pods web -n team-a", policy("a", EVERY_REASON_TO_ALLOW), denies)
    assert refused(decision, Reason.DENIED_BY_RULE)
    assert decision.matched is not None
    assert (decision.matched.policy, decision.matched.rule) == ("denies", "no-pods")
    assert ask("list pods -n team-a", policy("a", EVERY_REASON_TO_ALLOW), denies).verdict is Verdict.EXACT


def test_a_deny_holds_for_every_tool() -> None:
    denies = policy("denies", deny=[rule("get", "pods")], tools=["kubectl"])
    assert refused(ask("get pods web -n team-a", denies, tool=Tool.HELM), Reason.DENIED_BY_RULE)


def test_a_rule_counts_only_for_the_tools_of_its_own_policy() -> None:
    allowing = grant(EVERY_REASON_TO_ALLOW)
    assert ask("get pods web -n team-a", allowing, tool=Tool.KUBECTL).verdict is Verdict.EXACT
    assert refused(ask("get pods web -n team-a", allowing, tool=Tool.HELM), Reason.TOOL_NOT_ALLOWED)
    assert refused(ask("get /version", allowing, tool=Tool.HELM), Reason.TOOL_NOT_ALLOWED)


def test_a_suspended_policy_gives_nothing() -> None:
    assert refused(ask("get pods web -n team-a", grant(EVERY_REASON_TO_ALLOW, suspend=True)), Reason.POLICY_SUSPENDED)


@pytest.mark.parametrize(
    ("spec", "ends"),
    [
        pytest.param({"expiresAt": "2026-06-01T02:00:00+02:00"}, NOW, id="expiresAt, in any zone"),
        pytest.param({"expiresAfter": "2h"}, NOW.replace(month=1, day=1, hour=2), id="expiresAfter, from the creation"),
    ],
)
def test_the_rules_of_a_policy_end_when_it_expires(spec: dict[str, object], ends: object) -> None:
    assert isinstance(ends, type(NOW))
    expiring = grant(EVERY_REASON_TO_ALLOW, **spec)
    moment = timedelta(microseconds=1)
    assert ask("get pods web -n team-a", expiring, now=ends - moment).verdict is Verdict.EXACT
    assert refused(ask("get pods web -n team-a", expiring, now=ends), Reason.POLICY_EXPIRED)


def test_an_expired_policy_beside_an_active_one_is_named_as_the_one_that_would_allow() -> None:
    expired = policy("old", EVERY_REASON_TO_ALLOW, expiresAt="2026-01-02T00:00:00Z")
    decision = ask("get pods web -n team-a", expired, policy("new", rule("get", "services")))
    assert refused(decision, Reason.POLICY_EXPIRED)
    assert "old" in decision.message


@pytest.mark.parametrize("age", [30.1, float("inf"), float("nan")])
def test_nothing_is_allowed_from_a_stale_snapshot(age: float) -> None:
    for text in ("get pods web -n team-a", "get /version"):
        assert refused(ask(text, grant(EVERY_REASON_TO_ALLOW), age=age), Reason.SNAPSHOT_STALE)
    assert ask("get pods web -n team-a", grant(EVERY_REASON_TO_ALLOW), age=30.0).verdict is Verdict.EXACT


def test_what_no_rule_allows_is_denied() -> None:
    assert refused(ask("get services web -n team-a", grant(EVERY_REASON_TO_ALLOW)), Reason.NOT_ALLOWED)


def test_a_resource_that_discovery_does_not_list_is_denied() -> None:
    everything = grant(rule("get", "*", groups="*"))
    assert refused(ask("get widgets.example.com x -n team-a", everything), Reason.UNKNOWN_RESOURCE)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("create pods", id="a write of a namespaced resource without namespace"),
        pytest.param("get pods web", id="a read of one object of a namespaced resource without namespace"),
        pytest.param("deletecollection pods", id="deleting the collection of every namespace"),
        pytest.param("get nodes n1 -n team-a", id="a cluster-scoped resource in a namespace"),
    ],
)
def test_a_request_that_does_not_fit_the_scope_of_its_resource_is_denied(text: str) -> None:
    everything = grant(rule("*", "pods nodes", namespaces=["*"]), rule("*", "nodes", clusterScoped=True))
    assert refused(ask(text, everything), Reason.MALFORMED_REQUEST)


def test_an_allowed_request_names_policy_version_and_rule() -> None:
    matched = ask("get pods web -n team-a", grant(rule("get", "pods", name="look"))).matched
    assert matched is not None
    assert (matched.policy, matched.uid, matched.resource_version, matched.rule) == (
        "policy",
        "uid-policy",
        "7",
        "look",
    )


def test_a_rule_without_a_name_is_called_by_its_place() -> None:
    matched = ask("get pods web -n team-a", grant(rule("list", "pods"), rule("get", "pods"))).matched
    assert matched is not None
    assert matched.rule == "rules[1]"


def test_a_suspended_policy_that_gives_a_path_is_named() -> None:
    suspended = policy("old", {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}, suspend=True)
    decision = ask("get /metrics", suspended, policy("new", rule("get", "pods")))
    assert refused(decision, Reason.POLICY_SUSPENDED)
    assert "old" in decision.message
