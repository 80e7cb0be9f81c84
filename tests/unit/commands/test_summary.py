"""What of a command reaches the audit log."""

from __future__ import annotations

import pytest

from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.commands.summary import summarize
from k8s_mcp_server.execution.pipeline import Pipeline, Stage
from k8s_mcp_server.policy.tools import Tool

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("command", "subcommand", "flags"),
    [
        pytest.param("get pods my-secret-name", "get", (), id="no names of objects"),
        pytest.param("rollout status deploy/x", "rollout status", (), id="a verb of two words"),
        pytest.param("create secret generic x --from-literal=k=hunter2", "create secret", ("--from-literal",), id="="),
        pytest.param("create x --from-literal k=hunter2", "create", ("--from-literal",), id="value apart"),
        pytest.param("get pods -nteam-a -Aojson", "get", ("-A", "-n", "-o"), id="joined short flags"),
        pytest.param("get pods --all_namespaces", "get", ("--all-namespaces",), id="underscores"),
        pytest.param("-n hunter2 get pods", "get", ("-n",), id="a value before the verb"),
        pytest.param("exec x -- sh -c hunter2 --password=y", "exec", (), id="words after the dashes"),
        pytest.param("get pods --hunter2!=x", "get", ("?",), id="a flag with other characters"),
        pytest.param("kubectl", "", (), id="nothing"),
    ],
)
def test_only_the_clis_own_words_and_flag_names(command: str, subcommand: str, flags: tuple[str, ...]) -> None:
    summary = summarize(parse_command(command, cli=Tool.KUBECTL))
    assert (summary.subcommand, summary.flags) == (subcommand, flags)
    assert "hunter2" not in str(summary).replace("--hunter2", "")


@pytest.mark.parametrize(
    ("tool", "command", "subcommand", "flags"),
    [
        (Tool.ISTIOCTL, "pc routes web-0.hunter2 -o json", "proxy-config route", ("-o",)),
        (Tool.ISTIOCTL, "x des po web -n hunter2", "experimental describe pod", ("-n",)),
        (Tool.ISTIOCTL, "-n hunter2 ps", "proxy-status", ("-n",)),
        (Tool.ISTIOCTL, "analyze -A", "analyze", ("-A",)),
        (Tool.HELM, "ls -n hunter2", "list", ("-n",)),
        (Tool.ARGOCD, "proj role token-list hunter2 x", "proj role list-tokens", ()),
    ],
)  # fmt: skip
def test_each_cli_s_words_are_its_own(tool: Tool, command: str, subcommand: str, flags: tuple[str, ...]) -> None:
    summary = summarize(parse_command(command, cli=tool))
    assert (summary.subcommand, summary.flags) == (subcommand, flags)
    assert "hunter2" not in str(summary)


def test_stages_are_program_names_and_flags_are_those_of_the_cli() -> None:
    pipeline = parse_command("get pods -o json | jq -r .secret | kubectl apply -f -", cli=Tool.KUBECTL)
    summary = summarize(pipeline)
    assert summary.stages == ("kubectl", "jq", "kubectl")
    assert summary.flags == ("-f", "-o")


def test_an_unknown_verb_is_not_recorded() -> None:
    summary = summarize(Pipeline(stages=(Stage(argv=("kubectl", "hunter2")),)))
    assert summary.subcommand == "?"
