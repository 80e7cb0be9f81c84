"""`policy test`: test files, their outcomes and their exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.policy_commands import ENFORCED, Answer, crd, namespace, policy, rule, run, write

pytestmark = pytest.mark.unit

NAMESPACES = {"team-a": ENFORCED, "team-b": {}}


def run_cases(tmp_path: Path, *cases: dict[str, Any], body: dict[str, Any] | None = None, **more: Any) -> Answer:
    """Run a test file with these cases; the policy gives reading pods in team-a."""
    write(tmp_path / "policy.yaml", body or policy(rule("get list watch")))
    file = {"policies": ["policy.yaml"], "namespaces": NAMESPACES, "cases": list(cases), **more}
    return run("policy", "test", write(tmp_path / "tests.yaml", file))


def case(
    verb: object = "get",
    resource: object = "pods",
    expect: str = "allow",
    *,
    client: object = "group:oidc:team-a",
    **fields: Any,
) -> dict[str, Any]:
    """A case about the group that policies of these tests name, in team-a."""
    where = {} if "path" in fields else {"resource": resource, "namespace": "team-a"}
    return {"as": client, "verb": verb, **where, "expect": expect, **fields}


def test_every_combination_of_a_case_is_one_test(tmp_path: Path) -> None:
    answer = run_cases(tmp_path, case(["get", "list"], ["pods", "po"]), case("delete", expect="deny"))
    assert (answer.code, answer.out) == (0, f"{tmp_path}/tests.yaml .....\n\n5 passed\n")


def test_a_failure_is_told_with_line_question_and_reason(tmp_path: Path) -> None:
    answer = run_cases(tmp_path, case(), case("delete"))
    line = (tmp_path / "tests.yaml").read_text(encoding="utf-8").splitlines().index("  verb: delete")
    assert answer.code == 1
    assert f"FAILED {tmp_path}/tests.yaml:{line}: a member of oidc:team-a: delete pods in namespace" in answer.out
    assert "expected allow, got deny (NotAllowed)" in answer.out
    assert "1 failed, 1 passed" in answer.out


@pytest.mark.parametrize(
    "failing",
    [
        pytest.param(case("delete"), id="denied"),
        pytest.param(case(expect="deny"), id="allowed"),
        pytest.param(case("list", namespace="", expect="allow"), id="filtered, not whole"),
        pytest.param(case("delete", expect="deny", reason="NoPolicy"), id="denied for another reason"),
        pytest.param(case("list", namespace="", expect="filtered", shows=["team-b/x"]), id="not shown"),
        pytest.param(case("list", namespace="", expect="filtered", hides=["team-a/x"]), id="not hidden"),
        pytest.param(case(hides=["team-a/x"]), id="not hidden where nothing is cut"),
        pytest.param(case(namespace="elsewhere"), id="a namespace that is not there"),
        pytest.param(case(client="group:oidc:team-b"), id="another client"),
    ],
)
def test_every_kind_of_expectation_can_fail(tmp_path: Path, failing: dict[str, Any]) -> None:
    answer = run_cases(tmp_path, failing)
    assert (answer.code, "1 failed" in answer.out) == (1, True)


@pytest.mark.parametrize(
    "passing",
    [
        pytest.param(case("list", namespace="", expect="filtered", shows=["team-a/x"], hides=["team-b/x"]), id="cut"),
        pytest.param(case(client={"user": "dev-1", "groups": ["oidc:team-a"]}), id="user with groups"),
        pytest.param(case(client="user:oidc:team-a", expect="deny", reason="NoPolicy"), id="user of the name"),
        pytest.param(case("get", "nodes", name="n", namespace="", expect="deny"), id="cluster resource"),
        pytest.param(case(path="/version"), id="a path for everybody"),
        pytest.param(case(path="/metrics", expect="deny"), id="another path"),
        pytest.param(case(tool="helm", expect="deny", reason="ToolNotAllowed"), id="another tool"),
        pytest.param(case("get", "namespaces", name="team-a", reason="NamespaceVisible"), id="the namespace itself"),
    ],
)
def test_clients_paths_and_tools_can_be_stated(tmp_path: Path, passing: dict[str, Any]) -> None:
    assert run_cases(tmp_path, passing).code == 0


def test_an_oidc_user_is_no_service_account_whatever_its_name(tmp_path: Path) -> None:
    account = {"kind": "ServiceAccount", "namespace": "agents", "name": "bot"}
    body = policy(rule(), subjects=[account])
    proven = case(client="serviceaccount:agents/bot")
    claimed = case(client={"user": "oidc:system:serviceaccount:agents:bot"}, expect="deny", reason="NoPolicy")
    assert run_cases(tmp_path, proven, claimed, body=body).code == 0


def test_time_passes_when_a_case_says_so(tmp_path: Path) -> None:
    body = policy(rule(), expiresAfter="2h")
    cases = [case(after="119m"), case(after="2h", expect="deny", reason="PolicyExpired")]
    assert run_cases(tmp_path, *cases, body=body).code == 0


def test_namespaces_and_crds_may_stand_with_the_policies(tmp_path: Path) -> None:
    write(
        tmp_path / "all" / "ns.yaml", namespace("team-c", team="c"), crd("widgets", group="example.com", kind="Widget")
    )
    selected = rule(resources="widgets", groups="example.com", namespaceSelector={"matchLabels": {"team": "c"}})
    write(tmp_path / "all" / "policy.yaml", policy(selected))
    file = {"policies": ["all"], "cases": [case(resource="widgets", namespace="team-c")]}
    assert run("policy", "test", write(tmp_path / "tests.yaml", file)).code == 0


def test_a_resource_without_its_crd_may_be_stated(tmp_path: Path) -> None:
    body = policy(rule(resources="gadgets", groups="example.com", clusterScoped=True))
    cases = [case(resource="gadgets.example.com", namespace="", name="x")]
    assert run_cases(tmp_path, *cases, body=body, resources={"gadgets.example.com": "Cluster"}).code == 0


def test_folders_are_searched_and_other_files_passed_over(tmp_path: Path) -> None:
    assert run_cases(tmp_path, case()).code == 0
    answer = run("policy", "test", tmp_path)
    assert (answer.code, "1 passed" in answer.out) == (0, True)


def test_verbose_tells_every_case(tmp_path: Path) -> None:
    run_cases(tmp_path, case())
    answer = run("policy", "test", "-v", tmp_path)
    assert 'passed a member of oidc:team-a: get pods in namespace "team-a": allow (AllowedByRule)' in answer.out


def test_machines_get_every_outcome(tmp_path: Path) -> None:
    run_cases(tmp_path, case(), case("delete"))
    values = run("policy", "test", tmp_path, "-o", "yaml").value
    assert [(item["verdict"], item["passed"]) for item in values] == [("allow", True), ("deny", False)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param(case(expect="yes"), "tests.yaml:12: cases[0].expect", id="no verdict"),
        pytest.param(case(reason="Because"), "Because is no reason", id="no reason"),
        pytest.param(case(resource=""), "state resource, or path", id="neither"),
        pytest.param(case(resource="frobs"), "no resource is called frobs", id="unknown resource"),
        pytest.param(case(resource="deploymnts"), "did you mean deployments?", id="misspelt resource"),
        pytest.param(case(client="dev-1"), "'dev-1' is no subject", id="no client"),
        pytest.param(case(client="serviceaccount:bot"), "names no ServiceAccount", id="half a ServiceAccount"),
        pytest.param(case(after="2 hours"), "is not a duration", id="no duration"),
        pytest.param(case(verbs="get"), "cases[0].verbs: Extra inputs", id="unknown field"),
    ],
)
def test_a_file_that_cannot_be_used_exits_2(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    answer = run_cases(tmp_path, wrong)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_a_folder_without_test_files_exits_2(tmp_path: Path) -> None:
    write(tmp_path / "policy.yaml", policy(rule()))
    assert run("policy", "test", tmp_path).code == 2
