"""The examples, checked and tested by the commands that they are examples for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.policy_commands import run

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[3] / "examples" / "policies"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
RISKS = {"WorkloadWrites", "Sensitive"}  # what examples are meant to give


def by_name(path: Path) -> str:
    return path.stem


def test_there_is_one_for_each_kind_of_agent() -> None:
    assert [path.stem for path in EXAMPLES] == [
        "auditor", "chart-deployer", "deployer", "gitops-operator", "mesh-debugger", "on-call", "own-rbac",
        "release-bot", "team-reader",
    ]  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES, ids=by_name)
def test_is_short_enough_to_read(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < 25


@pytest.mark.parametrize("example", EXAMPLES, ids=by_name)
def test_passes_the_check_and_warns_of_nothing_unexpected(example: Path) -> None:
    answer = run("policy", "check", example, "-o", "json")
    assert answer.code == 0
    assert {item["reason"] for item in answer.value} <= RISKS


@pytest.mark.parametrize("example", EXAMPLES, ids=by_name)
def test_passes_its_own_tests(example: Path) -> None:
    answer = run("policy", "test", FOLDER / "tests" / example.name)
    assert answer.code == 0, answer.out


@pytest.mark.parametrize("example", EXAMPLES, ids=by_name)
def test_its_tests_notice_a_missing_rule(tmp_path: Path, example: Path) -> None:
    body = yaml.safe_load(example.read_text(encoding="utf-8"))
    tests = (FOLDER / "tests" / example.name).read_text(encoding="utf-8")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "tests.yaml").write_text(tests, encoding="utf-8")
    rules, denies = body["spec"]["rules"], body["spec"].get("deny", [])
    for gone in (*rules, *denies):
        spec = {**body["spec"], "rules": [item for item in rules if item is not gone]}
        spec["deny"] = [item for item in denies if item is not gone]
        (tmp_path / example.name).write_text(yaml.safe_dump({**body, "spec": spec}), encoding="utf-8")
        assert run("policy", "test", tmp_path / "tests").code == 1, gone


def test_the_demo_s_policies_pass_the_check() -> None:
    assert run("policy", "check", FOLDER.parent / "demo").code == 0
