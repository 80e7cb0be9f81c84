"""What models write around a command works, or is answered with the command as it would be."""

from __future__ import annotations

import pytest

from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.commands.typed import shown
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.policy.tools import Tool

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("$ kubectl get pods", "kubectl get pods"),
        ("$ get pods", "kubectl get pods"),
        ("```\nkubectl get pods\n```", "kubectl get pods"),
        ("```bash\n$ kubectl get pods -n x \\\n  -o wide\n```\n", "kubectl get pods -n x -o wide"),
        ("# all of them\n\nkubectl get pods", "kubectl get pods"),
        ("kubectl get pods # all of them", "kubectl get pods"),
        ("kubectl get pods;", "kubectl get pods"),
        ("/usr/local/bin/kubectl get pods", "kubectl get pods"),
        ("kubectl.exe get pods", "kubectl get pods"),
        ("!kubectl get pods", "kubectl get pods"),
        ("kubectl get pods -o name | /usr/bin/kubectl get -f -", "kubectl get pods -o name | kubectl get -f -"),
    ],
)
def test_what_has_one_meaning_is_taken_off(written: str, meant: str) -> None:
    assert shown(parse_command(written, cli=Tool.KUBECTL).stages) == meant


@pytest.mark.parametrize(
    ("written", "stdin"),
    [
        ("cat <<'EOF' | kubectl apply -f -\nkind: List\nEOF\n", b"kind: List\n"),
        ("cat - <<EOF | kubectl apply -f -\nkind: List\nEOF", b"kind: List\n"),
        ("echo 'kind: List' | kubectl apply -f -", b"kind: List\n"),
        ("echo kind: List | apply -f -", b"kind: List\n"),
    ],
)
def test_text_that_is_piped_into_a_command_is_its_input(written: str, stdin: bytes) -> None:
    pipeline = parse_command(written, cli=Tool.KUBECTL)
    assert (shown(pipeline.stages), pipeline.stdin) in {
        ("kubectl apply -f -", stdin),
        ("apply -f -", stdin),
    }


@pytest.mark.parametrize(
    ("tool", "written", "suggested"),
    [
        (Tool.KUBECTL, "# kubectl get pods", "kubectl get pods"),
        (Tool.KUBECTL, '{"command": "get pods", "timeout": 5}', "get pods"),
        (Tool.KUBECTL, "kubectl get pods \u2013n x", "kubectl get pods -n x"),
        (Tool.KUBECTL, "kubectl get pods \u2014all-namespaces", "kubectl get pods --all-namespaces"),
        (Tool.KUBECTL, "kubectl get pods -l \u201capp=web\u201d", 'kubectl get pods -l "app=web"'),
        (Tool.KUBECTL, "bash -c 'kubectl get pods | wc -l'", "kubectl get pods | wc -l"),
        (Tool.KUBECTL, "export NS=x; kubectl get pods -n x", "kubectl get pods -n x"),
        (Tool.KUBECTL, "cd /tmp && kubectl get pods", "kubectl get pods"),
        (Tool.KUBECTL, "kubectl get pods | while read p; do echo $p; done", "kubectl get pods"),
        (Tool.KUBECTL, "kubectl get pods \\ \n  -n x", "kubectl get pods -n x"),
        (Tool.KUBECTL, 'kubectl get pods | awk "{print $1}"', "kubectl get pods | awk '{print $1}'"),
        (Tool.KUBECTL, "kubectl get pods -l app in (a,b) -n x", "kubectl get pods -l app in '(a,b)' -n x"),
        (Tool.KUBECTL, "kubectl get pods | less", "kubectl get pods"),
        (Tool.KUBECTL, "kubectl get pods | cat | wc -l", "kubectl get pods | wc -l"),
        (Tool.KUBECTL, "kubectl get pods | egrep 'a|b' | wc -l", "kubectl get pods | grep -E 'a|b' | wc -l"),
        (
            Tool.KUBECTL,
            "kubectl get secret s -n x -o jsonpath='{.data.key}' | base64 -d",
            "kubectl get secret s -n x -o json | jq -r '.data[\"key\"] | @base64d'",
        ),
        (Tool.KUBECTL, "kubectl tree deployment web", ""),
        (Tool.KUBECTL, "kubectx prod", ""),
        (Tool.KUBECTL, "gte pods", "kubectl get pods"),
        (Tool.KUBECTL, "kubectl delte pod x", "kubectl delete pod x"),
        (Tool.KUBECTL, "kubectl edit", ""),
        (Tool.HELM, "helm template ./chart | kubectl apply -f -", "helm template ./chart"),
        (Tool.ISTIOCTL, "istioctl analyse -n x", "istioctl analyze -n x"),
        (Tool.ISTIOCTL, "istioctl proxy-config listeners", ""),
    ],
)
def test_what_cannot_run_is_answered_with_what_can(tool: Tool, written: str, suggested: str) -> None:
    files = ("chart/Chart.yaml",)
    with pytest.raises(CommandRefused) as refused:
        parse_command(written, cli=tool, files=files)
    assert refused.value.next_command == suggested
    if suggested:
        assert parse_command(suggested, cli=tool, files=files).stages
