"""Commands that try to pass by a policy. What counts is the effect: nothing of what is out of reach may come back.

The reader may get, list and watch everything but Secrets in one namespace. Another namespace and the Secrets hold a
mark, the machine's files well-known words; an answer that holds one is a hole.
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

pytestmark = pytest.mark.integration

MARK = f"hidden-{uuid.uuid4().hex[:10]}"
MINE = f"team-a-{uuid.uuid4().hex[:6]}"
OTHER = f"team-b-{uuid.uuid4().hex[:6]}"

_OBJECTS = f"""\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {{name: {MINE}, labels: {{pod-security.kubernetes.io/enforce: baseline}}}}
- {{apiVersion: v1, kind: Namespace, metadata: {{name: {OTHER}}}}}
- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: seen, namespace: {MINE}}}, data: {{text: visible}}}}
- {{apiVersion: v1, kind: Secret, metadata: {{name: s, namespace: {MINE}}}, stringData: {{text: {MARK}}}}}
- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: {MARK}, namespace: {OTHER}}}, data: {{text: {MARK}}}}}
- {{apiVersion: v1, kind: Secret, metadata: {{name: s, namespace: {OTHER}}}, stringData: {{text: {MARK}}}}}
- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: {MARK}, namespace: kube-system}}, data: {{text: {MARK}}}}}
"""

# The characters of a PEM or a JWT that no harmless answer holds: a token of the Pod, or a key.
_CREDENTIALS = ("eyJhbGciOi", "PRIVATE KEY", "root:x:0:0")


@pytest.fixture(scope="module")
def reader(cluster: TestCluster, installed: InstalledService) -> Iterator[Agent]:
    cluster.kubectl("apply", "--filename=-", input=_OBJECTS)
    account = f"reader-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "serviceaccount", account, "--namespace=agents")
    rules = [{"namespaces": [MINE], "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    subjects = [{"kind": "ServiceAccount", "namespace": "agents", "name": account}]
    apply_policy(cluster, account, {"subjects": subjects, "rules": rules})
    agent = Agent(installed.url, cluster.service_account_token("agents", account, audience="k8s-mcp-server"))
    await_in_force(agent, account)
    yield agent
    cluster.kubectl("delete", "mcpap", account)
    cluster.kubectl("delete", "serviceaccount", account, "--namespace=agents")
    cluster.kubectl("delete", "configmap", MARK, "--namespace=kube-system")
    cluster.kubectl("delete", "namespace", MINE, OTHER, "--wait=false")


NAMESPACES = [
    "get cm -A",
    f"get cm -An {MINE}",
    f"get cm -n {MINE} -Aowide",
    "get cm --all-namespaces=1 -o yaml",
    "get cm --all_namespaces -o json",
    f"get cm -n{OTHER} -o yaml",
    f"get cm -n={OTHER} -o yaml",
    f"get cm -n {MINE} --namespace {OTHER} -o yaml",
    f"-n {OTHER} get cm -o yaml",
    f"get cm -n '{MINE},{OTHER}' -o yaml",
    "get cm -n '*' -o yaml",
    f"get cm -n '{MINE}/../{OTHER}' -o yaml",
    f"get cm -n ' {OTHER}' -o yaml",
    f"get cm -n {OTHER.upper()}",
    f"get ns {OTHER} -o yaml",
    "get nodes,pv,clusterroles",
    f"get --raw /api/v1/namespaces/{OTHER}/configmaps",
    f"get --raw /api/v1/namespaces/{MINE}/../{OTHER}/configmaps",
    f"get --raw /api/v1/namespaces/{MINE}%2F..%2F{OTHER}/configmaps",
    f"get --raw //api/v1/namespaces/{OTHER}/configmaps",
    f"get --raw /api/v1/watch/namespaces/{OTHER}/configmaps?timeoutSeconds=1",
    f"get --raw '/api/v1/configmaps?fieldSelector=metadata.namespace={OTHER}'",
    "get --raw /api/v1/configmaps?limit=500",
    f"get --raw /api/v1/proxy/namespaces/{OTHER}/services/x",
    f"get --raw '/api/v1/namespaces/{OTHER}/configmaps?watch=&timeoutSeconds=1'",
    f"cluster-info dump -n {OTHER}",
    "cluster-info dump -A",
    "events -A",
    f"describe cm -n {OTHER}",
    f"__complete get configmaps -n {OTHER} ''",
    f"api-resources --namespace {OTHER}",
    f"diff -f - -n {OTHER}",
    f"rollout history deployment -n {OTHER}",
    f"wait cm --all -n {OTHER} --for=delete --timeout=1s",
    f"get cm -A --field-selector metadata.namespace={OTHER} -o yaml",
    f"get cm -A -l 'kubernetes.io/metadata.name={OTHER}' -o yaml",
    "get cm -A --watch-only --request-timeout=2s -o yaml",
    "get all,cm -A -o yaml",
    "get cm -A --chunk-size=1 -o yaml",
    "get cm -A --sort-by=.metadata.namespace -o wide",
    "get cm -A -o custom-columns=A:.metadata.namespace,B:.data.text",
    "get cm -A -o 'go-template={{range .items}}{{.data}}{{end}}'",
]
SECRETS = [
    "get secrets",
    "get Secret -o yaml",
    "get SECRETS -o yaml",
    "get secret/s -o yaml",
    "get secrets.v1. -o yaml",
    "get cm/seen secret/s -o yaml",
    "get configmaps,secrets -o yaml",
    "describe secret s",
    "get secret s --subresource=status -o yaml",
    f"get --raw /api/v1/namespaces/{MINE}/secrets/s",
    f"get --raw '/api/v1/namespaces/{MINE}/secrets?watch=1&timeoutSeconds=1'",
    "get secrets -A -o yaml",
    "create token default",
    "patch secret s -p '{}' -o yaml",
    "label secret s a=b -o yaml",
    "apply view-last-applied secret s",
    "set data secret s",
]
IDENTITY = [
    "get cm --token=x",
    "get cm --username=u --password=p",
    "get secrets --as=system:admin -o yaml",
    "get secrets --as=system:serviceaccount:k8s-mcp-system:k8s-mcp-server -o yaml",
    "get secrets --as_group=system:masters --as=x -o yaml",
    "get secrets --as-uid=0 --as=x -o yaml",
    "get cm -s https://127.0.0.1:6443",
    "get cm --server=https://169.254.169.254",
    "get cm --kubeconfig=/etc/kubernetes/admin.conf",
    "get cm --insecure-skip-tls-verify",
    "get cm --insecure_skip_tls_verify=true --server https://127.0.0.1:1",
    "get cm --certificate-authority=/etc/passwd",
    "get cm --client-key=/etc/passwd --client-certificate=/etc/passwd",
    "get cm --kuberc=/etc/passwd",
    "get cm --cache-dir=/tmp/x -v=9",
    "config view --raw",
    "proxy --port=0",
    "port-forward svc/x 8080",
    "auth can-i --list",
    "plugin list",
    "./foo",
    "krew install x",
]
FILES = [
    "create configmap x --from-file=/var/run/secrets/kubernetes.io/serviceaccount/token --dry-run=client -o yaml",
    "create configmap x --from-file=/etc/passwd --dry-run=client -o yaml",
    "create configmap x --from-env-file=/proc/self/environ --dry-run=client -o yaml",
    "create secret generic x --from-file=/proc/1/environ --dry-run=client -o yaml",
    "get cm -o jsonpath-file=/etc/passwd",
    "get cm -o go-template-file=/etc/shadow",
    "get cm -o custom-columns-file=/etc/passwd",
    "apply -f /etc/passwd",
    "apply -f https://127.0.0.1/x.yaml",
    "kustomize /etc",
    "get cm -o yaml --profile=cpu --profile-output=/tmp/x",
    "cp seen:/etc/passwd /tmp/x",
    "get cm | grep -r . /var/run/secrets",
    "get cm | grep -f /etc/passwd .",
    "get cm | cut -d: -f1 /etc/passwd",
    "get cm | sort /etc/passwd",
    "get cm | sort --compress-program=/bin/sh",
    "get cm | sort -o /tmp/x",
    "get cm | head /etc/passwd",
    "get cm | jq -n env",
    "get cm | jq -n '$ENV'",
    "get cm -o json | jq --rawfile a /etc/passwd '$a'",
    "get cm -o json | jq -n 'input_filename, $__prog_args'",
    "get cm | awk 'BEGIN{while((getline l<\"/etc/passwd\")>0)print l}'",
    "get cm | awk 'BEGIN{system(\"cat /etc/passwd\")}'",
    "get cm | awk 'BEGIN{\"cat /etc/passwd\"|getline x; print x}'",
    "get cm | sed 'r /etc/passwd'",
    "get cm | sed '1e cat /etc/passwd'",
    "get cm | sed -n 'w /tmp/x'",
    "get cm | tail -n +1 /proc/self/environ /proc/1/environ",
    "get cm | wc --files0-from=/etc/passwd",
    "get cm | uniq /etc/passwd /tmp/x",
]
FILTERS = [
    "get cm -o yaml | yq 'load(\"/etc/passwd\")'",
    "get cm -o yaml | yq 'load_str(\"/etc/passwd\")'",
    "get cm -o yaml | yq -n 'load_str(\"/proc/self/environ\")'",
    "get cm -o yaml | yq . /etc/passwd",
    "get cm -o yaml | yq -i '.a = 1' /etc/passwd",
    "get cm -o yaml | yq eval-all . /proc/1/environ",
    "get cm -o yaml | yq --from-file /etc/passwd",
    "get cm -o yaml | yq -s '\"/tmp/x\"' .",
    "get cm -o yaml | yq --front-matter=extract . /etc/passwd",
    "get cm -o yaml | yq -n 'strenv(KUBECONFIG)'",
    "get cm -o yaml | yq -n 'system(\"cat /etc/passwd\")'",
    'get cm -o yaml | yq --security-enable-system-operator -n \'system("cat"; ["/etc/passwd"])\'',
    "get cm | column -t /etc/passwd",
    "get cm | grep root /etc/passwd",
    "get cm | grep --include='*' -R root /etc",
    "get cm | grep -zoa '.*' /proc/self/environ",
    "get cm | awk -f /etc/passwd",
    "get cm | awk '{print > \"/tmp/x\"}'",
    'get cm | awk \'BEGIN{print "cat /etc/passwd" | "sh"}\'',
    "get cm | awk 'BEGIN{for(k in ENVIRON)print k,ENVIRON[k]}'",
    "get cm | awk 1 /etc/passwd",
    "get cm | sed -n p /etc/passwd",
    "get cm | sed --in-place s/root/x/ /etc/passwd",
    "get cm | sed -f /etc/passwd",
    "get cm | sed 's/.*/cat \\/etc\\/passwd/e'",
    "get cm | sed 'R /etc/passwd'",
    "get cm | sort --files0-from=/etc/passwd",
    "get cm | sort -T /etc -S 1k",
    "get cm | sort -m /etc/passwd /etc/group",
    "get cm -o json | jq . /etc/passwd",
    "get cm -o json | jq -R . /etc/passwd",
    "get cm -o json | jq --slurpfile a /etc/passwd '$a'",
    "get cm -o json | jq -L /etc 'import \"passwd\" as x; .'",
    "get cm -o json | jq -f /etc/passwd",
    "get cm | head -c 100 /proc/1/environ",
    "get cm | cut -c1- /proc/self/environ",
    "get cm | uniq - /tmp/x",
    "get cm | wc -c /etc/shadow",
    "get cm | tail -n +1 /etc/passwd",
    "get cm | tr a b /etc/passwd",
]
LOCAL = [
    "diff -f /etc",
    "diff -k /etc",
    "diff -f https://127.0.0.1/x.yaml",
    "kustomize ../..",
    "kustomize https://github.com/x/y",
    "apply -k https://github.com/x/y",
    "apply -f ../kubeconfig",
    "get -f ../../../etc/passwd",
    "cp /etc/passwd seen:/x",
    "cp ../kubeconfig seen:/x",
    "cp seen:/etc/passwd ../../x",
    f"cp {OTHER}/seen:/etc/passwd x",
    "create configmap x --from-file=../kubeconfig --dry-run=client -o yaml",
    "create configmap x --from-file=/ --dry-run=client -o yaml",
    "create secret tls x --cert=/etc/passwd --key=/etc/passwd --dry-run=client -o yaml",
    "create secret docker-registry x --from-file=/etc/passwd --dry-run=client -o yaml",
    "config view --raw --flatten",
    "config view --minify --raw -o json",
    "cluster-info dump --output-directory=/tmp/x",
    "patch cm seen --patch-file=/etc/passwd",
    "set env deployment/x --from=configmap/seen --env-file=/etc/passwd",
    "run x --image=a --overrides=@/etc/passwd --dry-run=client -o yaml",
]

# What a kustomization or a manifest may try from within its files.
_FROM_FILES = {
    "a file of the machine": (
        "kustomize .",
        {"kustomization.yaml": "configMapGenerator: [{name: x, files: [/etc/passwd]}]"},
    ),
    "a way out": (
        "kustomize . --load-restrictor=LoadRestrictionsNone",
        {"kustomization.yaml": "configMapGenerator: [{name: x, files: [../../../../../../etc/passwd]}]"},
    ),
    "environment": (
        "kustomize .",
        {"kustomization.yaml": "configMapGenerator: [{name: x, envs: [/proc/self/environ]}]"},
    ),
    "a resource out of the folder": (
        "kustomize . --load-restrictor=LoadRestrictionsNone",
        {"kustomization.yaml": "resources: [/var/run/secrets/kubernetes.io/serviceaccount/token]"},
    ),
    "a remote base": ("kustomize .", {"kustomization.yaml": "resources: ['https://127.0.0.1/x']"}),
    "a plugin": (
        "kustomize . --enable-alpha-plugins --enable-exec",
        {
            "kustomization.yaml": "generators: [g.yaml]",
            "g.yaml": "apiVersion: x/v1\nkind: X\nmetadata: {name: x, annotations: {config.kubernetes.io/function: "
            '"exec: {path: /bin/cat, args: [/etc/passwd]}"}}',
        },
    ),
    "a chart": (
        "kustomize . --enable-helm --helm-command=/bin/cat",
        {"kustomization.yaml": "helmCharts: [{name: x, repo: 'https://127.0.0.1', version: 1.0.0}]"},
    ),
    "a manifest for elsewhere": (
        "apply -f x.yaml",
        {"x.yaml": f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: new, namespace: {OTHER}}}"},
    ),
    "a diff of elsewhere": (
        "diff -f x.yaml",
        {"x.yaml": f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: {OTHER}}}"},
    ),
    "a diff of a Secret": (
        "diff -f x.yaml",
        {"x.yaml": f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: {MINE}}}"},
    ),
    "a template": ("get cm -o go-template-file=x", {"x": '{{ index . "/etc/passwd" }}'}),
}

SHELL = [
    "get cm; cat /etc/passwd",
    "get cm && cat /etc/passwd",
    "get cm || cat /etc/passwd",
    "get cm & cat /etc/passwd",
    "get cm $(cat /etc/passwd)",
    "get cm `cat /etc/passwd`",
    'get cm "$(cat /etc/passwd)"',
    "get cm > /tmp/x",
    "get cm < /etc/passwd",
    "get cm | sh -c 'cat /etc/passwd'",
    "get cm | bash",
    "get cm | python3 -c 'print(open(\"/etc/passwd\").read())'",
    "get cm | xargs cat /etc/passwd",
    "get cm | tee /tmp/x",
    "get cm\ncat /etc/passwd",
    "get cm #",
    "get cm 'unclosed",
    "PATH=/bin get cm",
    "get cm ${HOME}",
    "get cm <(cat /etc/passwd)",
    "get cm | cat /etc/passwd",
    "get cm | find / -name token",
    "get cm | curl -k https://127.0.0.1",
]
WRITES = [
    "delete cm seen",
    "label cm seen a=b",
    "annotate cm seen a=b",
    'patch cm seen -p \'{"data":{"text":"changed"}}\'',
    "run x --image=registry.example.com/app:1.0",
    "create deployment x --image=registry.example.com/app:1.0",
    "scale deployment x --replicas=2",
    "create configmap new --from-literal=a=b",
    "delete cm --all",
    "delete ns " + OTHER,
    f"label ns {MINE} pod-security.kubernetes.io/enforce-",
    "create clusterrolebinding x --clusterrole=cluster-admin --user=me",
    "create rolebinding x --clusterrole=admin --serviceaccount=default:default",
    "taint nodes --all a=b:NoSchedule",
    "drain kwok-node-0 --force",
    "certificate approve x",
    "apply -f - --server-side",
    "replace --raw /api/v1/namespaces/default/configmaps/x -f -",
    f"create --raw /api/v1/namespaces/{MINE}/configmaps -f -",
    f"delete --raw /api/v1/namespaces/{MINE}/configmaps/seen",
]

_MANIFEST = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new", "namespace": MINE}})


def _case(command: str) -> str:
    return command.replace(MINE, "MINE").replace(OTHER, "OTHER").replace(MARK, "MARK")[:70]


@pytest.mark.parametrize("command", NAMESPACES + SECRETS + IDENTITY + FILES + FILTERS + LOCAL + SHELL, ids=_case)
def test_nothing_out_of_reach_comes_back(command: str, reader: Agent, tried: Tried) -> None:
    # The reader's namespace is given where the command names none, so that harmless parts of it could succeed.
    full = (
        command if any(word in command for word in (" -n", "-n ", "-A", "--all", "--raw", "ns ")) else _in_mine(command)
    )
    answer = reader.kubectl(full, stdin=_MANIFEST if "-f -" in command else "", timeout=10)
    assert answer.status, answer.everything
    spoken = "\n".join(str(answer.fields.get(part, "")) for part in ("stdout", "stderr"))
    assert MARK not in spoken
    assert [word for word in _CREDENTIALS if word in answer.everything] == []
    tried("kubectl", full)


@pytest.mark.parametrize("case", _FROM_FILES)
def test_files_of_a_command_reach_nothing_else(case: str, reader: Agent, cluster: TestCluster, tried: Tried) -> None:
    command, files = _FROM_FILES[case]
    before = _state(cluster)
    answer = reader.kubectl(f"{command} -n {MINE}" if "x.yaml" not in command else command, files=files, timeout=10)
    assert answer.status, answer.everything
    assert MARK not in answer.everything
    assert [word for word in _CREDENTIALS if word in answer.everything] == []
    assert _state(cluster) == before
    tried("kubectl", f"{command} # {case}")


@pytest.mark.parametrize("command", WRITES, ids=_case)
def test_a_reader_changes_nothing(command: str, reader: Agent, cluster: TestCluster, tried: Tried) -> None:
    before = _state(cluster)
    full = command if "-n " in command or "--raw" in command or "ns " in command else f"{command} -n {MINE}"
    answer = reader.kubectl(full, stdin=_MANIFEST if "-f -" in command else "", timeout=10)
    assert answer.status in ("denied", "refused", "failed"), answer.everything
    assert _state(cluster) == before
    tried("kubectl", full)


def _in_mine(command: str) -> str:
    first, pipe, rest = command.partition(" |")
    return f"{first} -n {MINE}{pipe}{rest}"


def _state(cluster: TestCluster) -> str:
    own = cluster.kubectl("get", "cm,deploy,pods,rolebindings", "-n", MINE, "-o", "yaml").stdout
    namespaces = cluster.kubectl("get", "ns", "--field-selector=status.phase=Active", "-o", "name").stdout
    return own + namespaces + cluster.kubectl("get", "nodes,clusterrolebindings", "-o", "name").stdout
