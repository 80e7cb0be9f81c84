"""More spellings that try to pass by a policy, and the plain ones beside them that must work.

The reader may get, list and watch everything but Secrets in its namespace; another one and the Secrets hold a mark.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.integration.through_mcp.conftest import apply_policy, await_in_force
from tests.support.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtools.cluster import TestCluster
    from devtools.installed import InstalledService
    from tests.conftest import Tried

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

UNIQUE = uuid.uuid4().hex[:6]
MARK = f"hidden-{UNIQUE}"
MINE, OTHER = f"works-{UNIQUE}", f"away-{UNIQUE}"
_CREDENTIALS = ("eyJhbGciOi", "PRIVATE KEY", "root:x:0:0")

WORKS = [
    "kubectl get pods",
    "get pods -n MINE",
    "kubectl -n MINE get pods",
    "kubectl get pods -nMINE",
    "kubectl get pods -n=MINE",
    "kubectl get pods --namespace=MINE",
    "kubectl get po/box svc/web -oyaml",
    "kubectl get pods -A=false -n MINE",
    "kubectl -n MINE get -- pods",
    "kubectl get pods -n kube-system -n MINE",
    "kubectl get pods -l 'app in (a,b)' -o 'jsonpath={.items[*].metadata.name}'",
    "kubectl describe pod box",
    "kubectl events -n MINE",
    "kubectl wait --for=condition=Ready pod/box --timeout=5s",
    "kubectl explain pods",
    "kubectl api-resources",
    "kubectl version",
    "kubectl get --help",
    "kubectl delete pod box --help",
    "kubectl get pods | grep Running | wc -l",
    "kubectl get pods -o json | jq -r '.items[].metadata.name'",
    "kubectl get pods | grep 'a\\|b'",
    "kubectl logs box",
    "kubectl auth can-i get pods",
    "kubectl get pod box -o yaml",
    "kubectl rollout history deployment",
    "kubectl get cm -o yaml",
    "kubectl get pods 2>&1",
    "kubectl get pods 2>/dev/null | head -1",
]
HOSTILE = [
    "kubectl get cm --all-namespaces=T",
    "kubectl get cm --all-namespaces=True -o yaml",
    "kubectl get cm --all-namespaces=TRUE",
    "kubectl get cm --all-namespaces=t",
    "kubectl get cm --all-namespaces=true",
    "kubectl get cm -n 'MINE\n'",
    "kubectl get cm -n 'OTHER\n'",
    "kubectl get cm -n $'OTHER'",
    "kubectl get nodes -n MINE",
    "kubectl get pv,clusterroles -n MINE",
    "kubectl get --raw /api/v1/namespaces/OTHER/configmaps -n MINE",
    "kubectl cluster-info dump --namespaces=kube-system,OTHER",
    "kubectl cluster-info dump -n MINE",
    "kubectl top pods -A",
    "kubectl top nodes",
    "kubectl get --namespac=kube-system cm",
    "kubectl get secrets.v1.core",
    "kubectl get cm --tls-server-name=x",
    "kubectl get cm --request-timeout=0 --watch",
    "kubectl proxy --address=0.0.0.0",
    "kubectl options",
    "kubectl foo",
    "kubectl create zzz",
    "kubectl apply -f - -n kube-system",
    "kubectl apply --dry-run=server -f -",
    "kubectl create -f - --validate=false",
    "kubectl exec box -- id",
    "kubectl -n MINE exec box -- cat /var/run/secrets/kubernetes.io/serviceaccount/token",
    "kubectl attach box",
    "kubectl debug node/node-0 --image=b",
    "kubectl debug box --image=b --target=box",
    "kubectl cp box:/etc/passwd x",
    "kubectl label pods --all a=b -A",
    "kubectl annotate pods --all a=b -n OTHER",
    "kubectl scale deployment x --replicas=0 -n OTHER",
    "kubectl rollout restart deployment -n OTHER",
    "kubectl set image deployment/x x=y -n OTHER",
    "kubectl cordon node-0",
    "kubectl delete pod box -- --help",
    'kubectl get cm -o go-template=\'{{define "a"}}{{template "a"}}{{end}}{{template "a"}}\'',
    "kubectl get cm | sort --compress=sh -S 1k",
    "kubectl get cm | grep -P '(a+)+$'",
    "kubectl get cm -o json | jq '[limit(100000000;repeat(1))]|length'",
    "kubectl get cm -o json | jq 'def f: f; f'",
    "kubectl get cm -o json | jq -n '[range(1e9)]'",
    "kubectl get cm | awk 'BEGIN{while(1){}}'",
    "kubectl get cm | awk 'BEGIN{s=\"x\";while(1){s=s s}}'",
    "kubectl get cm | sed ':a;s/^/x/;ta'",
    "kubectl get cm -A | sort | uniq -c | tr a-z A-Z | cut -c1-80 | column -t | head -50",
    "kubectl events --for configmap/MARK -n OTHER",
    "kubectl get cm MARK --namespace MINE --namespace=OTHER -o json",
    "kubectl auth can-i --list -n OTHER",
    "kubectl describe ns OTHER",
    "kubectl get events -A -o yaml",
]
_LIST = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made", "namespace": OTHER}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "made", "namespace": MINE}},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": f"made-{UNIQUE}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"kind": "User", "name": "me", "apiGroup": "rbac.authorization.k8s.io"}],
            },
        ],
    }
)


def _objects() -> str:
    def one(kind: str, name: str, namespace: str = "", **more: object) -> dict[str, object]:
        where = {"namespace": namespace} if namespace else {}
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **where}, **more}

    pod = {"containers": [{"name": "box", "image": "example.com/box:1", "env": [{"name": "A", "value": "b"}]}]}
    items = [
        one("Namespace", MINE),
        one("Namespace", OTHER),
        one("Pod", "box", MINE, spec=pod),
        one("Service", "web", MINE, spec={"ports": [{"port": 80}]}),
        one("Secret", "s", MINE, stringData={"text": MARK}),
        one("Secret", "s", OTHER, stringData={"text": MARK}),
        one("ConfigMap", MARK, OTHER, data={"text": MARK}),
        one("ConfigMap", MARK, "kube-system", data={"text": MARK}),
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


@pytest.fixture(scope="module")
def reader(cluster: TestCluster, installed: InstalledService) -> Iterator[Agent]:
    cluster.kubectl("apply", "--filename=-", input=_objects())
    cluster.kubectl("wait", "pod/box", "-n", MINE, "--for=condition=Ready", "--timeout=30s")
    account = f"further-{UNIQUE}"
    cluster.kubectl("create", "serviceaccount", account, "--namespace=agents")
    rules = [{"namespaces": [MINE], "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    subjects = [{"kind": "ServiceAccount", "namespace": "agents", "name": account}]
    apply_policy(cluster, account, {"subjects": subjects, "rules": rules, "defaultNamespace": MINE})
    agent = Agent(installed.url, cluster.service_account_token("agents", account, audience="k8s-mcp-server"))
    await_in_force(agent, account)
    yield agent
    cluster.kubectl("delete", "mcpap", account)
    cluster.kubectl("delete", "serviceaccount", account, "--namespace=agents")
    cluster.kubectl("delete", "configmap", MARK, "--namespace=kube-system")
    cluster.kubectl("delete", "namespace", MINE, OTHER, "--wait=false")


def _filled(line: str) -> str:
    return line.replace("MINE", MINE).replace("OTHER", OTHER).replace("MARK", MARK)


@pytest.mark.parametrize("line", WORKS)
def test_what_is_allowed_works_however_it_is_written(reader: Agent, line: str) -> None:
    answer = reader.kubectl(_filled(line))
    assert answer.status == "succeeded", answer.everything
    assert MARK not in answer.everything


@pytest.mark.parametrize("line", HOSTILE)
def test_nothing_out_of_reach_comes_back_or_changes(
    reader: Agent, cluster: TestCluster, tried: Tried, line: str
) -> None:
    before = _state(cluster)
    answer = reader.kubectl(_filled(line), stdin=_LIST if "-f -" in line else "", timeout=5)
    assert answer.status, answer.everything
    spoken = "\n".join(str(answer.fields.get(part, "")) for part in ("stdout", "stderr"))
    assert (MARK in spoken.replace(_filled(line), "")) is (MARK in spoken and "MARK" in line), answer.everything
    assert [word for word in _CREDENTIALS if word in answer.everything] == []
    assert _state(cluster) == before
    tried("kubectl", line)


def test_a_first_stage_that_fails_is_no_success_of_the_last(reader: Agent) -> None:
    answer = reader.kubectl("get nothing | wc -l")
    assert (answer.status, answer.fields["exit_code"]) == ("failed", 1)


def test_a_watch_ends_at_its_time_with_what_came(reader: Agent) -> None:
    answer = reader.kubectl("get pods -w", timeout=3)
    assert answer.status == "timed_out"
    assert "box" in answer.stdout
    assert answer.fields["next_command"] == "kubectl get pods"


def _state(cluster: TestCluster) -> str:
    """What the lines could change."""
    own = cluster.kubectl("get", "cm,deploy,pods,secrets", "-n", MINE, "-o", "name").stdout
    foreign = cluster.kubectl("get", "cm,secrets,deploy", "-n", OTHER, "-o", "yaml").stdout
    # Namespaces that other tests have left may go meanwhile.
    namespaces = cluster.kubectl("get", "ns", "--field-selector=status.phase=Active", "-o", "name").stdout
    return own + foreign + namespaces + cluster.kubectl("get", "nodes,clusterrolebindings", "-o", "name").stdout
