"""`policy new` and `grant`: what they print can be applied, and gives what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from k8s_mcp_server.authoring.presets import SHORTCUTS, Preset
from tests.support.policy_commands import Answer, crd, enforced, run, write

pytestmark = pytest.mark.unit

SUBJECT = "serviceaccount:agents/bot"


def new(preset: str, *more: str) -> Answer:
    return run("policy", "new", "--preset", preset, "--name", "a", "--subject", SUBJECT, *more)


def grant(rule: str, *more: str, subject: str = "group:oidc:on-call") -> Answer:
    return run("grant", subject, rule, "--reason", "INC-1", *more)


def who_can(tmp_path: Path, printed: Answer, verb: str, resource: str) -> bool:
    """Whether anybody may do it in shop, by what was printed."""
    assert printed.code == 0, printed.err
    path = tmp_path / "printed.yaml"
    path.write_text(printed.out, encoding="utf-8")
    answer = run("policy", "who-can", verb, resource, "-n", "shop", path, write(tmp_path / "ns.yaml", enforced("shop")))
    return not answer.out.startswith("nobody")


@pytest.mark.parametrize("preset", list(Preset))
def test_every_preset_passes_the_check(tmp_path: Path, preset: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(new(preset, "-n", "shop").out, encoding="utf-8")
    assert run("policy", "check", path).code == 0


@pytest.mark.parametrize(
    ("preset", "may", "may_not"),
    [
        pytest.param("reader", ["get pods", "get pods/log"], ["get secrets", "delete pods"], id="reader"),
        pytest.param(
            "deployer",
            ["create deployments", "patch deployments/scale", "delete pods"],
            ["create pods/exec", "get secrets", "create rolebindings"],
            id="deployer",
        ),
        pytest.param("auditor", ["list roles", "get nodes"], ["get secrets", "patch roles"], id="auditor"),
        pytest.param(
            "on-call", ["create pods/exec", "delete pods", "patch deployments"], ["create deployments"], id="on-call"
        ),
        pytest.param(
            "release-bot",
            ["patch deployments", "get pods/log"],
            ["create deployments", "delete pods"],
            id="release-bot",
        ),
    ],
)
def test_a_preset_gives_what_its_name_says(tmp_path: Path, preset: str, may: list[str], may_not: list[str]) -> None:
    printed = new(preset, "-n", "shop")
    assert [item for item in may if not who_can(tmp_path, printed, *item.split())] == []
    assert [item for item in may_not if who_can(tmp_path, printed, *item.split())] == []


def test_only_on_call_ends_by_itself() -> None:
    assert new("on-call", "-n", "shop", "--for", "90m").value["spec"]["expiresAfter"] == "90m"
    assert "expiresAfter" not in new("reader", "-n", "shop").value["spec"]


def test_a_preset_that_works_somewhere_must_be_told_where() -> None:
    answer = new("reader")
    assert (answer.code, answer.out) == (2, "")
    assert "--namespace" in answer.err


def test_several_subjects_and_namespaces_can_be_stated() -> None:
    value = new("reader", "--subject", "user:oidc:dev-1", "-n", "a", "-n", "b-*").value
    assert [item["kind"] for item in value["spec"]["subjects"]] == ["ServiceAccount", "User"]
    assert value["spec"]["rules"][0]["namespaces"] == ["a", "b-*"]


def test_machines_get_json() -> None:
    assert new("auditor", "-o", "json").value["kind"] == "McpAccessPolicy"


def test_break_glass_is_one_line_and_ends_by_itself(tmp_path: Path) -> None:
    printed = grant("exec", "-n", "shop", "--for", "2h")
    spec = printed.value["spec"]
    assert (spec["expiresAfter"], spec["reason"]) == ("2h", "INC-1")
    assert spec["subjects"] == [{"kind": "Group", "name": "oidc:on-call"}]
    assert who_can(tmp_path, printed, "create", "pods/exec")
    assert not who_can(tmp_path, printed, "delete", "pods")


@pytest.mark.parametrize("shortcut", list(SHORTCUTS))
def test_every_shortcut_passes_the_check(tmp_path: Path, shortcut: str) -> None:
    assert who_can(tmp_path, grant(shortcut, "-n", "shop"), "get", "pods" if shortcut != "scale" else "deployments")


@pytest.mark.parametrize(
    ("rule", "rules"),
    [
        pytest.param(
            "get,delete po,deploy",
            [
                {"namespaces": ["shop"], "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"]},
                {
                    "namespaces": ["shop"],
                    "apiGroups": ["apps"],
                    "resources": ["deployments"],
                    "verbs": ["get", "delete"],
                },
            ],
            id="short names of several groups",
        ),
        pytest.param(
            "patch nodes",
            [{"clusterScoped": True, "apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]}],
            id="cluster-scoped",
        ),
        pytest.param(
            "get,list *",
            [{"namespaces": ["shop"], "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}],
            id="everything to read",
        ),
    ],
)
def test_a_rule_is_verbs_and_resources(rule: str, rules: list[dict[str, Any]]) -> None:
    assert grant(rule, "-n", "shop").value["spec"]["rules"] == rules


def test_each_grant_has_a_name_of_its_own_by_subject_and_time() -> None:
    name = grant("logs", "-n", "shop", subject=SUBJECT).value["metadata"]["name"]
    assert name.startswith("grant-agents-bot-2")


def test_custom_resources_can_be_granted_by_their_crd(tmp_path: Path) -> None:
    path = write(tmp_path / "crd.yaml", crd("widgets", group="example.com", kind="Widget"))
    (rule,) = grant("get widget", "-n", "shop", "--crds", str(path)).value["spec"]["rules"]
    assert (rule["apiGroups"], rule["resources"]) == (["example.com"], ["widgets"])


def test_what_it_amounts_to_is_said_beside_it() -> None:
    assert "gives create pods/exec [Sensitive]" in grant("exec", "-n", "shop").err


@pytest.mark.parametrize(
    ("rule", "more", "code"),
    [
        pytest.param("get pods", [], 2, id="no namespace"),
        pytest.param("pods", ["-n", "shop"], 2, id="no verb"),
        pytest.param("get frobs", ["-n", "shop"], 2, id="unknown resource"),
        pytest.param("delete *", ["-n", "shop"], 2, id="writing everything"),
        pytest.param("edit pods", ["-n", "shop"], 1, id="no verb of RBAC"),
        pytest.param("get pods", ["-n", "shop", "--for", "2d"], 1, id="no duration"),
        pytest.param("get pods", ["-n", "Shop"], 1, id="no namespace's name"),
    ],
)
def test_nothing_is_printed_that_would_not_do(rule: str, more: list[str], code: int) -> None:
    answer = grant(rule, *more)
    assert (answer.code, answer.out) == (code, "")
    assert answer.err


def test_an_unknown_form_of_subject_exits_2() -> None:
    assert grant("exec", "-n", "shop", subject="on-call").code == 2


def test_a_reason_is_asked_for() -> None:
    assert run("grant", "group:x", "exec", "-n", "shop").code == 2
