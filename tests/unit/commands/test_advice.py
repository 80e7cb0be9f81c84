"""Exit codes that are answers, lines that never end, shorter lines, and what needs a shell."""

from __future__ import annotations

import pytest

from k8s_mcp_server.commands.advice import answer_in_exit_code, narrower, without_following
from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.policy.tools import Tool

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("command", "codes", "answer"),
    [
        ("diff -f -", (1,), "the cluster differs from the manifests"),
        ("diff -f -", (2,), ""),
        ("auth can-i get pods", (1,), "the answer is no"),
        ("get pods | grep x", (0, 1), "grep found no line"),
        ("get pods | grep x", (-13, 1), "grep found no line"),
        ("get pods | grep x", (1, 1), ""),
        ("get pods | grep x", (0, 2), ""),
        ("get pods", (1,), ""),
        ("get pods | jq .", (0, 1), ""),
        ("auth whoami", (1,), ""),
        ("get pods", (0,), ""),
    ],
)
def test_an_exit_code_that_answers_is_no_failure(command: str, codes: tuple[int, ...], answer: str) -> None:
    assert answer_in_exit_code(parse_command(command, cli=Tool.KUBECTL), codes) == answer


@pytest.mark.parametrize(
    ("command", "code", "answer"),
    [
        ("istioctl analyze", 79, "istioctl found problems, and names them"),
        ("istioctl analyze", 1, ""),
        ("istioctl version", 65, ""),
    ],
)
def test_istioctl_s_findings_are_no_failure(command: str, code: int, answer: str) -> None:
    assert answer_in_exit_code(parse_command(command, cli=Tool.ISTIOCTL), (code,)) == answer


@pytest.mark.parametrize(
    ("command", "ends"),
    [
        ("get pods -w", "kubectl get pods"),
        ("get pods --watch -n x", "kubectl get pods -n x"),
        ("get pods --watch=true", "kubectl get pods"),
        ("logs -f web -n x", "kubectl logs web -n x --tail=100"),
        ("logs web --follow --tail=5", "kubectl logs web --tail=5"),
        ("events -w", "kubectl events"),
        ("get pods -w | head -5", "kubectl get pods | head -5"),
        ("get pods", ""),
        ("apply -f -", ""),
    ],
)
def test_a_line_that_follows_has_one_that_ends(command: str, ends: str) -> None:
    assert without_following(parse_command(command, cli=Tool.KUBECTL)) == ends


@pytest.mark.parametrize(
    ("command", "shorter"),
    [
        ("logs web", "kubectl logs web --tail=10"),
        ("logs web --tail=500", "kubectl logs web --tail=500 | head -n 10"),
        ("get pods -A -o yaml", "kubectl get pods -A | head -n 10"),
        ("get pods -ojson", "kubectl get pods | head -n 10"),
        ("get pods --output=json", "kubectl get pods | head -n 10"),
        ("get pods -o wide", "kubectl get pods -o wide | head -n 10"),
        ("describe pods", "kubectl describe pods | head -n 10"),
        ("get pods -o json | jq .items", "kubectl get pods -o json | jq .items | head -n 10"),
    ],
)
def test_a_long_output_has_a_shorter_one(command: str, shorter: str) -> None:
    assert narrower(parse_command(command, cli=Tool.KUBECTL), lines=20) == shorter


@pytest.mark.parametrize(
    ("command", "next_command"),
    [
        ("cat web.yaml | kubectl apply -n x -f -", "kubectl apply -n x -f web.yaml"),
        ("cat base/a.yaml | kubectl diff -f - | head -3", "kubectl diff -f base/a.yaml | head -3"),
        ("cat other.yaml | kubectl apply -f -", ""),
        ("cat web.yaml | grep x | kubectl apply -f -", ""),
        ("cat web.yaml base/a.yaml | kubectl apply -f -", ""),
    ],
)
def test_a_file_that_is_only_read_into_a_command_is_named_in_it(command: str, next_command: str) -> None:
    with pytest.raises(CommandRefused) as refused:
        parse_command(command, cli=Tool.KUBECTL, files={"web.yaml", "base/a.yaml"})
    assert (refused.value.reason, refused.value.next_command) == ("UnknownProgram", next_command)


@pytest.mark.parametrize(
    ("command", "reason", "next_command"),
    [
        (
            "get pods -l a=b -o name | xargs kubectl delete",
            "UnknownProgram",
            "kubectl get pods -l a=b -o yaml | kubectl delete -f -",
        ),
        (
            "get pods -oname | xargs -n 1 kubectl label a=b",
            "UnknownProgram",
            "kubectl get pods -oyaml | kubectl label a=b -f -",
        ),
        (
            "get pods -o name | grep web | xargs kubectl delete",
            "UnknownProgram",
            "kubectl get pods -o name | grep web",
        ),
        ("get pods -o name | xargs kubectl logs", "UnknownProgram", "kubectl get pods -o name"),
        ("get pods -o name | xargs", "UnknownProgram", "kubectl get pods -o name"),
        ("logs $(kubectl get pods -o name)", "ShellExpansion", "kubectl get pods -o name"),
        ('logs "$(kubectl get pods -o name)"', "ShellExpansion", "kubectl get pods -o name"),
        ("logs `kubectl get pods -o name`", "ShellExpansion", "kubectl get pods -o name"),
        ("logs $(id)", "ShellExpansion", ""),
        ("for p in a b; do kubectl get pod $p; done", "ShellLoop", "kubectl get pod a"),
        ('for p in a; do kubectl get pod "$p"; done', "ShellLoop", "kubectl get pod a"),
        ("for p in $(kubectl get pods -o name); do kubectl logs $p; done", "ShellLoop", "kubectl get pods -o name"),
        ("while true; do kubectl get pods; sleep 1; done", "ShellLoop", "kubectl get pods"),
        ("if true; then kubectl get pods; fi", "ShellLoop", "kubectl get pods"),
        ("until kubectl get pod web; do sleep 1; done", "ShellLoop", "kubectl get pod web"),
        ("if ! kubectl get ns x; then kubectl create ns x; fi", "ShellLoop", "kubectl get ns x"),
        ("if [ -f x ]; then kubectl delete pod x; fi", "ShellLoop", ""),
        ("while sleep 1; do kubectl get pods; done", "ShellLoop", ""),
        ("edit deploy web -n x", "NotAvailable", "kubectl get deploy web -n x -o yaml"),
        ("apply edit-last-applied deploy web", "NotAvailable", "kubectl get deploy web -o yaml"),
        ("port-forward web 8080:80", "NotAvailable", "kubectl describe pod web"),
        ("port-forward svc/web 8080:80 -n x", "NotAvailable", "kubectl describe svc/web -n x"),
        ("attach web -n x", "NotAvailable", "kubectl logs web -n x --tail=100"),
    ],
)
def test_what_cannot_be_done_is_rewritten(command: str, reason: str, next_command: str) -> None:
    with pytest.raises(CommandRefused) as refused:
        parse_command(command, cli=Tool.KUBECTL)
    assert (refused.value.reason, refused.value.next_command) == (reason, next_command)
    if next_command:
        assert parse_command(next_command, cli=Tool.KUBECTL).stages
