"""istioctl's command lines: what runs is written anew from what was understood; nothing else runs."""

from __future__ import annotations

import shlex
from itertools import chain
from pathlib import Path

import pytest

from devtools.istio.table import is_complete
from k8s_mcp_server.commands.istioctl.catalog import ALIASES, SUBCOMMANDS, Group, Offered, Refused
from k8s_mcp_server.commands.istioctl.check import check_istioctl, planned
from k8s_mcp_server.commands.istioctl.parts import Surroundings
from k8s_mcp_server.commands.istioctl.plans import forwards_ports
from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.gateway.plan import CommandPlan
from k8s_mcp_server.policy.tools import Tool

pytestmark = pytest.mark.unit

AROUND = Surroundings(namespace="shop", istio_namespace="istio-system")
WHERE = "--istioNamespace=istio-system"


def written(line: str) -> str:
    words, _ = planned(shlex.split(line), AROUND)
    return shlex.join(words)


def plan(line: str) -> CommandPlan:
    return planned(shlex.split(line), AROUND)[1]


def refusal(line: str) -> CommandRefused:
    with pytest.raises(CommandRefused) as caught:
        planned(shlex.split(line), AROUND)
    return caught.value


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pc clusters cart", f"proxy-config cluster {WHERE} -- cart.shop"),
        ("pc c cart.bank", f"proxy-config cluster {WHERE} -- cart.bank"),
        ("proxy-config cluster -n bank cart", f"proxy-config cluster --namespace=bank {WHERE} -- cart.bank"),
        ("-nbank pc l cart -ojson", f"proxy-config listener --namespace=bank --output=json {WHERE} -- cart.bank"),
        ("pc l --verbose=0 cart", f"proxy-config listener --verbose=false {WHERE} -- cart.shop"),
        ("pc ep deploy/cart.bank --port=80", f"proxy-config endpoint --port=80 {WHERE} -- deployments.apps/cart.bank"),
        ("pc r deployment.apps/cart", f"proxy-config route {WHERE} -- deployments.apps/cart.shop"),
        ("pc b svc/cart", f"proxy-config bootstrap {WHERE} -- services/cart.shop"),
        ("pc rc a.x b.y", f"proxy-config rootca-compare {WHERE} -- a.x b.y"),
        ("pc r -- cart", f"proxy-config route {WHERE} -- cart.shop"),
        ("pc c -f -", f"proxy-config cluster --file=- {WHERE}"),
        ("pc c --file=/dev/stdin", f"proxy-config cluster --file=- {WHERE}"),
        ("ps", f"proxy-status {WHERE}"),
        ("ps -n bank", f"proxy-status --namespace=bank {WHERE}"),
        ("ps cart.v1.bank", f"proxy-status {WHERE} -- cart.v1.bank"),
        ("x describe pod cart", f"experimental describe pod {WHERE} -- cart.shop"),
        ("exp des svc cart.bank", f"experimental describe service {WHERE} -- cart.bank"),
        ("x check-inject -l app=cart", f"experimental check-inject --labels=app=cart {WHERE}"),
        ("analyze -An bank -S x", f"analyze --all-namespaces=true --suppress=x {WHERE}"),
        ("analyze --use-kube=false -", f"analyze --use-kube=false {WHERE} -- -"),
        ("validate -f -", f"validate --filename=- {WHERE}"),
        ("version --remote=F", f"version --remote=false {WHERE}"),
        ("tag show", f"tag list {WHERE}"),
        ("-i istio-system version", f"version {WHERE}"),
        ("help pc clusters", "proxy-config cluster --help=true"),
        ("pc clusters --help ../x", "proxy-config cluster --help=true"),
        ("install -h", "install --help=true"),
        ("--help", "--help=true"),
        ("pc --help", "proxy-config --help=true"),
    ],
)  # fmt: skip
def test_a_command_is_written_anew(line: str, expected: str) -> None:
    assert written(line) == expected
    assert written(expected) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        *[
            (f"{line} {flag}", "FixedTarget")
            for line in ("ps", "pc c cart", "analyze", "version", "kube-inject -f -")
            for flag in (
                "--kubeconfig=/f", "-c /f", "-c/f", "--context x", "--as admin", "--as-group=system:masters",
                "--as-uid 0", "--xds-address evil.example:15012", "--xds-label app=x", "--xds-port 15000",
                "--cert-dir=/etc", "--insecure", "--plaintext", "--authority x", "--proxy-admin-port=22",
                "--vklog 9", "--log_target /f", "--log_as_json", "--kubeclient-timeout 1h",
            )
        ],
        ("ps -i team-a", "FixedTarget"),
        ("pc c cart --istioNamespace=kube-system", "FixedTarget"),
        ("", "UnknownSubcommand"),
        ("-n shop", "UnknownSubcommand"),
        ("pc", "UnknownSubcommand"),
        ("pc eds cart", "UnknownSubcommand"),
        ("pc frobnicate cart", "UnknownSubcommand"),
        ("frobnicate", "UnknownSubcommand"),
        ("__complete pc c ''", "UnknownSubcommand"),
        ("__completeNoDesc ps ''", "UnknownSubcommand"),
        ("collateral --all", "UnknownSubcommand"),
        ("options", "UnknownSubcommand"),
        ("istioctl ps", "UnknownSubcommand"),
        ("PC c cart", "UnknownSubcommand"),
        ("pc -o json c cart", "UnknownFlag"),
        ("pc c cart --waypoint", "UnknownFlag"),
        ("pc l cart --waypoint", "UnknownFlag"),
        ("pc c cart --out json", "UnknownFlag"),
        ("pc c cart -o prom", "UnknownFlag"),
        ("pc c cart -o", "UnknownFlag"),
        ("pc c -f /etc/passwd", "NoFiles"),
        ("pc c cart -n Shop", "UnknownFlag"),
        ("pc c cart -n '*'", "UnknownFlag"),
        ("pc c cart -n ''", "UnknownFlag"),
        ("pc c cart --port 1x", "UnknownFlag"),
        ("pc l cart --verbose=maybe", "UnknownFlag"),
        ("pc c cart --all_namespaces", "UnknownFlag"),
        ("pc log cart --level x::http:debug", "UnknownFlag"),
        ("x es cart -o prom-merged", "UnknownFlag"),
        ("analyze --meshConfigFile /etc/passwd", "UnknownFlag"),
        ("analyze --remote-contexts x", "UnknownFlag"),
        ("analyze -R", "UnknownFlag"),
        ("kube-inject -f https://evil.example/x.yaml", "UnknownFlag"),
        ("kube-inject -f - -o /tmp/x", "UnknownFlag"),
        ("kube-inject -f - --injectConfigFile /etc/passwd", "UnknownFlag"),
        ("validate -f /etc/passwd", "NoFiles"),
        ("validate -f a.yaml,b.yaml", "UnknownFlag"),
        ("ps --file /etc/passwd cart", "UnknownFlag"),
        ("version -s=3", "UnknownFlag"),
        ("analyze /etc", "NoFiles"),
        ("analyze a.yaml", "NoFiles"),
        ("analyze ..", "NoFiles"),
        ("analyze .", "NoFiles"),
        ("pc c -f ../../kubeconfig", "NoFiles"),
        ("pc c", "UnknownOperand"),
        ("pc c a b", "UnknownOperand"),
        ("pc c -f - cart", "UnknownOperand"),
        ("pc rc a", "UnknownOperand"),
        ("ps a b", "UnknownOperand"),
        ("version x", "UnknownOperand"),
        ("validate -f - x", "UnknownOperand"),
        ("pc c secret/x", "UnknownOperand"),
        ("pc c ../x", "UnknownOperand"),
        ("pc c pod/x/log", "UnknownOperand"),
        ("pc c cart.shop.", "UnknownOperand"),
        ("pc c .shop", "UnknownOperand"),
        ("pc c 'cart.shop\n'", "UnknownOperand"),
        ("pc c 'cart.sh op'", "UnknownOperand"),
        ("pc c CART", "UnknownOperand"),
        ("pc c 'a,b.shop'", "UnknownOperand"),
        ("pc c -- -n", "UnknownOperand"),
        ("x describe pod pod/cart", "UnknownOperand"),
        ("x describe service deploy/cart", "UnknownOperand"),
    ],
)  # fmt: skip
def test_what_is_not_offered_is_refused(line: str, reason: str) -> None:
    refused = refusal(line)
    assert refused.reason == reason
    assert refused.instead


REFUSED = sorted(path for path, entry in SUBCOMMANDS.items() if isinstance(entry, Refused))


@pytest.mark.parametrize("path", REFUSED, ids=" ".join)
def test_a_subcommand_that_is_refused_says_what_to_do_instead(path: tuple[str, ...]) -> None:
    for line in (path, (*path, "x"), (*path, "-n", "shop"), ("-n", "shop", *path), (*path, "--level", "debug")):
        with pytest.raises(CommandRefused) as caught:
            planned(line, AROUND)
        assert (caught.value.reason, bool(caught.value.instead)) == ("NotAvailable", True)


@pytest.mark.parametrize("path", REFUSED, ids=" ".join)
def test_what_is_suggested_instead_of_a_refused_subcommand_is_offered(path: tuple[str, ...]) -> None:
    entry = SUBCOMMANDS[path]
    assert isinstance(entry, Refused)
    for text in entry.instead.split("`")[1::2]:
        if text.startswith("istioctl "):
            named = text.replace("POD.NAMESPACE", "cart.shop").replace("NAMESPACE", "shop")
            operand = " cart.shop" if text.endswith(" pod") else ""
            check_istioctl(shlex.split(named + operand)[1:])


def test_every_subcommand_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "istioctl.md").read_text(encoding="utf-8")
    assert is_complete(text)
    assert not is_complete(text.replace("| `istioctl remote-clusters", "| `istioctl x"))


def test_every_alias_is_of_a_subcommand_and_of_one_alone() -> None:
    assert set(ALIASES) <= set(SUBCOMMANDS)
    named = [*SUBCOMMANDS, *chain.from_iterable(((*path[:-1], alias) for alias in ALIASES[path]) for path in ALIASES)]
    assert len(named) == len(set(named))


def test_every_subcommand_is_under_a_group() -> None:
    for path in SUBCOMMANDS:
        if len(path) > 1:
            assert not isinstance(SUBCOMMANDS[path[:-1]], Offered)
    assert all(
        any(each[:-1] == path for each in SUBCOMMANDS)
        for path, entry in SUBCOMMANDS.items()
        if isinstance(entry, Group)
    )


@pytest.mark.parametrize(
    "line",
    [
        "validate -f a.yaml",
        "analyze --use-kube=false a.yaml",
        "analyze -k=false .",
        "analyze -k=false more",
        "pc c -f more/x.json",
    ],
)
def test_files_that_the_command_is_given_are_read(line: str) -> None:
    words = shlex.split(line)
    check_istioctl(words, ["a.yaml", "more/x.json"])
    with pytest.raises(CommandRefused):
        check_istioctl(words, ["b.yaml", "less/x.json"] if line != "analyze -k=false ." else [])


def test_the_name_may_be_left_out_and_filters_may_follow() -> None:
    for line in ("ps | head -1", "istioctl ps | head -1"):
        pipeline = parse_command(line, cli=Tool.ISTIOCTL)
        assert [stage.program for stage in pipeline.stages] == ["istioctl", "head"]


def test_a_line_that_is_not_offered_is_refused_before_anything_runs() -> None:
    with pytest.raises(CommandRefused):
        parse_command("ps | istioctl dashboard kiali", cli=Tool.ISTIOCTL)


def rights(line: str) -> list[str]:
    return [
        f"{right.verb} {right.resource}{' ' + right.name if right.name else ''}"
        f"{' -n ' + right.namespace if right.namespace else ''}"
        for right in plan(line).rights
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("version", ["get meshes"]),
        ("version --remote=false", []),
        ("ps", ["get meshes", "create tokens -n istio-system"]),
        ("ps -n bank", ["list proxystatuses -n bank", "create tokens -n istio-system"]),
        ("ps cart.bank", ["get proxystatuses cart -n bank", "create tokens -n istio-system"]),
        ("ps deploy/cart.bank", ["get proxystatuses -n bank", "create tokens -n istio-system"]),
        ("pc c cart", ["get proxyconfigs cart -n shop"]),
        ("pc c -n bank cart", ["get proxyconfigs cart -n bank"]),
        ("pc c svc/cart", ["get proxyconfigs -n shop"]),
        ("pc c -f -", []),
        ("pc s cart", ["get proxysecrets cart -n shop"]),
        ("pc rc a.x b.y", ["get proxysecrets a -n x", "get proxysecrets b -n y"]),
        ("pc a cart", ["get proxysecrets cart -n shop", "get proxyconfigs cart -n shop"]),
        ("pc o cart", ["get proxyloglevels cart -n shop"]),
        ("pc o cart --level debug", ["update proxyloglevels cart -n shop"]),
        ("pc o cart -r", ["update proxyloglevels cart -n shop"]),
        ("pc o cart --reset=false", ["update proxyloglevels cart -n shop"]),
        ("pc o -l app=cart", ["get proxyloglevels -n shop"]),
        ("x es -l app=cart -n bank", ["get proxyconfigs -n bank"]),
        ("x authz check cart", ["get proxyconfigs cart -n shop"]),
        ("x des pod cart", ["get descriptions cart -n shop"]),
        ("x des svc cart.bank", ["get descriptions -n bank"]),
        ("x check-inject cart.bank", ["get descriptions cart -n bank"]),
        ("x check-inject -l a=b -n bank", ["get descriptions -n bank"]),
        ("x injector list", ["get meshes"]),
        ("x precheck", ["get meshes"]),
        ("remote-clusters", ["get meshes"]),
        ("tag list", ["get meshes"]),
        ("kube-inject -f -", ["get meshes"]),
        ("analyze", ["list analyses -n shop"]),
        ("analyze -n bank", ["list analyses -n bank"]),
        ("analyze -A", ["list analyses"]),
        ("analyze -A=false -n bank", ["list analyses -n bank"]),
        ("analyze -L", []),
        ("analyze -k=false -", []),
        ("validate -f -", []),
        ("waypoint generate", []),
        ("waypoint list", []),
        ("ps --help", []),
    ],
)
def test_a_command_needs_rights_to_what_it_shows(line: str, expected: list[str]) -> None:
    assert rights(line) == expected


OFFERED = {path: entry for path, entry in SUBCOMMANDS.items() if isinstance(entry, Offered)}


def sample(path: tuple[str, ...]) -> str:
    """A line of the subcommand, with operands where it needs some."""
    operands = ["cart.bank"] * OFFERED[path].operands[0]
    return " ".join((*path, *operands))


WITH_PLAN = sorted(path for path in OFFERED if plan(sample(path)).openings)


@pytest.mark.parametrize("path", WITH_PLAN, ids=" ".join)
def test_a_plan_opens_nothing_without_one_of_the_commands_rights(path: tuple[str, ...]) -> None:
    made = plan(sample(path))
    assert made.rights
    assert {opening.right for opening in made.openings} <= {*made.rights, None}


@pytest.mark.parametrize("path", WITH_PLAN, ids=" ".join)
def test_a_plan_reads_and_forwards_and_changes_nothing_else(path: tuple[str, ...]) -> None:
    made = plan(sample(path))
    assert {verb for opening in made.openings for verb in opening.verbs} <= {"get", "list", "watch", "create"}
    created = {opening.resource for opening in made.openings if "create" in opening.verbs}
    assert created <= {"pods/portforward", "serviceaccounts/token"}
    assert not any(opening.group == "" and opening.resource == "secrets" and opening.right for opening in made.openings)


@pytest.mark.parametrize("path", WITH_PLAN, ids=" ".join)
def test_a_plan_stays_in_the_namespaces_of_its_operands_and_of_the_control_plane(path: tuple[str, ...]) -> None:
    elsewhere = {
        (opening.group, opening.resource)
        for opening in plan(sample(path)).openings
        if opening.namespace not in {"bank", "shop", "istio-system"} and opening.right
    }
    assert elsewhere <= {
        ("", "namespaces"),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
    }


@pytest.mark.parametrize("path", WITH_PLAN, ids=" ".join)
def test_a_port_forward_is_for_planned_requests_or_for_istiods_encrypted_ports(path: tuple[str, ...]) -> None:
    made = plan(sample(path))
    forwards = [opening for opening in made.openings if opening.resource == "pods/portforward"]
    assert forwards_ports(made) == bool(forwards)
    for opening in forwards:
        assert opening.ports
        for port, requests in opening.ports.items():
            if requests is None:
                assert (opening.namespace, port) in {("istio-system", 15012), ("istio-system", 15017)}
            else:
                assert all(each.startswith("GET /") or path[-1] == "log" for each in requests)


@pytest.mark.parametrize(
    ("line", "requests"),
    [
        ("pc log cart", {"POST /logging"}),
        ("pc log cart --level debug", {"POST /logging", "POST /logging?level=debug"}),
        ("pc log cart --level warn", {"POST /logging", "POST /logging?level=warning"}),
        (
            "pc log cart --level http:debug,redis=info",
            {"POST /logging", "POST /logging?http=debug", "POST /logging?redis=info"},
        ),
        (
            "pc log cart -r",
            {
                "POST /logging",
                *(
                    f"POST /logging?level={level}"
                    for level in ("trace", "debug", "info", "warning", "error", "critical", "off")
                ),
            },
        ),
    ],
)
def test_log_levels_are_changed_to_what_the_command_says(line: str, requests: set[str]) -> None:
    [forward] = [opening for opening in plan(line).openings if opening.resource == "pods/portforward"]
    assert forward.ports == {15000: frozenset(requests)}
