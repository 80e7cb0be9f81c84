"""Which command lines read standard input."""

from __future__ import annotations

import pytest

from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.commands.reading import check_input
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.policy.tools import Tool

pytestmark = pytest.mark.unit

READING = [
    "kubectl diff -f -", "kubectl get -f-", "kubectl apply --filename=-", "kubectl apply --filename - -n x",
    "kubectl delete -Rf -", "kubectl diff -f - | head", "helm upgrade web acme/web -f -", "helm lint ./c --values=-",
    "istioctl validate -f -", "istioctl kube-inject --filename=-", "argocd app create -f -",
    "argocd app create --file -",
]  # fmt: skip
OTHERS = [
    "kubectl apply -f web.yaml", "kubectl exec web -- sort -f -", "kubectl logs -f web", "helm list -f -",
    "helm upgrade web acme/web -f web.yaml", "kubectl get pods -o name | kubectl get -f -",
]  # fmt: skip
FILES = {"web.yaml", "c/Chart.yaml"}


@pytest.mark.parametrize("line", READING)
def test_a_command_that_would_read_nothing_is_refused(line: str) -> None:
    pipeline = parse_command(line, cli=Tool(line.split(maxsplit=1)[0]), files=FILES)
    with pytest.raises(CommandRefused) as refused:
        check_input(pipeline, stdin=b"")
    assert refused.value.reason == "NoInput"
    assert "stdin argument" in refused.value.instead
    check_input(pipeline, stdin=b"kind: Pod")


@pytest.mark.parametrize("line", OTHERS)
def test_one_that_reads_no_standard_input_is_not(line: str) -> None:
    check_input(parse_command(line, cli=Tool(line.split(maxsplit=1)[0]), files=FILES), stdin=b"")


def test_one_with_a_here_document_is_not() -> None:
    check_input(parse_command("kubectl diff -f - <<'EOF'\nkind: Pod\nEOF", cli=Tool.KUBECTL), stdin=b"")
