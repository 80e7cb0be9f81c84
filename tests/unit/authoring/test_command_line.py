"""The commands' help, and what several of them share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from k8s_mcp_server.authoring.cli.app import policy_app
from k8s_mcp_server.authoring.resources import Served, own_crd
from tests.support.audited import PODS, log, record
from tests.support.crd import crd
from tests.support.policy_commands import policy, rule, run, write

pytestmark = pytest.mark.unit

EXAMPLES = Path(__file__).parents[3] / "examples" / "policies"
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


class TestFormats:
    """Every command prints the same values as JSON and as YAML, and something else for people."""

    @pytest.fixture
    def words(self, tmp_path: Path) -> dict[str, tuple[str, ...]]:
        """A command line for each command."""
        old = write(tmp_path / "old.yaml", policy(rule()))
        new = write(tmp_path / "new.yaml", policy(rule("get list delete"), rule("get", "secrets")))
        tests = EXAMPLES / "tests" / "auditor.yaml"
        return {
            "check": (str(new),),
            "test": (str(tests),),
            "explain": ("helm version", str(old), "--as-group", "oidc:team-a"),
            "diff": (str(old), str(new)),
            "who-can": ("get", "pods", "-n", "team-a", str(old)),
            "suggest": (str(log(tmp_path / "audit.log", record(PODS))),),
            "rbac": (str(old),),
            "new": ("--preset", "auditor", "--name", "audit", "--subject", "group:oidc:audit"),
            "grant": ("group:oidc:team-a", "get pods", "-n", "team-a", "--for", "2h", "--reason", "INC-1"),
        }

    @pytest.mark.parametrize("command", [*COMMANDS, "grant"])
    def test_json_and_yaml_say_the_same(self, words: dict[str, tuple[str, ...]], command: str) -> None:
        line = (*(() if command == "grant" else ("policy",)), command, *words[command])
        as_text, as_json, as_yaml = (run(*line, "-o", form) for form in ("text", "json", "yaml"))
        assert as_json.code == as_yaml.code == as_text.code
        assert timeless(json.loads(as_json.out)) == timeless(as_yaml.value)
        assert as_json.out.lstrip()[0] in "[{"
        assert len({as_text.out, as_json.out, as_yaml.out}) >= 2

    def test_no_command_is_left_out(self, words: dict[str, tuple[str, ...]]) -> None:
        known = {item.name for item in policy_app.registered_commands}
        assert words.keys() == known | {"grant"}
        assert set(COMMANDS) == known


def timeless(value: Any) -> Any:
    """Without the moment at which it was printed."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in {"name", "expiresAt", "took"}}
    return [timeless(item) for item in value] if isinstance(value, list) else value


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
