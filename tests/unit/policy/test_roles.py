"""Rules by `roleRef`: what the role gives, as it is now, without what is sensitive."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_mcp_server.policy.access import effective_access
from k8s_mcp_server.policy.decision import Decision, Reason
from k8s_mcp_server.policy.roles import read_role
from k8s_mcp_server.policy.snapshot import Snapshot
from k8s_mcp_server.policy.withheld import withheld
from tests.support.asking import ask, context, policy, rule, seen
from tests.support.policies import role_body

pytestmark = pytest.mark.unit


def gives(verbs: str, resources: str, *, groups: str = "-", names: str = "") -> dict[str, Any]:
    """A role's rule, in words."""
    found = {
        "apiGroups": [group.strip("-") for group in groups.split()],
        "resources": resources.split(),
        "verbs": verbs.split(),
    }
    return {**found, "resourceNames": names.split()} if names else found


def follow(role: str = "edit", **scope: Any) -> dict[str, Any]:
    return {
        "name": "by-role",
        "roleRef": {"kind": "ClusterRole", "name": role},
        **(scope or {"namespaces": ["team-a"]}),
    }


def asked(text: str, *rules: dict[str, Any], **scope: Any) -> Decision:
    """Asked of a policy that follows the role ``edit``, which has these rules."""
    return ask(text, policy("p", follow(**scope)), roles=[role_body("edit", *rules)])


@pytest.mark.parametrize(
    ("request_", "given", "allowed"),
    [
        pytest.param("get pods x -n team-a", gives("get", "pods"), True, id="what it says"),
        pytest.param("get pods x -n team-b", gives("get", "pods"), False, id="in the rule's scope only"),
        pytest.param("delete pods x -n team-a", gives("get", "pods"), False, id="no other verb"),
        pytest.param("get pods x -n team-a", gives("get", "pods", groups="apps"), False, id="no other group"),
        pytest.param("get pods/log x -n team-a", gives("get", "pods"), False, id="no subresource"),
        pytest.param("get pods/log x -n team-a", gives("get", "pods/log"), True, id="a subresource"),
        pytest.param("get pods/log x -n team-a", gives("get", "*"), True, id="every resource and subresource"),
        pytest.param("get pods/log x -n team-a", gives("get", "*/log"), True, id="a subresource of every resource"),
        pytest.param("get pods/log x -n team-a", gives("get", "pods/*"), False, id="pods/* is no wildcard of RBAC"),
        pytest.param("delete deployments.apps x -n team-a", gives("*", "*", groups="*"), True, id="everything"),
        pytest.param("get nodes x", gives("get", "nodes"), False, id="nothing of the cluster by a namespaced rule"),
        pytest.param("get pods x -n team-a", gives("get", "pods", names="x"), True, id="one name"),
        pytest.param("get pods y -n team-a", gives("get", "pods", names="x"), False, id="another name"),
        pytest.param("get pods y -n team-a", gives("get", "pods", names="*"), False, id="* in a name is itself"),
        pytest.param("create pods -n team-a", gives("create", "pods", names="x"), False, id="create by name"),
    ],
)
def test_a_role_gives_what_rbac_says_that_it_gives(request_: str, given: dict[str, Any], allowed: bool) -> None:
    assert asked(request_, given).allowed is allowed


@pytest.mark.parametrize(
    ("request_", "given"),
    [
        pytest.param("get secrets x -n team-a", gives("get", "secrets"), id="Secrets"),
        pytest.param("create pods/exec x -n team-a", gives("create", "pods/exec"), id="exec"),
        pytest.param(
            "get roles.rbac.authorization.k8s.io x -n team-a",
            gives("get", "roles", groups="rbac.authorization.k8s.io"),
            id="RBAC",
        ),
        pytest.param("create serviceaccounts -n team-a", gives("create", "serviceaccounts"), id="ServiceAccounts"),
        pytest.param("get secrets x -n team-a", gives("*", "*", groups="*"), id="by wildcard"),
    ],
)
def test_what_is_sensitive_is_withheld_although_the_role_names_it(request_: str, given: dict[str, Any]) -> None:
    decision = asked(request_, given)
    assert decision.reason is Reason.SENSITIVE_NOT_NAMED
    assert "neither a wildcard nor a role gives it" in decision.message


def test_another_rule_may_name_what_the_role_would_not_bring() -> None:
    both = policy("p", follow(), rule("get", "secrets"))
    assert ask("get secrets x -n team-a", both, roles=[role_body("edit", gives("get", "secrets"))]).allowed


def test_workloads_stay_where_pod_security_enforces_unless_the_rule_says_otherwise() -> None:
    give = gives("create", "pods")
    everywhere = {"namespaces": ["team-a", "default"]}
    assert asked("create pods -n team-a", give, **everywhere).allowed
    assert asked("create pods -n default", give, **everywhere).reason is Reason.PRIVILEGED_WORKLOAD
    assert asked("create pods -n default", give, **everywhere, allowPrivilegedWorkloads=True).allowed


def test_a_role_for_the_cluster_gives_nothing_in_namespaces() -> None:
    give = gives("get list", "nodes pods")
    assert asked("get nodes x", give, clusterScoped=True).allowed
    assert not asked("get pods x -n team-a", give, clusterScoped=True).allowed


def test_lists_are_cut_to_the_names_of_the_role() -> None:
    decision = asked("list configmaps -n team-a", gives("list", "configmaps", names="x"))
    assert seen(decision, "team-a/x", "team-a/y") == ["team-a/x"]


def test_a_missing_role_gives_nothing_not_even_the_sight_of_the_namespace() -> None:
    missing = policy("p", follow("gone"))
    for text in ("get pods x -n team-a", "get namespaces team-a", "list namespaces"):
        assert not ask(text, missing, roles=[role_body("edit", gives("*", "*"))]).allowed
    other = policy("p", follow("gone"), rule("get", "configmaps"))
    assert ask("get configmaps x -n team-a", other).allowed


def test_a_role_s_rules_about_paths_are_not_followed() -> None:
    path = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
    assert not asked("get /metrics", path, clusterScoped=True).allowed


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"rules": None}, id="no rules"),
        pytest.param({"rules": "all"}, id="rules that are text"),
        pytest.param({"rules": [None, 5]}, id="rules that are none"),
        pytest.param({"rules": [{"apiGroups": "*", "resources": ["*"], "verbs": ["*"]}]}, id="groups that are text"),
        pytest.param({"rules": [gives("get", "pods") | {"resourceNames": "x"}]}, id="names that are text"),
    ],
)
def test_what_of_a_role_cannot_be_read_gives_nothing(broken: dict[str, Any]) -> None:
    assert read_role({"metadata": {"name": "edit"}, **broken}).rules == ()


def test_check_access_shows_one_line_for_a_role_and_says_when_it_is_missing() -> None:
    about = context(
        [policy("p", follow(), {**follow("gone"), "name": "lost"})],
        roles=[role_body("edit", gives("get", "pods"), gives("get", "services"))],
    )
    lines = effective_access(about).render().splitlines()
    expected = "by-role: what ClusterRole edit allows, except for what is sensitive, in namespaces team-a [now: team-a]"
    assert [line for line in lines if "by-role" in line] == [f"  may {expected}"]
    assert "  lost gives nothing: there is no ClusterRole gone" in lines


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([gives("get", "pods configmaps")], [], id="nothing"),
        pytest.param([gives("get list", "secrets pods")], ["secrets"], id="Secrets"),
        pytest.param([gives("create", "secrets")], [], id="what is not sensitive of Secrets is given"),
        pytest.param([gives("create", "pods/exec pods/attach")], ["pods/attach", "pods/exec"], id="subresources"),
        pytest.param(
            [gives("get", "roles", groups="rbac.authorization.k8s.io")],
            ["roles.rbac.authorization.k8s.io"],
            id="of a sensitive group by name",
        ),
        pytest.param(
            [gives("get", "*", groups="rbac.authorization.k8s.io")],
            ["*.rbac.authorization.k8s.io"],
            id="a whole sensitive group",
        ),
    ],
)
def test_what_is_withheld_is_listed(given: list[dict[str, Any]], expected: list[str]) -> None:
    found = withheld(_rules(*given))
    assert list(found) == expected


def test_a_role_of_everything_names_the_whole_sensitive_set_within_bounds() -> None:
    found = withheld(_rules(gives("*", "*", groups="*")))
    assert {"secrets", "pods/exec", "nodes/*", "serviceaccounts/token", "*.certificates.k8s.io"} <= set(found)
    assert len(found) <= 64
    assert all(len(item) <= 512 for item in found)


def test_a_rule_of_the_policy_s_own_words_withholds_nothing() -> None:
    assert withheld(policy("p", rule("*", "*")).rules) == ()


def _rules(*given: dict[str, Any]) -> Any:
    roles = [read_role(role_body("edit", *given))]
    followed = Snapshot.build([], [], roles).following(policy("p", follow()))
    return followed.rules  # type: ignore[union-attr]  # the policy is valid
