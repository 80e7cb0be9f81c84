"""`policy who-can`: who may do one thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.policy_commands import enforced, policy, rule, run, write

pytestmark = pytest.mark.unit

ACCOUNT = {"kind": "ServiceAccount", "namespace": "agents", "name": "bot"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two policies: a group that reads, an account that deletes."""
    reader = policy(rule("get list"), name="reader")
    deleter = policy(rule("delete"), name="deleter", subjects=[ACCOUNT])
    return write(tmp_path / "a.yaml", reader, deleter, enforced("team-a"))


def test_whoever_may_is_told_with_policy_and_rule(files: Path) -> None:
    answer = run("policy", "who-can", "delete", "pods", "-n", "team-a", files)
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "SUBJECT                     VERDICT   POLICY    RULE       REASON",
        "serviceaccount agents/bot   allow     deleter   rules[0]   AllowedByRule",
    ]


def test_whoever_may_not_is_told_when_asked_for(files: Path) -> None:
    values = run("policy", "who-can", "delete", "po", "-n", "team-a", files, "--all", "-o", "json").value
    assert [(item["verdict"], item["reason"]) for item in values] == [
        ("deny", "NotAllowed"),
        ("allow", "AllowedByRule"),
    ]


def test_nobody_is_an_answer(files: Path) -> None:
    answer = run("policy", "who-can", "create", "pods/exec", "-n", "team-a", files)
    assert (answer.code, answer.out) == (0, "nobody\n")


def test_a_list_of_all_namespaces_is_filtered(files: Path) -> None:
    (value,) = run("policy", "who-can", "list", "pods", files, "-o", "yaml").value
    assert (value["subject"]["name"], value["verdict"]) == ("oidc:team-a", "filtered")


def test_paths_and_names_can_be_asked_for(tmp_path: Path) -> None:
    paths = policy({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}, name="paths")
    names = policy(rule("get", resourceNames=["web-*"]), name="names")
    path = write(tmp_path / "a.yaml", paths, names, enforced("team-a"))
    assert "paths" in run("policy", "who-can", "get", "/metrics", path).out
    assert "names" in run("policy", "who-can", "get", "pods", "-n", "team-a", "--name", "web-1", path).out
    assert run("policy", "who-can", "get", "pods", "-n", "team-a", "--name", "db", path).out == "nobody\n"


def test_a_namespace_that_no_file_has_is_assumed_and_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", policy(rule("create")))
    answer = run("policy", "who-can", "create", "pods", "-n", "team-a", path)
    assert answer.out.splitlines()[0] == "nobody"  # it has no label that makes Pod Security enforce
    assert "Assumed: namespace team-a exists and has no labels" in answer.out


def test_an_unknown_resource_exits_2(files: Path) -> None:
    answer = run("policy", "who-can", "get", "pdos", files)
    assert (answer.code, "did you mean pods?" in answer.err) == (2, True)
