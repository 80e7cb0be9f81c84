"""Roles, labels and bindings of a cluster, from files: what policies give by them, and what is said when they lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.support.policy_commands import (
    GROUP,
    Answer,
    binding,
    enforced,
    namespace,
    policy,
    role,
    role_rule,
    rule,
    run,
    write,
)

pytestmark = pytest.mark.unit

ACCOUNT = {"kind": "ServiceAccount", "namespace": "agents", "name": "bot"}
MEMBER = {**GROUP, "apiGroup": "rbac.authorization.k8s.io"}
OWN = rule("*", "*", groups="-", fromRBAC=True)


def by_role(name: str, **scope: Any) -> dict[str, Any]:
    return {**(scope or {"namespaces": ["team-a"]}), "roleRef": {"kind": "ClusterRole", "name": name}}


def for_team(verbs: str = "get list", **more: Any) -> dict[str, Any]:
    scope: dict[str, Any] = {"namespaceSelector": {"matchSubject": {"label": "team", "groupPrefix": "oidc:team-"}}}
    return rule(verbs, **scope, **more)


class Ask:
    """The commands, about one policy and some objects of a cluster."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self, given: dict[str, Any], *cluster: dict[str, Any]) -> list[object]:
        words: list[object] = [write(self._folder / "policy.yaml", given)]
        if cluster:
            words += ["--cluster-state", write(self._folder / "cluster.yaml", *cluster)]
        return words

    def who_can(self, question: str, given: dict[str, Any], *cluster: dict[str, Any]) -> Answer:
        return run("policy", "who-can", *question.split(), *self.files(given, *cluster))

    def may(self, question: str, given: dict[str, Any], *cluster: dict[str, Any]) -> bool:
        return "   allow   " in self.who_can(question, given, *cluster).out


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    return Ask(tmp_path)


class TestRoles:
    def test_kubernetes_own_roles_are_known_and_said_to_be_assumed(self, ask: Ask) -> None:
        answer = ask.who_can("get pods/log -n team-a", policy(by_role("view")))
        assert "oidc:team-a   allow     sample   rules[0]   AllowedByRule" in answer.out
        assert "Assumed: ClusterRole view (sample/rules[0]) is Kubernetes' own, v1." in answer.out

    @pytest.mark.parametrize(
        ("name", "question", "allowed"),
        [
            pytest.param("edit", "create configmaps -n team-a", True, id="edit writes"),
            pytest.param("view", "create configmaps -n team-a", False, id="view does not"),
            pytest.param("edit", "get secrets -n team-a", False, id="Secrets are withheld"),
            pytest.param("admin", "create rolebindings -n team-a", False, id="RBAC is withheld"),
            pytest.param("cluster-admin", "delete services -n team-a", True, id="wildcards"),
            pytest.param("edit", "create configmaps -n team-b", False, id="another namespace"),
        ],
    )
    def test_a_role_gives_what_it_gives_without_what_is_sensitive(
        self, ask: Ask, name: str, question: str, *, allowed: bool
    ) -> None:
        cluster = (enforced("team-a"), enforced("team-b"))
        assert ask.may(question, policy(by_role(name)), *cluster) is allowed

    def test_a_role_of_the_files_counts_before_kubernetes_own(self, ask: Ask) -> None:
        answer = ask.who_can("get pods -n team-a", policy(by_role("view")), role("view", role_rule("get", "services")))
        assert (
            answer.out
            == "nobody\nAssumed: namespace team-a exists and has no labels (add its Namespace to the files).\n"
        )

    def test_a_part_of_the_files_is_aggregated_into_kubernetes_own_role(self, ask: Ask) -> None:
        part = role("widgets", role_rule("get", "widgets", groups="example.com"))
        part["metadata"]["labels"] = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
        assert ask.may("get widgets.example.com -n team-a", policy(by_role("view")), part)
        assert not ask.may("get widgets.example.com -n team-a", policy(by_role("view")), role("widgets"))

    def test_a_role_that_no_file_has_is_said_to_be_unknown(self, ask: Ask) -> None:
        answer = ask.who_can("get pods -n team-a", policy(by_role("ours")))
        assert answer.out.splitlines()[0] == "nobody"
        assert "Not known: ClusterRole ours (sample/rules[0]), so it gives nothing here" in answer.out

    def test_a_role_among_the_policies_counts_as_well(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.yaml", policy(by_role("ours")), role("ours", role_rule("get", "pods")))
        assert "allow" in run("policy", "who-can", "get", "pods", "-n", "team-a", path).out

    def test_the_check_warns_of_what_a_role_gives_and_of_one_that_is_missing(self, ask: Ask) -> None:
        values = run("policy", "check", *ask.files(policy(by_role("edit"), by_role("edits"))), "-o", "json").value
        assert {(item["reason"], item["path"]) for item in values} == {
            ("WorkloadWrites", "spec.rules[0]"),
            ("UnknownRole", "spec.rules[1].roleRef.name"),
        }
        assert any(item["message"].endswith("did you mean edit?") for item in values)

    def test_whoever_gets_workloads_by_a_role_can_become_an_account_beside_them(self, ask: Ask) -> None:
        given = policy(by_role("edit", namespaces=["agents"]), subjects=[ACCOUNT])
        values = run("policy", "check", *ask.files(given, enforced("agents")), "-o", "json").value
        assert "SubjectForgeable" in {item["reason"] for item in values}

    def test_the_pod_s_rbac_holds_what_the_role_gives(self, ask: Ask) -> None:
        held = role("ours", role_rule("get", "pods secrets"))
        assert "resources: [pods]" in run("policy", "rbac", *ask.files(policy(by_role("ours")), held)).out
        assert "# Not known: ClusterRole none" in run("policy", "rbac", *ask.files(policy(by_role("none")))).out


class TestTeams:
    CLUSTER = (
        namespace("web", team="a"),
        namespace("shop", team="b"),
        namespace("agents", team="b"),
    )

    def test_groups_reach_the_namespaces_of_their_team(self, ask: Ask) -> None:
        assert ask.may("get pods -n web", policy(for_team()), *self.CLUSTER)
        assert not ask.may("get pods -n shop", policy(for_team()), *self.CLUSTER)

    def test_an_account_has_the_team_of_its_namespace(self, ask: Ask) -> None:
        given = policy(for_team(), subjects=[ACCOUNT])
        assert ask.may("get pods -n shop", given, *self.CLUSTER)
        assert not ask.may("get pods -n web", given, *self.CLUSTER)

    def test_a_glob_of_groups_is_told_for_the_teams_that_it_takes_in(self, ask: Ask) -> None:
        given = policy(for_team(), subjects=[{"kind": "Group", "name": "oidc:team-*"}])
        answer = ask.who_can("get pods -n shop", given, *self.CLUSTER)
        assert [line.split()[0] for line in answer.out.splitlines()] == ["SUBJECT", "oidc:team-b"]

    def test_without_namespaces_it_is_said_that_teams_are_not_known(self, ask: Ask) -> None:
        answer = ask.who_can("get pods -n web", policy(for_team()))
        assert "Not known: which namespaces have the label team (sample/rules[0]); add Namespaces" in answer.out

    def test_the_pod_s_rbac_holds_in_the_namespaces_of_every_team(self, ask: Ask) -> None:
        printed = run("policy", "rbac", *ask.files(policy(for_team()), *self.CLUSTER, namespace("x")), "-o", "json")
        bound = {item["metadata"].get("namespace") for item in printed.value["items"] if item["kind"] == "RoleBinding"}
        assert bound == {"web", "shop", "agents"}


class TestOwnRights:
    HELD = role("reads-pods", role_rule("get", "pods secrets"))

    def test_they_are_what_bindings_say_without_what_is_sensitive(self, ask: Ask) -> None:
        cluster = (self.HELD, binding("reads-pods", MEMBER, namespace="team-a"))
        assert ask.may("get pods -n team-a", policy(OWN), *cluster)
        assert not ask.may("get secrets -n team-a", policy(OWN), *cluster)
        assert not ask.may("list pods -n team-a", policy(OWN), *cluster)

    def test_a_binding_of_somebody_else_gives_nothing(self, ask: Ask) -> None:
        other = {**MEMBER, "name": "oidc:team-b"}
        assert not ask.may("get pods -n team-a", policy(OWN), self.HELD, binding("reads-pods", other))

    def test_without_bindings_it_depends_and_is_said_to(self, ask: Ask) -> None:
        answer = ask.who_can("get pods -n team-a", policy(OWN))
        assert "oidc:team-a   unknown" in answer.out
        assert "Not known: what the clients' own RBAC gives (sample/rules[0])" in answer.out

    def test_for_machines_what_is_not_known_goes_to_standard_error(self, ask: Ask) -> None:
        answer = run("policy", "who-can", "get", "pods", "-n", "team-a", *ask.files(policy(OWN)), "-o", "json")
        assert answer.value[0]["verdict"] == "unknown"
        assert "Not known: what the clients' own RBAC gives" in answer.err

    def test_the_pod_needs_what_the_rule_can_give(self, ask: Ask) -> None:
        own = rule("get", "pods", fromRBAC=True)
        printed = run("policy", "rbac", *ask.files(policy(own))).out
        assert "resources: [pods]" in printed
        assert "what the pod lacks, nobody gets" in printed


class TestDiff:
    @pytest.fixture
    def diff(self, tmp_path: Path) -> Any:
        def compare(old: list[dict[str, Any]], new: list[dict[str, Any]], *more: object) -> Answer:
            sides = (write(tmp_path / "old.yaml", *old), write(tmp_path / "new.yaml", *new))
            return run("policy", "diff", *sides, *more)

        return compare

    def test_another_role_is_told_by_what_it_gives(self, diff: Any) -> None:
        held = (role("more", role_rule("get list", "pods")), role("less", role_rule("get", "pods")))
        told = diff([policy(by_role("less")), *held], [policy(by_role("more")), *held]).out
        assert told == "+ oidc:team-a may now list pods in 1 namespace (team-a); sensitive: none\n"

    def test_a_changed_role_is_told_though_the_policy_is_the_same(self, diff: Any) -> None:
        given = policy(by_role("ours"))
        old, new = role("ours", role_rule("get", "pods")), role("ours", role_rule("get delete", "pods"))
        told = diff([given, old], [given, new]).out
        assert told == "+ oidc:team-a may now delete pods in 1 namespace (team-a); sensitive: none\n"

    def test_a_gain_by_an_unknown_role_is_told_and_fails_where_gains_do(self, diff: Any) -> None:
        answer = diff([policy()], [policy(by_role("ours"))], "--fail-on-gain")
        assert answer.code == 1
        assert answer.out == "? oidc:team-a may now have what ClusterRole ours gives (rules[0]), which no file has\n"
        assert diff([policy(by_role("ours"))], [policy(by_role("ours"))], "--fail-on-gain").code == 0

    def test_own_rights_are_told_as_such_whatever_the_cluster_binds_today(self, diff: Any) -> None:
        new = [policy(rule("get", fromRBAC=True)), self.bound()]
        answer = diff([policy()], new, "--fail-on-gain")
        assert answer.code == 1
        told = "+ oidc:team-a may now get pods in 1 namespace (team-a), as far as the client's own RBAC gives it"
        assert answer.out == f"{told}; sensitive: none\n"

    def test_a_right_that_depended_on_own_rbac_and_no_longer_does_is_a_gain(self, diff: Any) -> None:
        told = diff([policy(rule("get", fromRBAC=True))], [policy(rule("get"))]).out
        assert told == "+ oidc:team-a may now get pods in 1 namespace (team-a); sensitive: none\n"

    def test_teams_are_told_by_label(self, diff: Any) -> None:
        told = diff([policy()], [policy(for_team("get"))]).out
        assert told == "+ oidc:team-a may now get pods in any namespace with team=a; sensitive: none\n"

    def test_an_account_whose_namespace_no_file_has_belongs_to_some_team(self, diff: Any) -> None:
        given, none = (policy(*rules, subjects=[ACCOUNT]) for rules in ((for_team("get"),), ()))
        told = diff([none], [given]).out
        assert "may now get pods in any namespace with team=(its own team)" in told

    @staticmethod
    def bound() -> dict[str, Any]:
        return binding("view", MEMBER)


class TestTestFiles:
    @pytest.fixture
    def test_of(self, tmp_path: Path) -> Any:
        def answer(given: dict[str, Any], case: dict[str, Any], *cluster: Any) -> Answer:
            write(tmp_path / "policy.yaml", given)
            who = {"as": "group:oidc:team-a", "namespace": "team-a"}
            cases = {"policies": ["policy.yaml"], "namespaces": ["team-a"], "cases": [{**who, **case}]}
            return run("policy", "test", write(tmp_path / "tests.yaml", {**cases, "cluster": list(cluster)}))

        return answer

    ALLOWED: ClassVar = {"verb": "get", "resource": "pods", "expect": "allow"}
    DENIED: ClassVar = {"verb": "get", "resource": "pods", "expect": "deny"}

    def test_the_cluster_s_files_and_objects_say_what_roles_and_bindings_give(
        self, test_of: Any, tmp_path: Path
    ) -> None:
        write(tmp_path / "cluster" / "state.yaml", binding("view", MEMBER))
        assert test_of(policy(OWN), self.ALLOWED, "cluster").code == 0
        assert test_of(policy(by_role("ours")), self.ALLOWED, role("ours", role_rule("get", "pods"))).code == 0
        assert test_of(policy(OWN), self.ALLOWED, binding("view", MEMBER)).code == 0
        assert test_of(policy(OWN), self.DENIED, binding("view", {**MEMBER, "name": "x"})).code == 0

    def test_a_denial_for_want_of_a_file_does_not_pass(self, test_of: Any) -> None:
        answer = test_of(policy(by_role("ours")), self.DENIED)
        assert answer.code == 1
        assert "not known: ClusterRole ours (rule rules[0] of policy sample); add it to cluster" in answer.out
        answer = test_of(policy(OWN), self.DENIED)
        assert answer.code == 1
        assert "not known: what the client's own RBAC gives" in answer.out

    def test_a_denial_that_no_role_could_change_passes(self, test_of: Any) -> None:
        denied = {"verb": "get", "resource": "secrets", "expect": "deny", "reason": "DeniedByRule"}
        given = policy(by_role("ours"), deny=[rule("get", "secrets")])
        assert test_of(given, denied).code == 0


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"aggregationRule": {"clusterRoleSelectors": [{"matchExpressions": [{}]}]}}, id="a selector"),
        pytest.param({"aggregationRule": {"clusterRoleSelectors": 3}}, id="selectors"),
    ],
)
def test_a_role_that_cannot_be_read_is_said(ask: Ask, broken: dict[str, Any]) -> None:
    answer = ask.who_can("get pods -n team-a", policy(by_role("ours")), {**role("ours"), **broken})
    assert answer.code == 2
    assert "a role or binding in the files cannot be read" in answer.err


def test_policies_of_the_cluster_do_not_count(ask: Ask) -> None:
    assert ask.who_can("get pods -n team-a", policy(), policy(rule("get"), name="other")).out.startswith("nobody\n")


def test_who_forges_by_own_rbac_could_without_the_policy_so_nobody_is_warned(ask: Ask) -> None:
    given = policy(rule("*", "*", groups="-", namespaces=["agents"], fromRBAC=True), subjects=[ACCOUNT])
    values = run("policy", "check", *ask.files(given, enforced("agents")), "-o", "json").value
    assert [item["reason"] for item in values] == ["WorkloadWrites"]
