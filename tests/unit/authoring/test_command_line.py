"""The commands' help, and what several of them share."""

from __future__ import annotations

from pathlib import Path

import pytest

from k8s_mcp_server.authoring.resources import Served, own_crd
from tests.support.crd import crd
from tests.support.policy_commands import policy, rule, run, write

pytestmark = pytest.mark.unit

COMMANDS = ("check", "test", "explain", "diff", "who-can", "suggest", "rbac", "new")


def test_help_names_every_command() -> None:
    answer = run("policy", "--help")
    assert answer.code == 0
    assert [name for name in COMMANDS if f"  {name} " not in answer.out] == []


@pytest.mark.parametrize("command", [*(("policy", name) for name in COMMANDS), ("grant",)], ids=" ".join)
def test_every_command_explains_itself_and_its_options(command: tuple[str, ...]) -> None:
    answer = run(*command, "--help")
    assert answer.code == 0
    assert "--output <text|json|yaml>" in answer.out


@pytest.mark.parametrize("command", [*(("policy", name) for name in COMMANDS), ("grant",)], ids=" ".join)
def test_a_command_line_that_lacks_something_exits_2(command: tuple[str, ...]) -> None:
    assert run(*command).code == 2


def test_the_schema_is_the_one_that_is_installed() -> None:
    assert own_crd() == crd()


def test_this_service_s_own_resources_are_known_beside_kubernetes() -> None:
    served = Served.built_in()
    assert str(served.find("mcpap")) == "mcpaccesspolicies.k8s-mcp.io"
    assert str(served.find("deploy/scale")) == "deployments.apps/scale"


class TestExplainWithoutKubectl:
    """What `policy explain` says before it runs anything (with kubectl: tests/integration/test_policy_explain.py)."""

    def explain(self, tmp_path: Path, command: str, *more: str) -> tuple[int, str, str]:
        path = write(tmp_path / "a.yaml", policy(rule()))
        answer = run("policy", "explain", command, path, *more)
        return answer.code, answer.out, answer.err

    def test_a_command_that_the_service_does_not_run_is_refused_with_advice(self, tmp_path: Path) -> None:
        code, out, _ = self.explain(tmp_path, "kubectl get pods | xargs rm", "--as-group", "oidc:team-a")
        assert code == 1
        assert "not run: `xargs` cannot be run here." in out
        assert "[UnknownProgram]" in out

    def test_a_missing_kubectl_exits_2_and_says_how_to_name_it(self, tmp_path: Path) -> None:
        code, out, err = self.explain(tmp_path, "kubectl get pods", "--as", "dev-1", "--tools-dir", str(tmp_path))
        assert (code, out) == (2, "")
        assert "--tools-dir" in err

    def test_nobody_to_ask_as_exits_2(self, tmp_path: Path) -> None:
        code, _, err = self.explain(tmp_path, "kubectl get pods")
        assert (code, "--as" in err) == (2, True)
