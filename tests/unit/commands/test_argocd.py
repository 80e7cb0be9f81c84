"""argocd's command lines: what passes, and refusals that teach."""

from __future__ import annotations

import shlex

import pytest

from k8s_mcp_server.commands.argocd.catalog import ALIASES, GROUPS, MISSING
from k8s_mcp_server.commands.argocd.check import argocd_helper, chosen_instance, without_instance
from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.commands.summary import summarize
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.policy.tools import Tool

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "command",
    [
        "app list",
        "argocd app list -o json | jq -r '.[].metadata.name'",
        "app get web --refresh",
        "app get argocd/web -o yaml",
        "app sync web --prune --timeout 60",
        "app sync -l team=a --async",
        "app set web --values values.yaml",  # in the repository
        "app set web --values-literal-file /dev/stdin",
        "app create -f -",
        "app create web --file=/dev/stdin --upsert",
        "app logs web -f --tail 5",
        "app actions run web restart --kind Deployment --all",
        "app delete web -y",
        "project list",
        "proj role list team-a",
        "proj role list-token team-a x",
        "account whoami",
        "account bcrypt --password x",
        "app edit --help",
        "admin --help",
        "version --client",
        "app list --grpc-web --logformat text --loglevel debug",
        "--argocd-context main app list",
        "app",
        "help app",
        "",
    ],
)
def test_it_passes(command: str) -> None:
    assert parse_command(command or "argocd", cli=Tool.ARGOCD).stages[0].program == "argocd"


@pytest.mark.parametrize(
    ("command", "reason", "instead"),
    [
        pytest.param("app list --server x", "FixedTarget", "`argocd app list`", id="a server"),
        pytest.param("app list --server=x -o json", "FixedTarget", "`argocd app list -o json`", id="a server, joined"),
        pytest.param("--auth-token x app list", "FixedTarget", "`argocd app list`", id="a token"),
        pytest.param("app list -H 'a: b'", "FixedTarget", "`argocd app list`", id="a header"),
        pytest.param("app list --core -o json", "FixedTarget", "`argocd app list -o json`", id="core"),
        pytest.param("app list --port-forward", "FixedTarget", "`argocd app list`", id="a port forward"),
        pytest.param("app list --grpc_web_root_path x", "FixedTarget", "`argocd app list`", id="underscores"),
        pytest.param("login x", "NotAvailable", "get-user-info", id="login"),
        pytest.param("account generate-token", "NotAvailable", "administrator", id="a token of an account"),
        pytest.param("proj role create-token a b", "NotAvailable", "administrator", id="a token of a project"),
        pytest.param("project role token-create a b", "NotAvailable", "administrator", id="by other words"),
        pytest.param("repo add x", "NotAvailable", "repo list", id="credentials"),
        pytest.param("repocreds list", "NotAvailable", "repo list", id="a group that is missing"),
        pytest.param("appset list", "NotAvailable", "kubectl get applicationsets.argoproj.io", id="ApplicationSets"),
        pytest.param("admin export", "NotAvailable", "argocd app", id="admin"),
        pytest.param("context main", "NotAvailable", "--argocd-context NAME", id="contexts"),
        pytest.param("app edit web", "NotAvailable", "Write: `argocd app get web -o yaml`. Use", id="an editor"),
        pytest.param("app edit", "NotAvailable", "Use `argocd app set`", id="an editor of nothing"),
        pytest.param("app create -f app.yaml", "NoFiles", "`argocd app create -f -`", id="a file"),
        pytest.param("app create --file https://x/y", "NoFiles", "`files`", id="an address"),
        pytest.param("app set web --values-literal-file x.yaml", "NoFiles", "/dev/stdin", id="values in a file"),
        pytest.param("app sync web --local .", "NoFiles", "--revision", id="a folder"),
        pytest.param("app diff web --local /etc", "NoFiles", "--revision", id="a folder of the machine"),
        pytest.param("apps", "UnknownVerb", "`argocd app list`", id="a habit"),
        pytest.param("app refresh web", "UnknownVerb", "`argocd app get --refresh web`", id="a habit of two words"),
        pytest.param("app rm web -y", "UnknownVerb", "`argocd app delete web -y`", id="rm"),
        pytest.param("app synk web", "UnknownVerb", "`argocd app sync web`", id="a slip"),
        pytest.param("whoami", "UnknownVerb", "`argocd account get-user-info`", id="whoami"),
        pytest.param("proj role frobnicate x", "UnknownVerb", "There are: ", id="nothing near"),
        pytest.param("__complete app get ''", "UnknownVerb", "There are: ", id="a hidden subcommand"),
    ],
)
def test_it_is_refused_with_what_to_do_instead(command: str, reason: str, instead: str) -> None:
    with pytest.raises(CommandRefused) as refused:
        parse_command(command, cli=Tool.ARGOCD)
    assert refused.value.reason == reason
    assert instead in refused.value.instead


def test_a_file_of_the_command_is_there() -> None:
    command = "app create -f apps/web.yaml"
    assert parse_command(command, cli=Tool.ARGOCD, files=["apps/web.yaml"]).stages
    with pytest.raises(CommandRefused):
        parse_command(command, cli=Tool.ARGOCD, files=["other.yaml"])


@pytest.mark.parametrize(
    ("command", "instance", "rest"),
    [
        ("app list", "", "app list"),
        ("app list --argocd-context prod", "prod", "app list"),
        ("--argocd-context=prod app list", "prod", "app list"),
        ("--argocd_context prod app list", "prod", "app list"),
        ("app list --argocd-context a --argocd-context b -o json", "b", "app list -o json"),
        ("app get --argocd-context=prod -- --argocd-context", "prod", "app get -- --argocd-context"),
    ],
)
def test_the_instance_is_what_the_flag_says(command: str, instance: str, rest: str) -> None:
    words = shlex.split(command)
    assert chosen_instance(words) == instance
    assert without_instance(words) == tuple(shlex.split(rest))


def test_only_a_difference_needs_another_program() -> None:
    assert argocd_helper(["app", "diff", "web"]) == "diff"
    assert argocd_helper(["app", "get", "diff"]) == ""


@pytest.mark.parametrize(
    ("command", "subcommand", "flags"),
    [
        ("app get my-secret-app -o yaml", "app get", ("-o",)),
        ("project role list x", "proj role list", ()),
        ("app create --helm-set password=hunter2 x", "app create", ("--helm-set",)),
        ("app", "app", ()),
    ],
)
def test_the_audit_log_gets_argocds_own_words_alone(command: str, subcommand: str, flags: tuple[str, ...]) -> None:
    summary = summarize(parse_command(command, cli=Tool.ARGOCD))
    assert (summary.subcommand, summary.flags) == (subcommand, flags)


def test_the_catalogue_names_only_subcommands_that_there_are() -> None:
    known = {f"{group} {word}".strip() for group, words in GROUPS.items() for word in words}
    assert MISSING.keys() <= known
    assert set(ALIASES.values()) <= known
    assert not ALIASES.keys() & known
    assert GROUPS.keys() - {""} <= known
