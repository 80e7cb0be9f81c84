"""What a denial says: who, what, what is missing, whom to ask, and the nearest thing that is allowed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from k8s_mcp_server.policy.decide import decide
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.identity import Client
from tests.support.asking import AGENT, NAMESPACES, ask, context, grant, policy, request, rule

pytestmark = pytest.mark.unit

READER = rule("get list watch", "pods configmaps", namespaces=["team-a", "team-b"])


def test_a_denial_says_who_what_what_is_missing_and_whom_to_ask() -> None:
    decision = ask("delete deployments.apps web -n team-a", policy("reader", READER, description="ask #team-a"))
    assert decision.message == (
        '"system:serviceaccount:agents:bot" may not delete deployments.apps "web" in namespace "team-a": no rule allows'
        ' it. Missing: verb "delete" on "deployments" in apiGroup "apps" in namespace "team-a".'
        " Policy: reader (ask #team-a)."
    )


def test_a_client_without_policy_is_told_who_it_is() -> None:
    client = Client(username="oidc:ann", groups=frozenset({"oidc:team-x"}))
    message = ask("get pods web -n team-a", client=client).message
    assert "oidc:ann" in message
    assert "oidc:team-x" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("get secrets db -n team-a", ["wildcard", '"secrets"']),
        ("get configmaps x -n kube-system", ["kube-system", "protected"]),
        ("get configmaps x -n team-new", ["team-new", "not known"]),
        ("create pods -n team-a-test", ["pod-security.kubernetes.io/enforce", "allowPrivilegedWorkloads"]),
        ("get configmaps x -n k8s-mcp-system", ["own namespace"]),
        ("get widgets.example.com x -n team-a", ["widgets.example.com", "does not serve"]),
    ],
)
def test_a_denial_explains_its_rule(text: str, words: list[str]) -> None:
    wide = grant(rule("*", "*", namespaces=["*", "team-new"]))
    message = ask(text, wide).message
    assert all(word in message for word in words)


def test_text_of_the_request_is_escaped_and_cut() -> None:
    client = Client(username="evil\n\u202e" + "x" * 1000)
    message = ask("get pods web -n team-a", client=client).message
    assert message.isprintable()
    assert len(message) < 600


def test_a_resource_that_nobody_serves_is_escaped_too() -> None:
    asked = replace(request("get pods web -n team-a"), resource="po\x1b[2Jds\u202e", name="a\nb")
    message = decide(asked, context([grant(READER)])).message
    assert message.isprintable()


def test_many_policies_are_not_all_listed() -> None:
    policies = [policy(f"p{number:02}", READER) for number in range(20)]
    message = ask("delete pods web -n team-a", *policies).message
    assert "p04" in message
    assert "p05" not in message
    assert "15 more" in message


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        pytest.param("list pods -n default", ["list pods in team-a", "list pods in team-b"], id="the same elsewhere"),
        pytest.param("delete pods web -n team-a", ["get pods web in team-a", "list pods in team-a"], id="another verb"),
        pytest.param(
            "delete pods web -n default", ["get pods in team-a", "get pods in team-b"], id="another verb elsewhere"
        ),
        pytest.param("get services x -n team-a", ["get configmaps in team-a"], id="another resource here"),
    ],
)
def test_the_nearest_allowed_things_are_named(text: str, nearest: list[str]) -> None:
    assert list(ask(text, grant(READER)).nearest)[: len(nearest)] == nearest


@pytest.mark.parametrize(
    ("scope", "nearest"),
    [
        pytest.param({"namespaces": ["team-*"]}, "get pods in team-a", id="a glob"),
        pytest.param({"namespaceSelector": {"matchLabels": {"team": "b"}}}, "get pods in team-b", id="a label"),
        pytest.param(
            {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}},
            "get pods in default",
            id="a condition",
        ),
    ],
)
def test_the_nearest_namespaces_are_those_that_a_rule_reaches(scope: dict[str, Any], nearest: str) -> None:
    assert ask("get pods web -n elsewhere", grant(rule("get", "pods", **scope))).nearest[0] == nearest


def test_the_nearest_things_are_at_most_three_and_all_allowed() -> None:
    wide = grant(
        rule("get list watch patch", "pods services", namespaces=["*"]), deny=[rule("list", "pods", namespaces=["*"])]
    )
    decision = ask("delete pods web -n team-a", wide)
    assert len(decision.nearest) == 3
    assert not any(item.startswith("list pods") for item in decision.nearest)


def test_the_nearest_things_of_a_named_rule_carry_a_name() -> None:
    named = grant(rule("get", "configmaps", resourceNames=["settings"]))
    assert ask("get configmaps other -n team-a", named).nearest == ("get configmaps settings in team-a",)


def test_what_only_another_cli_has_is_not_near() -> None:
    both = grant(
        rule("get list", "releases", groups="helm.sh"), rule("get list", "configmaps"), tools=["kubectl", "helm"]
    )
    assert ask("get services x -n team-a", both).nearest == ("get configmaps in team-a",)
    assert not [near for near in ask("delete releases.helm.sh x -n team-a", both).nearest if "configmaps" in near]


@pytest.mark.parametrize("reason", [Reason.BLOCKED, Reason.POLICY_SUSPENDED, Reason.SNAPSHOT_STALE])
def test_nothing_is_near_when_everything_is_refused(reason: Reason) -> None:
    spec = {"block": True} if reason is Reason.BLOCKED else {"suspend": reason is Reason.POLICY_SUSPENDED}
    decision = ask("delete pods x -n team-a", grant(READER, **spec), age=99 if reason is Reason.SNAPSHOT_STALE else 0)
    assert (decision.reason, decision.nearest) == (reason, ())


def test_denials_name_nothing_that_the_client_could_not_see() -> None:
    secret_words = {"hidden-namespace", "hidden-policy", "hidden-label", "hidden-description"}
    hidden = policy(
        "hidden-policy",
        rule("*", "*", namespaces=["hidden-namespace"]),
        subjects=[{"kind": "User", "name": "other"}],
        description="hidden-description",
    )
    namespaces = {**NAMESPACES, "hidden-namespace": {"hidden-label": "x"}}
    mine = grant(rule("get list", "pods", namespaces=["team-*"]))
    for text in (
        "get pods x -n default",
        "list services",
        "create secrets -n team-a",
        "get namespaces default",
        "list nodes",
    ):
        decision = ask(text, hidden, mine, namespaces=namespaces, client=AGENT)
        told = " ".join([decision.message, *decision.nearest])
        assert not any(word in told for word in secret_words)


READS = rule("get list", "pods configmaps", namespaces=["team-a"])


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("delete pods web -n team-a", "kubectl get pods web -n team-a"),
        ("get pods/log web -n team-a", "kubectl get pods web -n team-a"),
        ("create pods -n team-a", "kubectl get pods -n team-a"),
        ("list pods -n team-b", "kubectl get pods -n team-a"),
        ("get configmaps x -n team-b", "kubectl get configmaps -n team-a"),
        ("list secrets -n team-a", "kubectl get pods -n team-a"),
        ("list nodes", "kubectl get pods -n team-a"),
        ("get widgets.example.com x -n team-a", "kubectl get pods -n team-a"),
        ("get configmaps x -n k8s-mcp-system", "kubectl get configmaps -n team-a"),
    ],
)
def test_a_denial_names_a_command_that_works(text: str, command: str) -> None:
    decision = ask(text, policy("reader", READS))
    assert not decision.allowed
    assert decision.next_command == command
    assert f"`{command}`" in decision.advice


def test_a_command_that_a_deny_takes_is_not_named() -> None:
    decision = ask("list pods -n team-a", grant(READS, deny=[rule("*", "pods", namespaces=["team-a"])]))
    assert decision.reason is Reason.DENIED_BY_RULE
    assert decision.next_command == "kubectl get configmaps -n team-a"


def test_where_nothing_can_be_read_one_s_own_rights_can() -> None:
    decision = ask("list pods -n team-a", grant(rule("create", "configmaps", namespaces=["team-a"])))
    assert decision.next_command == "kubectl auth can-i --list"


def test_a_named_object_is_got_where_nothing_may_be_listed() -> None:
    decision = ask(
        "list configmaps -n team-a", grant(rule("get", "configmaps", namespaces=["team-a"], resourceNames=["settings"]))
    )
    assert decision.next_command == "kubectl get configmaps settings -n team-a"


def test_who_has_nothing_is_named_no_command() -> None:
    assert ask("list pods -n team-a").next_command == ""
