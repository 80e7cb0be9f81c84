"""`policy rbac`: enough for what policies give, and nothing more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.policy_commands import Answer, crd, enforced, namespace, policy, rule, run, write

pytestmark = pytest.mark.unit

EXAMPLES = Path(__file__).parents[3] / "examples"
Objects = list[dict[str, Any]]


def rbac(tmp_path: Path, *documents: dict[str, Any], more: tuple[str, ...] = ()) -> Answer:
    """Ask for the RBAC of some policies."""
    return run("policy", "rbac", write(tmp_path / "a.yaml", *documents), *more)


def roles(answer: Answer) -> dict[str, Objects]:
    """The rules by where they hold: a namespace, or empty for everywhere."""
    objects = [item for item in yaml.safe_load_all(answer.out) if item]
    held = {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in objects}
    found: dict[str, Objects] = {}
    for item in objects:
        if "roleRef" in item:
            where, reference = item["metadata"].get("namespace", ""), item["roleRef"]
            role = held[reference["kind"], "" if reference["kind"] == "ClusterRole" else where, reference["name"]]
            found[where] = role["rules"]
    return found


def allows(rules: Objects, verb: str, resource: str, *, group: str = "", name: str = "x") -> bool:
    """RBAC's own decision."""
    return any(
        group in item.get("apiGroups", ())
        and resource in item["resources"]
        and verb in item["verbs"]
        and name in item.get("resourceNames", [name])
        for item in rules
    )


def test_literal_namespaces_get_a_role_and_its_binding_to_the_pod(tmp_path: Path) -> None:
    answer = rbac(tmp_path, policy(rule("get list")), more=("-o", "json"))
    assert answer.code == 0
    (role,) = (item for item in answer.value["items"] if item["kind"] == "Role")
    (binding,) = (item for item in answer.value["items"] if item["kind"] == "RoleBinding")
    assert role["metadata"] == binding["metadata"] == {"name": "k8s-mcp-agents", "namespace": "team-a"}
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    account = {"kind": "ServiceAccount", "name": "k8s-mcp-server", "namespace": "k8s-mcp-system"}
    assert binding["subjects"] == [account]


def test_the_service_account_can_be_another(tmp_path: Path) -> None:
    answer = rbac(tmp_path, policy(rule()), more=("--service-account", "mcp/server"))
    assert "namespace: mcp\n" in answer.out
    assert rbac(tmp_path, policy(rule()), more=("--service-account", "server")).code == 2


def test_wildcards_are_written_out_without_what_is_sensitive(tmp_path: Path) -> None:
    rules = roles(rbac(tmp_path, policy(rule("get list", "*"))))["team-a"]
    assert allows(rules, "get", "pods")
    assert allows(rules, "get", "pods/log")
    assert not allows(rules, "get", "secrets")
    assert not allows(rules, "get", "pods/exec")
    assert all("*" not in item["resources"] + item["verbs"] + item["apiGroups"] for item in rules)


def test_what_is_named_is_given_though_sensitive(tmp_path: Path) -> None:
    rules = roles(rbac(tmp_path, policy(rule("get", "secrets"))))["team-a"]
    assert allows(rules, "get", "secrets")
    assert not allows(rules, "list", "secrets")


def test_what_nobody_may_ever_is_not_given(tmp_path: Path) -> None:
    reviews = rule("create", "tokenreviews", groups="authentication.k8s.io", clusterScoped=True)
    assert rbac(tmp_path, policy(reviews)).out == "# nothing is needed\n"


def test_exec_needs_get_as_well_for_it_connects_by_get(tmp_path: Path) -> None:
    rules = roles(rbac(tmp_path, policy(rule("create", "pods/exec"))))["team-a"]
    assert allows(rules, "create", "pods/exec")
    assert allows(rules, "get", "pods/exec")


def test_names_hold_where_rbac_can_hold_them(tmp_path: Path) -> None:
    rules = roles(rbac(tmp_path, policy(rule("get list create", "configmaps", resourceNames=["web"]))))["team-a"]
    assert allows(rules, "get", "configmaps", name="web")
    assert not allows(rules, "get", "configmaps", name="db")
    assert allows(rules, "list", "configmaps")  # the gateway lists all, and cuts the answer
    assert not allows(rules, "create", "configmaps")  # names never match it, so no policy gives it


def test_globs_in_names_are_more_than_rbac_knows_and_said(tmp_path: Path) -> None:
    answer = rbac(tmp_path, policy(rule("get", resourceNames=["web-*"])))
    assert allows(roles(answer)["team-a"], "get", "pods", name="db")
    assert "# sample/rules[0]: RBAC knows no globs in names" in answer.out


def test_globs_and_selectors_are_bound_where_the_files_say_that_they_reach(tmp_path: Path) -> None:
    labelled = {"matchLabels": {"team": "b"}}
    given = policy(rule(namespaces=["team-*"]), rule("delete", namespaceSelector=labelled))
    files = (enforced("team-a"), enforced("team-b"), namespace("x", team="b"), namespace("kube-system", team="b"))
    answer = rbac(tmp_path, given, *files)
    found = roles(answer)
    assert set(found) == {"", "team-a", "team-b", "x"}
    assert allows(found["x"], "delete", "pods")
    assert not allows(found["team-a"], "delete", "pods")
    assert "run this again when it reaches more namespaces" in answer.out


def test_namespaces_with_the_same_rules_share_a_cluster_role_bound_in_each(tmp_path: Path) -> None:
    answer = rbac(tmp_path, policy(rule(namespaces=["team-a", "team-b"])), more=("-o", "json"))
    kinds = [item["kind"] for item in answer.value["items"]]
    assert kinds == ["ClusterRole", "ClusterRoleBinding", "ClusterRole", "RoleBinding", "RoleBinding"]


def test_globs_get_a_cluster_role_when_no_file_says_what_they_reach(tmp_path: Path) -> None:
    answer = rbac(tmp_path, policy(rule("delete", namespaces=["team-*"])))
    assert allows(roles(answer)[""], "delete", "pods")
    assert "# sample/rules[0]: cluster-wide, for no file says" in answer.out


def test_lists_of_all_namespaces_are_added_when_asked_for(tmp_path: Path) -> None:
    given = policy(rule("get list"))
    assert not allows(roles(rbac(tmp_path, given))[""], "list", "pods")
    added = roles(rbac(tmp_path, given, more=("--across-namespaces",)))[""]
    assert allows(added, "list", "pods")
    assert not allows(added, "get", "pods")


def test_cluster_scope_and_paths_get_a_cluster_role(tmp_path: Path) -> None:
    metrics = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
    rules = roles(rbac(tmp_path, policy(rule("get", "nodes", clusterScoped=True), metrics)))[""]
    assert rules == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}, metrics]


def test_custom_resources_are_written_out_by_their_crd_or_given_whole(tmp_path: Path) -> None:
    given = policy(rule("get", "*", groups="example.com"))
    known = rbac(tmp_path, given, crd("widgets", group="example.com", kind="Widget"))
    assert allows(roles(known)["team-a"], "get", "widgets", group="example.com")
    unknown = rbac(tmp_path, given)
    assert allows(roles(unknown)["team-a"], "get", "*", group="example.com")
    assert "nothing here says what example.com holds" in unknown.out


def test_the_demo_s_agents_need_no_secret() -> None:
    found = roles(run("policy", "rbac", EXAMPLES / "demo"))
    assert set(found) >= {"", "shop", "billing"}
    assert not any(allows(rules, verb, "secrets") for rules in found.values() for verb in ("get", "list", "watch"))
