"""helm's command lines: the catalogue against the helm that is bundled, and how words are read and refused."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devtools.charts.table import BEGIN, DOCUMENT, END
from devtools.subcommands import between
from devtools.toolchain.ensure import ensure_tools
from k8s_mcp_server.commands.dry_run import without_waiting
from k8s_mcp_server.commands.helm.catalog import (
    ALIASES,
    CHART_OPERAND,
    FLAGS,
    GLOBAL_FLAGS,
    GROUPS,
    REFUSED,
    REFUSED_FLAGS,
    SWITCHES_REFUSED,
    VERSION,
    FlagSpec,
    Value,
)
from k8s_mcp_server.commands.helm.check import check_helm
from k8s_mcp_server.commands.helm.words import HelmCommand, HelmFlag, read_helm, subcommand_of
from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.commands.summary import summarize
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.policy.tools import Tool

# A cold machine builds helm first.
pytestmark = [pytest.mark.unit, pytest.mark.timeout(1800)]

FLAG = re.compile(r"^ +(?:-(?P<letter>\w), )?--(?P<name>[\w-]+)(?: (?P<type>[^\s\[]+))?(?P<optional>\[=[^\]]*\])?   ")
# Deprecated flags, which helm's help does not show.
HIDDEN = {
    "install": {"atomic", "force"},
    "upgrade": {"atomic", "force"},
    "rollback": {"force"},
    "template": {"atomic", "force", "hide-notes", "render-subchart-notes", "validate"},
}


@cache
def helm_path() -> Path:
    path: Path = ensure_tools(["helm"])["helm"]
    return path


@cache
def help_of(name: str) -> str:
    environment = {"HOME": "/nonexistent", "PATH": "/nonexistent"}
    words = [str(helm_path()), *name.split(), "--help"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True, timeout=30)
    return str(done.stdout)


def subcommands_in(text: str) -> set[str]:
    block = re.search(r"^Available Commands:\n((?:  \S.*\n)*)", text, re.MULTILINE)
    return {line.split()[0] for line in block[1].splitlines()} if block else set()


def flags_in(text: str) -> dict[str, FlagSpec]:
    found = {}
    for line in text.splitlines():
        if match := FLAG.match(line):
            value = Value.JOINED if match["optional"] else Value.NEEDED if match["type"] else Value.NONE
            found[match["name"]] = FlagSpec(name=match["name"], letter=match["letter"] or "", value=value)
    return found


def own_flags(name: str) -> dict[str, FlagSpec]:
    usage = help_of(name).partition("\nUsage:\n")[2]
    return flags_in(usage.partition("\nGlobal Flags:")[0])


def test_every_subcommand_of_this_helm_is_known_and_has_an_answer() -> None:
    top = subcommands_in(help_of(""))
    found = {name for name in top if not subcommands_in(help_of(name))}
    found |= {f"{group} {name}" for group in top for name in subcommands_in(help_of(group))}
    assert found | {"docs"} == set(FLAGS) | set(REFUSED)
    assert {name for name in top if subcommands_in(help_of(name))} == GROUPS
    assert not set(FLAGS) & set(REFUSED)


def test_the_version_is_the_bundled_one() -> None:
    done = subprocess.run([helm_path(), "version", "--short"], env={}, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"v{VERSION}.")


@pytest.mark.parametrize("name", sorted(set(FLAGS) - {"help"}))
def test_every_flag_of_a_subcommand_is_known(name: str) -> None:
    real = own_flags(name)
    expected = {flag: spec for flag, spec in real.items() if flag not in REFUSED_FLAGS and flag != "help"}
    known = {flag: spec for flag, spec in FLAGS[name].items() if flag not in HIDDEN.get(name, set())}
    assert known == expected
    for flag in set(real) & set(REFUSED_FLAGS):
        assert (real[flag].value is Value.NONE) is (flag in SWITCHES_REFUSED), flag


def test_hidden_flags_are_still_helms() -> None:
    for name, flags in HIDDEN.items():
        for flag in flags:
            environment = {"HOME": "/nonexistent"}
            words = [str(helm_path()), *name.split(), f"--{flag}", "--no-such-flag"]
            done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=30)
            assert "unknown flag: --no-such-flag" in done.stderr, (name, flag, done.stderr)


def test_global_flags_are_helms() -> None:
    real = flags_in(help_of("").partition("\nFlags:\n")[2])
    known = {flag: spec for flag, spec in real.items() if flag not in REFUSED_FLAGS}
    assert known == GLOBAL_FLAGS


def test_aliases_are_helms() -> None:
    found = {}
    for name in sorted({*FLAGS, *REFUSED, *GROUPS} - {"help"}):
        block = re.search(r"^Aliases:\n  (.*)$", help_of(name), re.MULTILINE)
        group, _, own = name.rpartition(" ")
        for alias in block[1].split(", ") if block else []:
            if alias != own:
                found[f"{group} {alias}".strip()] = name
    assert found == ALIASES


def test_the_document_has_every_flag_that_is_refused() -> None:
    _, tables, _ = between(DOCUMENT.read_text(encoding="utf-8"), begin=BEGIN, end=END)
    assert set(re.findall(r"`--([\w-]+)`", tables.partition("| flag that is refused |")[2])) == set(REFUSED_FLAGS)


def test_the_tables_speak_of_subcommands_that_there_are() -> None:
    assert set(CHART_OPERAND) <= set(FLAGS)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("list -A", "list --all-namespaces", id="a letter"),
        pytest.param("ls -Aq -n team-a", "list --all-namespaces --short --namespace=team-a", id="letters together"),
        pytest.param("-nteam-a ls -ojson", "list --namespace=team-a --output=json", id="a joined value"),
        pytest.param("get values web --all", "get values --all -- web", id="two words"),
        pytest.param("un web", "uninstall -- web", id="an alias"),
        pytest.param("inspect values acme/web", "show values -- acme/web", id="an alias of a group"),
        pytest.param(
            "upgrade web acme/web --install --wait --timeout 5m --atomic",
            "upgrade --install --wait --timeout=5m --atomic -- web acme/web",
            id="what models type",
        ),
        pytest.param("install web acme/web --dry-run", "install --dry-run -- web acme/web", id="an optional value"),
        pytest.param("install --wait=legacy web a/b", "install --wait=legacy -- web a/b", id="with one"),
        pytest.param("status -- --kube-token=x", "status -- --kube-token=x", id="behind the dashes"),
        pytest.param("install w a/b --set a=b,c=d", "install --set=a=b,c=d -- w a/b", id="a value with signs"),
        pytest.param("--debug=false version", "version --debug=false", id="a switch that is off"),
        pytest.param("help install", "help -- install", id="help"),
        pytest.param("env --help", "env --help", id="help for what does not work"),
        pytest.param("get --help", "get --help", id="help for a group"),
    ],
)
def test_words_are_written_anew(line: str, expected: str) -> None:
    assert " ".join(read_helm(line.split()).words()) == expected


@pytest.mark.parametrize(
    ("line", "reason", "said"),
    [
        ("list --kube-apiserver https://evil", "FixedFlag", "helm list`"),
        ("--kube-token x list", "FixedFlag", "`helm list`"),
        ("list --kube-as-user=admin", "FixedFlag", "`helm list`"),
        ("list --kube-context other -A", "FixedFlag", "`helm list -A`"),
        ("list --kubeconfig /dev/null", "FixedFlag", ""),
        ("list --kube-insecure-skip-tls-verify -q", "FixedFlag", "`helm list -q`"),
        ("template x oci://evil/c --post-renderer /bin/sh", "FixedFlag", "local programs"),
        ("install x a/b --ca-file /etc/passwd", "FixedFlag", ""),
        ("install x a/b --username u --password p", "FixedFlag", ""),
        ("push a.tgz oci://a/b", "NotAvailable", "where the chart is built"),
        ("repo list", "NotAvailable", "helm search repo"),
        ("repo add a https://a.example", "NotAvailable", "the policy's"),
        ("repo update", "NotAvailable", "the policy's"),
        ("registry login a.example", "NotAvailable", "the service's"),
        ("search hub x", "NotAvailable", "helm search repo"),
        ("install x a/b --plain-http", "FixedFlag", ""),
        ("install x a/b --pass-credentials", "FixedFlag", ""),
        ("pull a/b --untardir /tmp", "FixedFlag", ""),
        ("install x https:evil/c", "NoChart", "./chart"),
        ("install x acme/web/../x", "NoChart", "./chart"),
        ("template x a/b --output-dir /tmp", "FixedFlag", "Write: `helm template x a/b`. The output comes back to you"),
        ("install x a/b --repository-config=/tmp/x", "FixedFlag", ""),
        ("install x a/b --set --kubeconfig=/x", "IncompleteFlag", "--set=VALUE"),
        ("install x a/b --set", "IncompleteFlag", ""),
        ("list --all-namespaces=no", "IncompleteFlag", "--all-namespaces"),
        ("list --all_namespaces", "UnknownFlag", "--all-namespaces"),
        ("list --namespac x", "UnknownFlag", "--namespace"),
        ("list -v=9", "UnknownFlag", "helm help list"),
        ("env", "NotAvailable", "check_access"),
        ("repo add evil https://evil.example", "NotAvailable", ""),
        ("plugin install x", "NotAvailable", ""),
        ("registry login evil", "NotAvailable", ""),
        ("search hub x", "NotAvailable", ""),
        ("create x", "NotAvailable", ""),
        ("foo", "UnknownSubcommand", ""),
        ("instal x a/b", "UnknownSubcommand", "helm install"),
        ("get", "UnknownSubcommand", "values"),
        ("get valuse web", "UnknownSubcommand", "helm get values"),
        ("__complete list", "UnknownSubcommand", ""),
        ("show values /etc", "NoChart", ""),
        ("show all ./", "NoChart", ""),
        ("install x ../chart", "NoChart", ""),
        ("install x chart", "NoChart", ""),
        ("install x http://charts.example/x.tgz", "NoChart", ""),
        ("lint acme/web", "NoChart", ""),
        ("install x a/b -f /etc/passwd", "NoFiles", "-f -"),
        ("install x a/b --values=-,/etc/passwd", "NoFiles", ""),
        ("install x a/b -f https://evil/values.yaml", "NoFiles", "an address"),
        ("install x a/b --set-file a=/etc/passwd", "NoFiles", "--set-file a=values.txt"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_write(line: str, reason: str, said: str) -> None:
    with pytest.raises(CommandRefused) as refused:
        parse_command(line, cli=Tool.HELM)
    assert refused.value.reason == reason
    assert said in refused.value.message + refused.value.instead
    assert refused.value.instead


@pytest.mark.parametrize(
    "flag", ["--verify", "--prov", "--post-renderer=/bin/sh", "--enable-dns", "--dependency-update"]
)
def test_no_command_is_suggested_that_would_do_something_else_than_was_meant(flag: str) -> None:
    with pytest.raises(CommandRefused) as refused:
        parse_command(f"install x acme/web {flag}", cli=Tool.HELM)
    assert refused.value.reason == "FixedFlag"
    assert refused.value.instead
    assert not refused.value.next_command


def test_values_come_from_stdin_from_set_and_from_the_files_argument() -> None:
    words = ["install", "x", "./chart", "-f", "-", "--set", "a=b", "--set-file", "c=-", "--set-json", "d=[1]"]
    check_helm([*words, "-f", "values.yaml"], {"chart/Chart.yaml", "values.yaml"})


@given(
    name=st.sampled_from(sorted(FLAGS)),
    operands=st.lists(st.text("abc-/=.,{}'\" ", min_size=1, max_size=8), max_size=3),
    data=st.data(),
)
def test_what_is_written_is_read_as_the_same(name: str, operands: list[str], data: st.DataObject) -> None:
    known = {**GLOBAL_FLAGS, **FLAGS[name]}
    flags = []
    for flag in data.draw(st.lists(st.sampled_from(sorted(known)), max_size=4)):
        value = None if known[flag].value is Value.NONE else data.draw(st.text("ab-=, ", max_size=6))
        flags.append(HelmFlag(name=flag, value=value))
    command = HelmCommand(name=name, flags=tuple(flags), operands=tuple(operands))
    assert read_helm(command.words()) == command


def test_the_audit_log_gets_the_subcommand_and_no_values() -> None:
    line = "upgrade -n team-a web chart --set password=hunter2 -f - | grep x"
    summary = summarize(parse_command(line, cli=Tool.HELM, files=["chart/Chart.yaml"]))
    assert summary.subcommand == "upgrade"
    assert summary.flags == ("--set", "-f", "-n")
    assert "hunter2" not in repr(summary)
    assert subcommand_of(["get", "values", "x"]) == "get values"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("upgrade web ./chart --install", "helm upgrade --install --dry-run=server -- web ./chart"),
        ("install web ./chart --dry-run=none", "helm install --dry-run=server -- web ./chart"),
        ("rollback web", "helm rollback --dry-run=server -- web"),
        ("uninstall web", "helm uninstall --dry-run -- web"),
        ("list -A", "helm list -A"),
    ],
)
def test_helm_simulates_what_a_policy_makes_a_dry_run(line: str, expected: str) -> None:
    (stage,) = without_waiting(parse_command(line, cli=Tool.HELM, files=["chart/Chart.yaml"])).stages
    assert " ".join(stage.argv) == expected
