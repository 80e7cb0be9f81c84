"""One policy for all teams: `matchSubject`, and the namespace of commands that state none."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_mcp_server.policy.access import default_namespace, effective_access
from k8s_mcp_server.policy.compile import carry_denies, read_policy
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.identity import Authenticator, Client
from tests.support.asking import ENFORCED, ask, body, context, policy, rule, seen

pytestmark = pytest.mark.unit

TEAM = "acme.com/team"
SUBJECTS = [{"kind": "Group", "name": "oidc:*"}, {"kind": "Group", "name": "system:serviceaccounts"}]
CLUSTER = {
    "a-web": {TEAM: "a", **ENFORCED},
    "a-agents": {TEAM: "a"},
    "b-web": {TEAM: "b"},
    "none": {},
    "empty": {TEAM: ""},
    "kube-system": {TEAM: "a"},
    "argocd": {TEAM: "b"},
    "k8s-mcp-system": {TEAM: "a"},
}


def teams(**more: Any) -> dict[str, Any]:
    return {"namespaceSelector": {"matchSubject": {"label": TEAM, "groupPrefix": "oidc:team-"}, **more}}


def person(*groups: str) -> Client:
    return Client(username="oidc:ann", groups=frozenset(groups), authenticator=Authenticator.OIDC)


def account(namespace: str) -> Client:
    groups = frozenset({"system:serviceaccounts", f"system:serviceaccounts:{namespace}"})
    return Client(username=f"system:serviceaccount:{namespace}:bot", groups=groups)


ALL_TEAMS = policy("all-teams", rule("get list", "pods", **teams()), subjects=SUBJECTS)


def reached(client: Client, *policies: Any) -> list[str]:
    about = {"client": client, "namespaces": CLUSTER}
    found = [name for name in CLUSTER if ask(f"get pods x -n {name}", *policies, **about).allowed]
    listed = ask("list pods", *policies, **about)
    objects = [f"{name}/x" for name in CLUSTER]
    assert [f"{name}/x" for name in found] == (seen(listed, *objects) if listed.allowed else [])
    return found


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        pytest.param(person("oidc:team-a"), ["a-web", "a-agents"], id="a person of one team"),
        pytest.param(person("oidc:team-a", "oidc:team-b"), ["a-web", "a-agents", "b-web"], id="a person of two"),
        pytest.param(person("oidc:team-"), [], id="a group that is only the prefix names no team, not the empty one"),
        pytest.param(person("oidc:other"), [], id="a person of no team"),
        pytest.param(account("a-agents"), ["a-web", "a-agents"], id="a ServiceAccount goes by its own namespace"),
        pytest.param(account("none"), [], id="a ServiceAccount of a namespace without the label"),
        pytest.param(account("empty"), [], id="a ServiceAccount of a namespace with an empty label"),
        pytest.param(account("gone"), [], id="a ServiceAccount of a namespace that is not known"),
    ],
)
def test_a_client_reaches_the_namespaces_of_its_own_teams_and_no_protected_ones(
    client: Client, expected: list[str]
) -> None:
    assert reached(client, ALL_TEAMS) == expected


def test_an_oidc_name_that_looks_like_a_service_account_has_no_namespace_of_its_own() -> None:
    forged = Client(
        username="system:serviceaccount:a-agents:bot",
        groups=frozenset({"oidc:x"}),
        authenticator=Authenticator.OIDC,
    )
    assert reached(forged, ALL_TEAMS) == []


def test_groups_do_not_count_without_a_prefix() -> None:
    selector = {"matchSubject": {"label": TEAM}}
    found = policy("p", rule("get list", "pods", namespaceSelector=selector), subjects=SUBJECTS)
    assert reached(person("oidc:team-a", "a", "oidc:a"), found) == []
    assert reached(account("b-web"), found) == ["b-web"]


def test_groups_that_only_a_token_review_proves_do_not_count_for_others() -> None:
    selector = {"matchSubject": {"label": TEAM, "groupPrefix": "system:serviceaccounts:"}}
    subjects = [*SUBJECTS, {"kind": "User", "name": "oidc:ann"}]
    found = policy("p", rule("get list", "pods", namespaceSelector=selector), subjects=subjects)
    assert reached(person("system:serviceaccounts:a"), found) == []


def test_every_other_term_of_the_selector_must_hold_too() -> None:
    enforced = teams(matchLabels=ENFORCED)
    assert reached(person("oidc:team-a"), policy("p", rule("get list", "pods", **enforced), subjects=SUBJECTS)) == [
        "a-web"
    ]


def test_a_relabelled_namespace_changes_hands() -> None:
    moved = {**CLUSTER, "a-web": {TEAM: "b"}}
    for client, allowed in ((person("oidc:team-a"), False), (person("oidc:team-b"), True)):
        assert ask("get pods -n a-web", ALL_TEAMS, client=client, namespaces=moved).allowed is allowed


def test_a_deny_takes_the_client_s_own_teams_and_leaves_the_others() -> None:
    everywhere = policy(
        "p", rule("get list", "pods", namespaces=["*"]), subjects=SUBJECTS, deny=[rule("*", "pods", **teams())]
    )
    assert reached(person("oidc:team-a"), everywhere) == ["b-web", "none", "empty"]
    assert reached(account("b-web"), everywhere) == ["a-web", "a-agents", "none", "empty"]
    assert reached(person("oidc:none"), everywhere) == ["a-web", "a-agents", "b-web", "none", "empty"]


def test_a_deny_for_a_service_account_whose_namespace_is_not_known_takes_every_namespace() -> None:
    everywhere = policy(
        "p", rule("get list", "pods", namespaces=["*"]), subjects=SUBJECTS, deny=[rule("*", "pods", **teams())]
    )
    assert reached(account("gone"), everywhere) == []


def test_the_denies_kept_of_an_invalid_policy_hold_for_the_client_s_teams() -> None:
    everywhere = policy("p", rule("get list", "pods", namespaces=["*"]), subjects=SUBJECTS)
    before = policy("q", rule("get", "pods"), subjects=SUBJECTS, deny=[rule("*", "pods", **teams())])
    broken = carry_denies(before, read_policy(body("q", rule("get", "pods"), subjects=[{"kind": "User"}])))
    assert reached(person("oidc:team-a"), everywhere, broken) == ["b-web", "none", "empty"]


def test_check_access_says_which_namespaces_are_the_client_s_and_tells_of_no_other_team() -> None:
    shown = effective_access(context([ALL_TEAMS], client=person("oidc:team-a"), namespaces=CLUSTER)).render()
    assert "namespaces with acme.com/team in (a) [now: a-agents, a-web]" in shown
    assert "b-web" not in shown


class TestDefaultNamespace:
    """`defaultNamespace`"""

    def test_is_that_of_the_first_policy_in_force_that_states_one(self) -> None:
        policies = [
            policy("a", rule("get", "pods")),
            policy("b", rule("get", "pods"), defaultNamespace="old", suspend=True),
            policy("d", rule("get", "pods"), defaultNamespace="team-b"),
            policy("c", rule("get", "pods"), defaultNamespace="team-a"),
        ]
        assert default_namespace(context(policies)) == "team-a"

    def test_is_empty_when_no_policy_states_one(self) -> None:
        assert default_namespace(context([policy("a", rule("get", "pods"))])) == ""

    def test_is_shown_by_check_access(self) -> None:
        shown = effective_access(context([policy("a", rule("get", "pods"), defaultNamespace="team-a")]))
        assert "Commands without a namespace are about team-a." in shown.render()

    def test_gives_no_right(self) -> None:
        decision = ask("get pods -n team-b", policy("a", rule("get", "pods"), defaultNamespace="team-b"))
        assert decision.reason is Reason.NOT_ALLOWED
