"""Where a rule holds: namespaces, selectors, the cluster, protected namespaces and our own."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_mcp_server.policy.decision import Reason, Verdict
from k8s_mcp_server.policy.environment import Environment
from tests.support.asking import ask, grant, rule, seen

pytestmark = pytest.mark.unit

OBJECTS = [
    "team-a/x",
    "team-a-test/x",
    "team-b/x",
    "default/x",
    "kube-system/x",
    "argocd/x",
    "istio-system/x",
    "k8s-mcp-system/x",
    "unknown/x",
]
TEAM_A = {"matchLabels": {"team": "a"}}


def namespaces_of(*rules: dict[str, Any], deny: tuple[dict[str, Any], ...] = ()) -> list[str]:
    """Where services can be listed, asked as one list of all namespaces."""
    decision = ask("list services", grant(*rules, deny=list(deny)))
    assert decision.verdict is Verdict.FILTERED
    return [item.partition("/")[0] for item in seen(decision, *OBJECTS)]


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        pytest.param({"namespaces": ["team-a"]}, ["team-a"], id="a literal name"),
        pytest.param({"namespaces": ["team-a", "team-a-*"]}, ["team-a", "team-a-test"], id="a name and a glob"),
        pytest.param({"namespaces": ["*-a*"]}, ["team-a", "team-a-test"], id="a glob with two stars"),
        pytest.param(
            {"namespaces": ["*"]}, ["team-a", "team-a-test", "team-b", "default"], id="* passes over protected ones"
        ),
        pytest.param(
            {"namespaces": ["kube-*", "arg*", "istio*", "k8s-*"]}, [], id="no glob matches a protected namespace"
        ),
        pytest.param(
            {"namespaceSelector": TEAM_A}, ["team-a", "team-a-test"], id="a selector passes over protected ones"
        ),
        pytest.param(
            {"namespaces": ["kube-system", "argocd", "istio-system"]},
            ["kube-system", "argocd", "istio-system"],
            id="protected namespaces by their literal names",
        ),
        pytest.param({"namespaces": ["k8s-mcp-system"]}, [], id="our own namespace not even by its name"),
        pytest.param({"namespaces": ["unknown"]}, [], id="a namespace that the snapshot does not have"),
    ],
)
def test_a_rule_holds_in(scope: dict[str, Any], expected: list[str]) -> None:
    assert namespaces_of(rule("list", "services", **scope)) == expected
    for item in OBJECTS:
        namespace = item.partition("/")[0]
        decision = ask(f"list services -n {namespace}", grant(rule("list", "services", **scope)))
        assert decision.allowed is (namespace in expected)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        pytest.param([("team", "In", ["a", "c"])], ["team-a", "team-a-test"], id="In"),
        pytest.param([("team", "NotIn", ["a"])], ["team-b", "default"], id="NotIn, also without the label"),
        pytest.param([("team", "Exists", None)], ["team-a", "team-a-test", "team-b"], id="Exists"),
        pytest.param([("team", "DoesNotExist", None)], ["default"], id="DoesNotExist"),
        pytest.param(
            [("team", "In", ["a"]), ("pod-security.kubernetes.io/enforce", "Exists", None)], ["team-a"], id="every term"
        ),
    ],
)
def test_a_selector_means_what_kubernetes_means(
    terms: list[tuple[str, str, list[str] | None]], expected: list[str]
) -> None:
    expressions = [
        {"key": key, "operator": operator, **({"values": values} if values else {})} for key, operator, values in terms
    ]
    assert namespaces_of(rule("list", "services", namespaceSelector={"matchExpressions": expressions})) == expected


def test_match_labels_and_match_expressions_must_both_hold() -> None:
    both = {
        "matchLabels": {"team": "a"},
        "matchExpressions": [{"key": "pod-security.kubernetes.io/enforce", "operator": "Exists"}],
    }
    assert namespaces_of(rule("list", "services", namespaceSelector=both)) == ["team-a"]


@pytest.mark.parametrize(
    ("namespace", "reason"),
    [
        ("kube-system", Reason.PROTECTED_NAMESPACE),
        ("argocd", Reason.PROTECTED_NAMESPACE),
        ("k8s-mcp-system", Reason.OWN_NAMESPACE),
    ],
)
def test_a_glob_that_stops_before_a_protected_namespace_says_so(namespace: str, reason: Reason) -> None:
    assert ask(f"get services x -n {namespace}", grant(rule("get", "services", namespaces=["*"]))).reason is reason


def test_the_protected_namespaces_are_the_servers_setting() -> None:
    everywhere = grant(rule("get", "services", namespaces=["*"]))
    environment = Environment(protected_namespaces=frozenset({"team-a"}))
    assert ask("get services x -n argocd", everywhere, environment=environment).allowed
    assert ask("get services x -n team-a", everywhere, environment=environment).reason is Reason.PROTECTED_NAMESPACE


def test_a_namespace_that_a_rule_names_but_the_snapshot_does_not_have_is_unknown() -> None:
    policy = grant(rule("get", "services", namespaces=["new"]))
    assert ask("get services x -n new", policy).reason is Reason.UNKNOWN_NAMESPACE


def test_whether_a_namespace_exists_is_not_told_to_those_without_a_rule_for_it() -> None:
    selecting = grant(
        rule("get", "services", namespaceSelector=TEAM_A),
        deny=[rule("get", "services", namespaceSelector={"matchLabels": {"team": "b"}})],
    )
    answers = {
        (decision.reason, decision.message.replace(namespace, "X"), decision.nearest)
        for namespace in ("default", "team-b", "nowhere")
        for decision in [ask(f"get services x -n {namespace}", selecting)]
    }
    assert len(answers) == 1
    assert answers.pop()[0] is Reason.NOT_ALLOWED


def test_a_namespace_outside_the_snapshot_matches_every_deny_and_no_rule() -> None:
    policy = grant(
        rule("get", "services", namespaces=["new"]),
        rule("get", "services", namespaceSelector=TEAM_A),
        deny=[rule("get", "services", namespaceSelector={"matchLabels": {"team": "b"}})],
    )
    assert not ask("get services x -n new", policy).allowed
    assert (
        ask(
            "get namespaces new",
            grant(
                rule("get", "namespaces", clusterScoped=True),
                deny=[rule("get", "namespaces", namespaceSelector={"matchLabels": {"team": "b"}})],
            ),
        ).reason
        is Reason.DENIED_BY_RULE
    )


@pytest.mark.parametrize("namespace", ["kube-system", "argocd"])
def test_globs_and_selectors_of_denies_reach_protected_namespaces(namespace: str) -> None:
    literal = rule("get", "services", namespaces=["kube-system", "argocd"])
    for deny in (rule("get", "services", namespaces=["*"]), rule("get", "services", namespaceSelector=TEAM_A)):
        assert ask(f"get services x -n {namespace}", grant(literal)).allowed
        assert ask(f"get services x -n {namespace}", grant(literal, deny=[deny])).reason is Reason.DENIED_BY_RULE


def test_cluster_scoped_matches_cluster_scoped_resources_only() -> None:
    policy = grant(rule("*", "nodes pods", clusterScoped=True))
    assert ask("list nodes", policy).verdict is Verdict.EXACT
    assert not ask("list pods", policy).allowed
    assert not ask("list pods -n team-a", policy).allowed


@pytest.mark.parametrize("scope", [{"namespaces": ["*"]}, {"namespaceSelector": TEAM_A}])
def test_namespace_scopes_do_not_match_cluster_scoped_resources(scope: dict[str, Any]) -> None:
    assert not ask("list nodes", grant(rule("*", "*", **scope))).allowed


def test_the_scope_of_a_resource_comes_from_discovery_not_from_its_name() -> None:
    policy = grant(rule("get", "ingressclasses ingresses", groups="networking.k8s.io", clusterScoped=True))
    assert ask("get ingressclasses.networking.k8s.io nginx", policy).allowed
    assert not ask("get ingresses.networking.k8s.io web -n team-a", policy).allowed


@pytest.mark.parametrize("verb", ["get", "list", "delete", "create"])
@pytest.mark.parametrize(
    "scope", [{"namespaces": ["*", "k8s-mcp-system"]}, {"namespaceSelector": TEAM_A}], ids=["names", "selector"]
)
def test_our_own_namespace_is_out_of_reach_for_everyone(verb: str, scope: dict[str, Any]) -> None:
    policy = grant(rule("*", "*", allowPrivilegedWorkloads=True, **scope))
    assert ask(f"{verb} services x -n k8s-mcp-system", policy).reason is Reason.OWN_NAMESPACE


@pytest.mark.parametrize("verb", ["get", "delete", "patch"])
def test_our_own_namespace_object_is_out_of_reach_too(verb: str) -> None:
    policy = grant(rule("*", "namespaces", clusterScoped=True))
    assert ask(f"{verb} namespaces k8s-mcp-system", policy).reason is Reason.OWN_NAMESPACE


def test_a_server_without_a_namespace_of_its_own_protects_none() -> None:
    outside = Environment(own_namespace="")
    everywhere = grant(rule("*", "services", namespaces=["*"]), rule("get", "nodes", clusterScoped=True))
    for text in ("get nodes n1", "list services", "get services x -n team-a"):
        assert ask(text, everywhere, environment=outside).allowed
