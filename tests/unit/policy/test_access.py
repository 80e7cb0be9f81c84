"""The answer to "who am I here, and what is mine?"."""

from __future__ import annotations

import json
from typing import Any

import pytest

from k8s_mcp_server.policy.access import Access, effective_access, reached_namespaces
from k8s_mcp_server.policy.compile import Policy, PolicyState, read_policy
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.limits import Limits
from tests.support.asking import ENFORCED, NAMESPACES, body, context, grant, policy, rule

pytestmark = pytest.mark.unit


def access(*policies: Policy, **more: Any) -> Access:
    return effective_access(context(policies, **more))


def test_a_client_without_policy_learns_who_it_is_and_that_nothing_is_allowed() -> None:
    shown = access(client=Client(username="oidc:ann", groups=frozenset({"oidc:b", "oidc:a"})))
    text = shown.render()
    assert "You are oidc:ann." in text
    assert "Groups: oidc:a, oidc:b" in text
    assert "No access policy names you" in text
    assert shown.policies == ()


def test_each_policy_shows_its_state_tools_rules_and_denies() -> None:
    text = access(
        policy(
            "team-a",
            rule("get list", "pods pods/log", name="look", namespaces=["team-a", "team-a-*"]),
            rule("get", "nodes", clusterScoped=True),
            {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
            deny=[rule("get", "configmaps", resourceNames=["keys"], name="no-keys")],
            description="ask #team-a",
            expiresAt="2026-12-31T00:00:00Z",
        )
    ).render()
    for line in (
        "Policy team-a: active, tools: kubectl, until 2026-12-31T00:00:00+00:00",
        "  ask #team-a",
        '  may look: get, list pods, pods/log (group ""), in namespaces team-a, team-a-* [now: team-a, team-a-test]',
        '  may rules[1]: get nodes (group ""), in cluster scope',
        "  may rules[2]: get, paths /metrics",
        '  never no-keys: get configmaps (group "") named keys, in namespaces team-a',
    ):
        assert line in text.splitlines()


def test_namespaces_are_those_that_the_rule_reaches_now() -> None:
    rules = grant(rule("get", "pods", namespaces=["*", "argocd", "gone", "k8s-mcp-system"])).rules
    assert reached_namespaces(rules, context([])) == ("argocd", "default", "team-a", "team-a-test", "team-b")


def test_many_namespaces_are_counted_and_not_all_shown() -> None:
    namespaces = {f"team-{number:03}": ENFORCED for number in range(200)}
    (shown,) = access(grant(rule("get", "pods", namespaces=["team-*"])), namespaces=namespaces).policies[0].rules
    assert (len(shown.namespaces), shown.namespace_count) == (50, 200)
    assert "and 150 more" in str(shown)


@pytest.mark.parametrize(
    ("spec", "state", "problem"),
    [
        pytest.param({"suspend": True}, PolicyState.SUSPENDED, "no policy that names you is active", id="suspended"),
        pytest.param({"expiresAfter": "1h"}, PolicyState.EXPIRED, "no policy that names you is active", id="expired"),
        pytest.param({"block": True}, PolicyState.ACTIVE, "refused by policy policy", id="blocked"),
        pytest.param({"tools": []}, PolicyState.INVALID, "no policy that names you is active", id="invalid"),
        pytest.param({"deny": [{}]}, PolicyState.INVALID, "refused by policy policy", id="invalid with a deny"),
        pytest.param({}, PolicyState.ACTIVE, "", id="active"),
    ],
)
def test_why_nothing_is_allowed_is_said(spec: dict[str, Any], state: PolicyState, problem: str) -> None:
    shown = access(read_policy(body("policy", rule("get", "pods"), **spec)))
    assert shown.policies[0].state is state
    assert problem in shown.problem
    assert bool(shown.problem) is bool(problem)


def test_a_stale_snapshot_is_said_before_anything_else() -> None:
    assert "not been confirmed" in access(grant(block=True), age=31).problem


def test_what_is_wrong_with_an_invalid_policy_is_not_told_to_its_clients() -> None:
    broken = read_policy(body("policy", rules=[{"secret-typo": 1}]))
    shown = access(broken)
    assert "secret-typo" not in shown.render() + json.dumps(shown.as_dict())


def test_policies_that_do_not_name_the_client_are_not_shown() -> None:
    other = policy("other", rule("get", "pods"), subjects=[{"kind": "User", "name": "x"}])
    assert [item.name for item in access(grant(), other).policies] == ["policy"]


def test_the_limits_in_force_are_shown() -> None:
    limited = grant(limits={"timeoutSeconds": 5})
    shown = effective_access(context([limited]), defaults=Limits(output_bytes=1234))
    assert (shown.limits.timeout_seconds, shown.limits.output_bytes) == (5, 1234)
    assert "timeout seconds 5" in shown.render()


def test_it_is_plain_data() -> None:
    data = json.loads(json.dumps(access(grant(rule("get", "pods"))).as_dict()))
    assert data["policies"][0]["rules"][0]["namespaces"] == ["team-a"]
    assert set(NAMESPACES) >= set(data["policies"][0]["rules"][0]["namespaces"])


def test_selectors_are_shown_as_kubectl_writes_them() -> None:
    terms = [
        {"key": "tier", "operator": "In", "values": ["b", "a"]},
        {"key": "env", "operator": "NotIn", "values": ["prod"]},
        {"key": "x", "operator": "Exists"},
        {"key": "y", "operator": "DoesNotExist"},
    ]
    (shown,) = access(grant(rule("get", "pods", namespaceSelector={"matchExpressions": terms}))).policies[0].rules
    assert shown.where == "in namespaces with tier in (a,b), env notin (prod), x, !y"


def test_a_blocking_policy_says_that_it_refuses_everything() -> None:
    assert "  It refuses you everything." in access(grant(block=True)).render().splitlines()
