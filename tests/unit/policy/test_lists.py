"""Lists and watches that are wider than the policy, and the namespaces themselves."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_mcp_server.policy.decision import Reason, Verdict
from tests.support.asking import ask, grant, policy, rule, seen

pytestmark = pytest.mark.unit

ALL = [f"{name}/web" for name in ("team-a", "team-a-test", "team-b", "default", "kube-system", "k8s-mcp-system", "new")]
TEAM_B = {"matchLabels": {"team": "b"}}


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_a_list_of_all_namespaces_is_cut_to_those_of_the_rules(verb: str) -> None:
    decision = ask(f"{verb} pods", grant(rule("*", "pods", namespaces=["team-a", "team-b"])))
    assert decision.verdict is Verdict.FILTERED
    assert seen(decision, *ALL) == ["team-a/web", "team-b/web"]


def test_a_list_of_all_namespaces_is_cut_even_with_a_star() -> None:
    decision = ask("list pods", grant(rule("*", "pods", namespaces=["*"])))
    assert decision.verdict is Verdict.FILTERED
    assert seen(decision, *ALL) == ["team-a/web", "team-a-test/web", "team-b/web", "default/web"]


def test_a_cut_list_shows_what_any_policy_gives() -> None:
    policies = [
        policy("a", rule("list", "pods", resourceNames=["web"])),
        policy("b", rule("list", "pods", namespaces=["team-b"])),
        policy("c", rule("get", "pods", namespaces=["default"])),
    ]
    decision = ask("list pods", *policies)
    assert seen(decision, "team-a/web", "team-a/db", "team-b/db", "default/web") == ["team-a/web", "team-b/db"]


def test_a_cut_list_never_shows_objects_without_a_namespace() -> None:
    decision = ask("list pods", grant(rule("list", "pods", namespaces=["*"])))
    assert seen(decision, "/web") == []


def test_a_list_that_no_rule_gives_anywhere_is_denied() -> None:
    assert ask("list services", grant(rule("list", "pods"))).reason is Reason.NOT_ALLOWED


def test_a_list_in_one_namespace_is_exact() -> None:
    assert ask("list pods -n team-a", grant(rule("list", "pods"))).verdict is Verdict.EXACT
    assert ask("list nodes", grant(rule("list", "nodes", clusterScoped=True))).verdict is Verdict.EXACT


@pytest.mark.parametrize(
    "deny",
    [
        pytest.param({"namespaces": ["team-b"]}, id="a namespace"),
        pytest.param({"namespaces": ["*-b"]}, id="a glob"),
        pytest.param({"namespaceSelector": TEAM_B}, id="a selector"),
    ],
)
def test_a_deny_that_is_narrower_than_a_list_cuts_it(deny: dict[str, Any]) -> None:
    both = grant(rule("list", "pods", namespaces=["team-a", "team-b"]), deny=[rule("list", "pods", **deny)])
    decision = ask("list pods", both)
    assert decision.verdict is Verdict.FILTERED
    assert seen(decision, *ALL) == ["team-a/web"]


def test_a_deny_by_name_cuts_lists_and_refuses_the_object() -> None:
    denying = grant(
        rule("*", "pods services", namespaces=["team-a"]),
        rule("*", "nodes", clusterScoped=True),
        deny=[
            rule("*", "services", resourceNames=["db*"]),
            rule("*", "nodes", clusterScoped=True, resourceNames=["n1"]),
        ],
    )
    for text in ("list services -n team-a", "list services"):
        decision = ask(text, denying)
        assert decision.verdict is Verdict.FILTERED
        assert seen(decision, "team-a/web", "team-a/db-0") == ["team-a/web"]
    assert seen(ask("watch nodes", denying), "/n1", "/n2") == ["/n2"]
    assert ask("get services db-0 -n team-a", denying).reason is Reason.DENIED_BY_RULE
    assert ask("get services web -n team-a", denying).verdict is Verdict.EXACT
    assert ask("list services db-0 -n team-a", denying).reason is Reason.DENIED_BY_RULE


def test_a_deny_that_takes_the_whole_list_refuses_it() -> None:
    scopes: list[dict[str, Any]] = [{"namespaces": ["*"]}, {"namespaces": ["team-a", "**"]}]
    for scope in scopes:
        denying = grant(rule("list", "pods"), deny=[rule("list", "pods", **scope)])
        assert ask("list pods", denying).reason is Reason.DENIED_BY_RULE


def test_a_deny_of_every_name_refuses_the_list() -> None:
    denying = grant(rule("*", "services"), deny=[rule("*", "services", resourceNames=["x", "*"])])
    assert ask("list services -n team-a", denying).reason is Reason.DENIED_BY_RULE


def test_a_deny_by_name_refuses_to_delete_the_collection_that_may_hold_it() -> None:
    denying = grant(rule("*", "services"), deny=[rule("*", "services", resourceNames=["db"])])
    assert ask("deletecollection services -n team-a", denying).reason is Reason.DENIED_BY_RULE
    assert ask("create services -n team-a", denying).verdict is Verdict.EXACT


def test_a_deny_of_cluster_scoped_resources_does_not_touch_namespaced_lists() -> None:
    denying = grant(rule("list", "pods"), deny=[rule("*", "*", clusterScoped=True)])
    assert ask("list pods -n team-a", denying).verdict is Verdict.EXACT


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_namespaces_are_listed_as_far_as_the_client_has_a_rule_in_them(verb: str) -> None:
    reader = grant(
        rule("get", "pods", namespaces=["team-a", "kube-system", "gone"]),
        rule("get", "services", namespaceSelector=TEAM_B),
    )
    decision = ask(f"{verb} namespaces", reader)
    assert (decision.verdict, decision.reason) == (Verdict.FILTERED, Reason.NAMESPACE_VISIBLE)
    shown = seen(decision, "/team-a", "/team-b", "/default", "/kube-system", "/k8s-mcp-system", "/gone")
    assert shown == ["/team-a", "/team-b", "/kube-system"]


def test_a_rule_for_namespaces_lists_all_but_our_own() -> None:
    decision = ask("list namespaces", grant(rule("list", "namespaces", clusterScoped=True)))
    assert (decision.verdict, decision.reason) == (Verdict.FILTERED, Reason.ALLOWED_BY_RULE)
    assert seen(decision, "/default", "/kube-system", "/k8s-mcp-system") == ["/default", "/kube-system"]


def test_a_namespace_object_that_claims_to_be_in_another_namespace_is_not_shown() -> None:
    decision = ask("list namespaces", grant(rule("list", "namespaces", clusterScoped=True)))
    assert seen(decision, "default/default", "team-a/default") == ["default/default"]


def test_namespaces_by_name_are_listed_beside_those_with_a_rule() -> None:
    both = grant(rule("list", "namespaces", clusterScoped=True, resourceNames=["default"]), rule("get", "pods"))
    assert seen(ask("list namespaces", both), "/default", "/team-a", "/team-b") == ["/default", "/team-a"]


def test_namespaces_are_not_listed_for_a_client_without_any_rule_in_one() -> None:
    assert not ask("list namespaces", grant(rule("list", "nodes", clusterScoped=True))).allowed


def test_a_namespace_is_readable_where_the_client_has_any_rule_in_it() -> None:
    reader = grant(rule("delete", "configmaps", namespaces=["team-a"]))
    assert ask("get namespaces team-a", reader).reason is Reason.NAMESPACE_VISIBLE
    for text in (
        "get namespaces team-b",
        "get namespaces gone",
        "get namespaces/status team-a",
        "patch namespaces team-a",
    ):
        assert not ask(text, reader).allowed


def test_a_suspended_policy_makes_no_namespace_readable() -> None:
    suspended = grant(rule("get", "pods"), suspend=True)
    assert not ask(
        "get namespaces team-a", suspended, policy("other", rule("get", "nodes", clusterScoped=True))
    ).allowed


@pytest.mark.parametrize(
    "scope",
    [
        pytest.param({"namespaces": ["team-b"]}, id="by the name of the namespace"),
        pytest.param({"namespaceSelector": TEAM_B}, id="by its labels"),
        pytest.param({"clusterScoped": True, "resourceNames": ["team-b"]}, id="as a cluster-scoped object"),
    ],
)
def test_a_denied_namespace_is_neither_readable_nor_listed(scope: dict[str, Any]) -> None:
    denying = grant(
        rule("get", "pods", namespaces=["team-a", "team-b"]),
        rule("get list", "namespaces", clusterScoped=True),
        deny=[rule("*", "*", groups="*", **scope)],
    )
    assert ask("get namespaces team-b", denying).reason is Reason.DENIED_BY_RULE
    assert seen(ask("list namespaces", denying), "/team-a", "/team-b", "/default") == ["/team-a", "/default"]


def test_a_deny_of_all_namespaces_refuses_their_list() -> None:
    for scope in ({"namespaces": ["*"]}, {"clusterScoped": True}):
        denying = grant(rule("get", "pods"), deny=[rule("*", "namespaces", **scope)])
        assert ask("list namespaces", denying).reason is Reason.DENIED_BY_RULE


def test_a_watch_over_an_upgraded_connection_is_denied_when_it_would_be_cut() -> None:
    named = grant(rule("*", "pods", namespaces=["*"]))
    assert not ask("watch pods", named, upgrade=True).allowed


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        pytest.param("deletecollection namespaces", True, id="which may hold the denied one"),
        pytest.param("create namespaces", False, id="a new one, of a name that is not known yet"),
    ],
)
def test_a_deny_of_one_namespace_and_requests_that_name_none(text: str, refused: bool) -> None:
    denying = grant(rule("*", "namespaces", clusterScoped=True), deny=[rule("*", "namespaces", namespaces=["team-b"])])
    assert (ask(text, denying).reason is Reason.DENIED_BY_RULE) is refused


def test_a_cut_answers_the_same_every_time() -> None:
    for decision in (
        ask("list namespaces", grant(rule("get", "pods"))),
        ask("list pods", grant(rule("list", "pods"))),
    ):
        first = seen(decision, "/team-a", "/team-b", "team-a/x", "team-b/x")
        assert seen(decision, "/team-a", "/team-b", "team-a/x", "team-b/x") == first
