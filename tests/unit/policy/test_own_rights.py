"""Rules by `fromRBAC`: the caller's own rights, within the rule's other fields and without what is sensitive."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from k8s_mcp_server.policy.access import effective_access
from k8s_mcp_server.policy.decide import decide, depends_on_rbac
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.rights import Rights
from tests.support.asking import ask, context, policy, request, rule, seen

pytestmark = pytest.mark.unit

OWN = {"name": "own", "fromRBAC": True, "namespaces": ["team-*", "kube-system"]}
CLUSTER = {"fromRBAC": True, "clusterScoped": True}


def asked(text: str, *rules: dict[str, Any], in_rbac: bool | None = True, **spec: Any) -> Decision:
    """Asked by a client whose own RBAC gives exactly this request, or does not, or cannot be looked up."""
    about = request(text)
    answers = {} if in_rbac is None else {about: in_rbac}
    return decide(about, replace(context([policy("p", *rules, **spec)]), rights=Rights(answers=answers)))


@pytest.mark.parametrize(
    ("in_rbac", "reason"),
    [
        pytest.param(True, Reason.ALLOWED_BY_RULE, id="given by RBAC"),
        pytest.param(False, Reason.NOT_IN_RBAC, id="not given by RBAC"),
        pytest.param(None, Reason.RBAC_UNAVAILABLE, id="not known"),
    ],
)
@pytest.mark.parametrize("text", ["get configmaps x -n team-a", "delete deployments.apps x -n team-a"])
def test_the_client_gets_what_its_own_rbac_gives(text: str, in_rbac: bool | None, reason: Reason) -> None:
    assert asked(text, OWN, in_rbac=in_rbac).reason is reason


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        pytest.param("get configmaps x -n default", [OWN], id="another namespace"),
        pytest.param("get nodes x", [OWN], id="another scope"),
        pytest.param("get configmaps x -n team-a", [CLUSTER], id="the cluster scope in a namespace"),
        pytest.param("delete pods x -n team-a", [rule("get", "pods", fromRBAC=True)], id="another verb"),
        pytest.param("get services x -n team-a", [rule("get", "pods", fromRBAC=True)], id="another resource"),
        pytest.param("get pods x -n team-a", [rule("get", "pods", fromRBAC=True, resourceNames=["y"])], id="a name"),
        pytest.param("get secrets x -n team-a", [OWN], id="sensitive"),
        pytest.param(
            "get secrets x -n team-a", [rule("get", "secrets", fromRBAC=True)], id="sensitive, although named"
        ),
        pytest.param("create pods/exec x -n team-a", [OWN], id="exec"),
        pytest.param("create pods -n team-a-test", [OWN], id="workloads where Pod Security does not enforce"),
        pytest.param("get pods x -n k8s-mcp-system", [{**OWN, "namespaces": ["k8s-mcp-system"]}], id="our namespace"),
        pytest.param("get releases.helm.sh x -n team-a", [OWN], id="what exists only here"),
    ],
)
def test_what_rbac_gives_is_not_given_beyond_the_rule(text: str, rules: list[dict[str, Any]]) -> None:
    assert asked(text, *rules).verdict is Verdict.DENY


def test_a_deny_wins_over_the_clients_own_rights() -> None:
    decision = asked("get configmaps x -n team-a", OWN, deny=[rule("*", "configmaps")])
    assert decision.reason is Reason.DENIED_BY_RULE


@pytest.mark.parametrize("verb", ["get", "update", "delete"])
def test_a_deny_by_labels_wins_over_the_clients_own_rights_and_tells_nobody_else_of_the_labels(verb: str) -> None:
    deny = [rule("*", "configmaps", namespaceSelector={"matchLabels": {"team": "a"}})]
    assert asked(f"{verb} configmaps x -n team-a", OWN, deny=deny).reason is Reason.DENIED_BY_RULE
    assert asked(f"{verb} configmaps x -n team-b", OWN, deny=deny).allowed
    assert asked(f"{verb} configmaps x -n team-a", OWN, deny=deny, in_rbac=False).reason is Reason.NOT_IN_RBAC


def test_a_list_of_all_namespaces_is_for_who_may_list_them_all_and_is_cut_to_the_rule() -> None:
    decision = asked("list configmaps", OWN)
    assert seen(decision, "team-a/x", "default/x", "kube-system/x") == ["team-a/x", "kube-system/x"]
    assert asked("list configmaps", OWN, in_rbac=False).reason is Reason.NOT_IN_RBAC


def test_what_another_rule_gives_needs_no_look_up() -> None:
    assert asked("get pods x -n team-a", OWN, rule("get", "pods"), in_rbac=None).allowed


def test_such_a_rule_makes_no_namespace_visible_by_itself() -> None:
    assert asked("get namespaces team-a", OWN).reason is Reason.NOT_ALLOWED
    assert not asked("list namespaces", OWN).allowed
    assert asked("get namespaces team-a", CLUSTER).allowed


@pytest.mark.parametrize(
    ("text", "rules", "expected"),
    [
        pytest.param("get pods x -n team-a", [OWN], True, id="a request that such a rule may give"),
        pytest.param("get pods x -n default", [OWN], False, id="one that it may not"),
        pytest.param("get secrets x -n team-a", [OWN], False, id="a sensitive one"),
        pytest.param("get pods x -n team-a", [rule("get", "pods")], False, id="no such rule"),
        pytest.param("get gadgets.acme.example x -n team-a", [OWN], False, id="a resource that is not known"),
        pytest.param("get /version", [OWN], False, id="a path"),
    ],
)
def test_only_what_such_a_rule_may_give_is_looked_up(text: str, rules: list[dict[str, Any]], expected: bool) -> None:
    assert depends_on_rbac(request(text), context([policy("p", *rules)])) is expected


def test_a_policy_that_is_not_active_looks_nothing_up() -> None:
    assert not depends_on_rbac(request("get pods x -n team-a"), context([policy("p", OWN, suspend=True)]))


def test_check_access_says_so() -> None:
    shown = effective_access(context([policy("p", OWN)])).render()
    (line,) = [line for line in shown.splitlines() if "own: " in line]
    assert "[now: kube-system, team-a, team-a-test, team-b]" in line
    assert line.endswith("as far as your own RBAC in the cluster gives it")


def test_it_is_asked_of_nobody_in_a_plain_decision() -> None:
    assert ask("get configmaps x -n team-a", policy("p", OWN)).reason is Reason.RBAC_UNAVAILABLE
