"""After a denial or a refusal, the command that is suggested works as it stands."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.through_mcp.conftest import apply_policy, await_in_force
from tests.support.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtools.cluster import TestCluster
    from devtools.installed import InstalledService
    from tests.conftest import Helped

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

MARK = uuid.uuid4().hex[:6]
MINE, OTHER = f"mine-{MARK}", f"other-{MARK}"
READ = ["get", "list", "watch"]
WRITE = [*READ, "create", "update", "patch", "delete"]
NEEDED = 0.9

_OBJECTS = f"""\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {{name: {MINE}, labels: {{pod-security.kubernetes.io/enforce: baseline}}}}
- {{apiVersion: v1, kind: Namespace, metadata: {{name: {OTHER}}}}}
- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: settings, namespace: {MINE}}}, data: {{key: value}}}}
- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: named, namespace: {MINE}}}, data: {{key: value}}}}
- {{apiVersion: v1, kind: Secret, metadata: {{name: s, namespace: {MINE}}}}}
- apiVersion: v1
  kind: Service
  metadata: {{name: web, namespace: {MINE}}}
  spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {{name: web, namespace: {MINE}, labels: {{app: web}}}}
  spec:
    replicas: 1
    selector: {{matchLabels: {{app: web}}}}
    template:
      metadata: {{labels: {{app: web}}}}
      spec: {{containers: [{{name: web, image: "example.com/web:1"}}]}}
- apiVersion: v1
  kind: Pod
  metadata: {{name: box, namespace: {MINE}, labels: {{app: box}}}}
  spec: {{containers: [{{name: box, image: "example.com/box:1"}}]}}
"""


def _rule(verbs: list[str], groups: list[str], resources: list[str], **more: Any) -> dict[str, Any]:
    return {"namespaces": [MINE], "apiGroups": groups, "resources": resources, "verbs": verbs, **more}


POLICIES: dict[str, dict[str, Any]] = {
    "reader": {"rules": [_rule(READ, ["", "apps"], ["pods", "pods/log", "configmaps", "services", "deployments"])]},
    "deployer": {
        "rules": [_rule(WRITE, ["apps"], ["deployments"]), _rule(READ, [""], ["pods", "events"])],
        "defaultNamespace": MINE,
    },
    "named": {"rules": [_rule(["get"], [""], ["configmaps"], resourceNames=["named"])]},
    "nodes": {"rules": [{"clusterScoped": True, "apiGroups": [""], "resources": ["nodes"], "verbs": READ}]},
    "denied": {
        "rules": [_rule(READ, ["*"], ["*"])],
        "deny": [_rule(READ, [""], ["configmaps"])],
    },
}

# Lines that each policy denies.
DENIED = {
    "reader": [
        f"get pods -n {OTHER}",
        f"get pods box -n {OTHER}",
        f"get deployments -n {OTHER} -o yaml",
        f"logs box -n {OTHER}",
        f"describe pod box -n {OTHER}",
        f"get secrets -n {MINE}",
        f"get secret s -n {MINE} -o yaml",
        f"describe secret s -n {MINE}",
        f"delete pod box -n {MINE}",
        f"delete configmap settings -n {MINE}",
        f"scale deployment web --replicas=3 -n {MINE}",
        f"rollout restart deployment/web -n {MINE}",
        f"set image deployment/web web=example.com/web:2 -n {MINE}",
        f"label pod box a=b -n {MINE}",
        f"annotate service web a=b -n {MINE}",
        f"patch configmap settings -n {MINE} -p '{{}}'",
        f"exec box -n {MINE} -- id",
        f"create configmap made -n {MINE} --from-literal=a=b",
        f"create deployment made -n {MINE} --image=example.com/a:1",
        f"run made -n {MINE} --image=example.com/a:1",
        f"expose deployment web --port=80 -n {MINE} --name=made",
        f"autoscale deployment web --max=2 -n {MINE}",
        f"create token default -n {MINE}",
        f"create role r --verb=get --resource=pods -n {MINE}",
        "get nodes",
        "describe node node-0",
        "cordon node-0",
        "get clusterroles",
        "get --raw /metrics",
        "get pods -n kube-system",
        "get pods -n k8s-mcp-system",
        f"get statefulsets -n {MINE}",
        f"get ingresses.networking.k8s.io -n {MINE}",
        f"get configmaps -n {OTHER} -o json | jq .items",
    ],
    "deployer": [
        "get configmaps",
        "get secrets",
        "delete pod box",
        f"get deployments -n {OTHER}",
        f"create deployment made -n {OTHER} --image=example.com/a:1",
        "get services",
        "logs box",
        "get nodes -o wide",
        "delete namespace nothing",
    ],
    "named": [
        f"get configmaps settings -n {MINE}",
        f"get pods -n {MINE}",
        f"delete configmap named -n {MINE}",
        f"get configmap named -n {OTHER}",
    ],
    "nodes": ["get pods -n default", "delete node node-0", "get namespaces x", "get events -n default"],
    "denied": [
        f"get configmaps -n {MINE}",
        f"get configmap settings -n {MINE} -o yaml",
        f"describe configmap settings -n {MINE}",
        f"get secrets -n {MINE}",
        f"delete service web -n {MINE}",
    ],
}
# Lines that need something that there is not here: a shell, a terminal, a kubeconfig.
REFUSED = [
    f"get pods -n {MINE}; id",
    f"get pods -n {MINE} && kubectl get services -n {MINE}",
    f"get pods -n {MINE} > pods.txt",
    f"get pods -n {MINE} |& grep x",
    f"get pods -n {MINE} -o name | xargs kubectl get -n {MINE}",
    f"get pods -n {MINE} -o name | head -1 | xargs -n 1 kubectl logs",
    f"kubectl logs $(kubectl get pods -n {MINE} -o name) -n {MINE}",
    f"for p in box; do kubectl get pod $p -n {MINE}; done",
    f"for p in $(kubectl get pods -n {MINE} -o name); do kubectl describe $p; done",
    f"get pods -n {MINE} --kubeconfig=/etc/kubeconfig",
    f"get pods -n {MINE} --as=system:admin",
    f"get pods -n {MINE} --token abc",
    f"gte pods -n {MINE}",
    f"watch kubectl get pods -n {MINE}",
    f"edit deployment web -n {MINE}",
    f"port-forward pod/box 8080:80 -n {MINE}",
    f"port-forward svc/web 8080:80 -n {MINE}",
    "proxy --port=8080",
    "config use-context other",
    "plugin list",
]
TASKS = [(who, line) for who, lines in DENIED.items() for line in lines] + [("reader", line) for line in REFUSED]


@pytest.fixture(scope="module")
def agents(cluster: TestCluster, installed: InstalledService) -> Iterator[dict[str, Agent]]:
    cluster.kubectl("apply", "--filename=-", input=_OBJECTS)
    cluster.kubectl("wait", "pod/box", "-n", MINE, "--for=condition=Ready", "--timeout=30s")
    made = {}
    for role, spec in POLICIES.items():
        account = f"{role}-{MARK}"
        cluster.kubectl("create", "serviceaccount", account, "--namespace=agents")
        subjects = [{"kind": "ServiceAccount", "namespace": "agents", "name": account}]
        apply_policy(cluster, account, {"subjects": subjects, **spec})
        made[role] = Agent(installed.url, cluster.service_account_token("agents", account, audience="k8s-mcp-server"))
        await_in_force(made[role], account)
    yield made
    for role in POLICIES:
        cluster.kubectl("delete", "mcpap", f"{role}-{MARK}")
        cluster.kubectl("delete", "serviceaccount", f"{role}-{MARK}", "--namespace=agents")
    cluster.kubectl("delete", "namespace", MINE, OTHER, "--wait=false")


def test_after_each_denial_the_suggested_command_works(agents: dict[str, Agent], helped: Helped) -> None:
    assert len(TASKS) >= 60
    failed = []
    for who, line in TASKS:
        first = agents[who].kubectl(line, timeout=20)
        assert first.status in {"denied", "refused"}, f"{who}: {line}: {first.everything}"
        suggested = str(first.fields.get("next_command", ""))
        assert not suggested or suggested in first.text, line
        second = agents[who].kubectl(suggested, timeout=20) if suggested else None
        if second is None or second.status != "succeeded":
            failed.append((who, line, suggested, second.text if second else "nothing was suggested"))
    helped("kubectl", worked=len(TASKS) - len(failed), of=len(TASKS))
    assert len(TASKS) - len(failed) >= NEEDED * len(TASKS), json.dumps(failed, indent=1)
