"""What the service writes down of commands that hold secrets: none of these, and no line of the commands' making."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from devtools.installed import InstalledService
    from tests.integration.through_mcp.conftest import AgentFactory

pytestmark = pytest.mark.integration

SECRET = f"hunter-{uuid.uuid4().hex[:8]}"
FORGED = '\n{"kind": "Command", "client": "system:admin", "outcome": "succeeded"}\n'
MANIFEST = json.dumps(
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "made"}, "stringData": {"password": SECRET}}
)
CHART = {
    "chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "chart/templates/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: {{ .Values.a }}}\n",
}
# Lines with the secret wherever a line can have a value: run, denied, failed and refused.
KUBECTL: list[tuple[str, dict[str, Any]]] = [
    (f"create secret generic made --from-literal=password={SECRET}", {}),
    (f"create secret generic made --from-literal password={SECRET} --dry-run=client -o name", {}),
    ("apply -f -", {"stdin": MANIFEST}),
    (f"{SECRET}.yaml", {"files": {f"{SECRET}.yaml": MANIFEST}}),
    ("apply -f made.yaml", {"files": {"made.yaml": MANIFEST}}),
    (f"exec web -- sh -c 'curl -u admin:{SECRET} https://example.com'", {}),
    (f"get pods --token {SECRET}", {}),
    (f"get pods --token={SECRET} --username a --password {SECRET}", {}),
    (f"get pods -l password={SECRET}", {}),
    (f"get pods --field-selector spec.nodeName={SECRET}", {}),
    (f"get pods -o jsonpath='{{.items[?(@.a==\"{SECRET}\")]}}'", {}),
    (f"run web --image=x --env=PASSWORD={SECRET}", {}),
    (f"set env deployment/web PASSWORD={SECRET}", {}),
    (f"annotate pod web note='{SECRET}'", {}),
    (f'patch configmap x -p \'{{"data": {{"password": "{SECRET}"}}}}\'', {}),
    (f"get --raw '/api/v1/namespaces/default/services/x/proxy/login?password={SECRET}'", {}),
    (f"get pods | grep {SECRET}", {}),
    (f"get pods | jq '.password = \"{SECRET}\"'", {}),
    (f"{SECRET} get pods", {}),
    (f"get pods '{SECRET}", {}),
    (f"get pods '{FORGED}'", {}),
    (f"get pods -l '{FORGED}'", {}),
    (f"'{FORGED}' get pods", {}),
]
HELM: list[tuple[str, dict[str, Any]]] = [
    (f"template x ./chart --set a={SECRET}", {"files": CHART}),
    (f"template x ./chart --set-string password={SECRET}", {"files": CHART}),
    ("template x ./chart -f -", {"files": CHART, "stdin": f"a: {SECRET}\n"}),
    ("template x ./chart -f v.yaml", {"files": {**CHART, "v.yaml": f"a: {SECRET}\n"}}),
    (f"install x ./chart --set a={SECRET}", {"files": CHART}),
    (f"pull x --username a --password {SECRET}", {}),
    (f"show chart https://a:{SECRET}@charts.example.com/x.tgz", {}),
    (f"list --filter {SECRET}", {}),
    (f"list --kube-token {SECRET}", {}),
    (f"get values '{FORGED}'", {}),
]


def test_no_secret_of_a_command_is_written_down_and_no_line_is_forged(
    installed: InstalledService, agent_factory: AgentFactory
) -> None:
    scope = {"namespaces": ["default"], "verbs": ["get", "list", "watch", "create", "patch", "update"]}
    rules = [
        {**scope, "apiGroups": [""], "resources": ["configmaps", "pods", "secrets", "services"]},
        {**scope, "apiGroups": ["helm.sh"], "resources": ["releases", "releases/content"]},
    ]
    agent = agent_factory({"tools": ["kubectl", "helm"], "rules": rules, "defaultNamespace": "default"})
    files = (installed.audit_log, installed.log)
    sizes = [path.stat().st_size for path in files]

    statuses = [
        agent.call(tool, {"command": line, **more}).status
        for tool, lines in (("execute_kubectl", KUBECTL), ("execute_helm", HELM))
        for line, more in lines
    ]

    texts = [path.read_bytes()[size:].decode() for path, size in zip(files, sizes, strict=True)]
    audited = [json.loads(line) for line in texts[0].splitlines()]
    commands = [line for line in audited if line["kind"] == "Command"]
    assert {"succeeded", "denied", "failed", "refused"} <= set(statuses)
    assert [line for text in texts for line in text.splitlines() if SECRET in line] == []
    assert [line["outcome"] for line in commands if agent.account in line["client"]] == statuses  # one line each
    assert not [line for line in audited if line["client"] == "system:admin"]
