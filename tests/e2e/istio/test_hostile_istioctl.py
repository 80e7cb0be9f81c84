"""istioctl command lines that try to pass by a policy. What counts is the effect.

The agent may look at the proxies of one namespace, and read that namespace without its Secrets. Nothing of another
namespace's objects and proxies, no Secret, no file and no credential may come back, and nothing may change. In the end
the API server's own log is read: every request that it got for the agent is one that the policy gives.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.istio.conftest import OTHER, OWN, PROXIES, READ, TOKENS, audit_events

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from devtools.istio import Mesh
    from tests.conftest import Tried
    from tests.e2e.istio.conftest import MeshAgent

pytestmark = pytest.mark.e2e

MARK = "hidden-from-the-agent"
# The characters of a PEM or a JWT, of a file of this machine, of a kubeconfig: no harmless answer holds them.
CREDENTIALS = ("eyJhbGciOi", "PRIVATE KEY", "root:x:0:0", "client-key-data", "current-context")
FOREIGN = [
    "pc clusters $OTHER",
    "pc all $OTHER -o json",
    "pc listeners -n billing deploy/cart",
    "pc routes deploy/cart.billing",
    "pc endpoints svc/cart.billing",
    "pc bootstrap pod/$OTHER",
    "pc c $POD -n billing --namespace=orders deploy/cart.billing",
    "pc log $OTHER",
    "pc log -l app=cart -n billing",
    "pc rootca-compare $POD $OTHER",
    "ps $OTHER",
    "ps -n billing",
    "ps -n billing -n orders -n billing",
    "ps",
    "ps -o json",
    "ps -v 1",
    "ps --namespace ''",
    "x ps",
    "x authz check $OTHER",
    "x authz check deploy/cart.billing",
    "x describe pod $OTHER",
    "x describe svc cart.billing",
    "x describe svc cart -n billing",
    "x es $OTHER",
    "x es -l app=cart -n billing",
    "x check-inject $OTHER",
    "x check-inject -n billing -l app=cart",
    "x injector list",
    "analyze -n billing",
    "analyze -A",
    "analyze -A -n billing",
    "analyze -A -o json",
    "analyze --all-namespaces=true -n orders -o yaml",
    "analyze -n orders --namespace billing",
    "x precheck",
    "remote-clusters",
    "tag list",
    "version",
    "kube-inject -f -",
    "pc clusters istiod-0.istio-system",
    "pc clusters deploy/istiod.istio-system",
    "pc c x.k8s-mcp-system",
    "x internal-debug syncz",
    "x internal-debug --all configz",
    "x version",
    "zc workloads",
    "zc certs",
    "waypoint list -A",
    # two places in one line: what is asked for and what is printed
    "ps $POD -n billing",
    "ps -n orders -o json",
    "ps -n orders -o yaml -v 1",
    "ps -norders -rdefault --verbosity=1",
    "x describe pod $POD -n billing",
    "x check-inject deploy/cart.billing -n orders",
    "analyze -Anbilling",
    "analyze --namespace=orders -A=false -n billing",
    # names that read in two ways
    "pc c $POD.billing",
    "pc c cart..billing",
    "pc c pods/orders/$OTHER",
    "pc c //$OTHER",
    "pc c deploy/cart.orders,deploy/cart.billing",
    "pc c deployment.v1.apps/cart.billing",
    "x describe svc cart.orders.billing",
]
SECRETS = [
    "pc secret $POD",
    "pc s $POD -o json",
    "pc all $POD",
    "pc all $POD -o yaml",
    "pc clusters secret/app-secret.orders",
    "create-remote-secret",
    "create-remote-secret --name x --type remote",
    "x workload entry configure --name x -o /tmp/x",
    "bug-report",
    "bug-report --dry-run",
    "x config list",
    "dashboard envoy $POD",
    "d controlz deploy/istiod.istio-system",
    "d proxy $POD --browser=false",
]
IDENTITY = [
    "ps --as system:admin",
    "pc c $OTHER --as=system:admin --as-group=system:masters",
    "ps --xds-address 127.0.0.1:15010",
    "ps --xds-address=istiod.istio-system:15012 --insecure",
    "ps --cert-dir /var/run/secrets",
    "ps --xds-label app=cart -n orders",
    "ps --xds-port 15010 --plaintext",
    "ps -i orders -n orders",
    "pc c $POD --proxy-admin-port 8000",
    "pc c $POD -c /etc/passwd",
    "pc c $POD --kubeconfig=/proc/self/environ",
    "pc c $POD --context other",
    "version --vklog=9",
    "version --log_target /tmp/x",
    "ps --istioNamespace=istio-system --istioNamespace=billing -n orders",
    "ps --istio_namespace=billing -n orders",
    "ps --xds_address 127.0.0.1:15010 -n orders",
    "ps --xds-addr=127.0.0.1:15010 -n orders",
    "pc c $POD --proxy-admin 15010",
    "analyze -n orders --remote-contexts gateway",
    "analyze -n orders --revision sidecar-injector",
]
FILES = [
    "pc c -f /etc/passwd",
    "pc c --file=/proc/self/environ",
    "validate -f /etc/passwd",
    "validate -f ../kubeconfig",
    "validate -f ~/.kube/config",
    "analyze --use-kube=false /etc",
    "analyze --meshConfigFile /etc/passwd --use-kube=false",
    "kube-inject -f /etc/passwd",
    "kube-inject -f https://example.com/x.yaml",
    "kube-inject -f - --injectConfigFile /etc/passwd",
    "kube-inject -f - -o /tmp/x",
    "manifest generate -f /etc/passwd",
    "completion bash",
    "pc c -f/dev/fd/3",
    "pc c --file ./../kubeconfig",
    "pc c --file kubeconfig",
    "pc c -f -- $OTHER",
    "validate -f https://example.com/x.yaml",
    "analyze --use-kube=false ..",
    "analyze --use-kube=false /proc/self",
    "analyze --use-kube=false file:///etc/passwd",
    "__complete pc clusters ''",
    "__complete ps -n ''",
]
WRITES = [
    "pc log $POD --level debug",
    "pc o $POD --level http:trace",
    "pc log -l app=cart -n orders --level debug",
    "pc log $POD --reset",
    "pc log $POD -r=true",
    "pc log $POD -r=false --level debug",
    "pc log $POD --level 'http:debug&x=y'",
    "pc log $POD --level 'level?quitquitquit'",
    "admin log --level debug",
    "istiod l --reset",
    "zc log --level debug",
    "install -y",
    "apply -y --set profile=demo",
    "upgrade -y",
    "uninstall --purge -y",
    "manifest install -y",
    "tag set prod --revision default --overwrite -y",
    "tag remove default -y",
    "waypoint apply -n orders --enroll-namespace",
    "waypoint delete --all -n orders",
    "x workload group create --name x -n orders",
]
COMBINED = [
    "pc clusters $POD | istioctl pc clusters $OTHER",
    "pc log $POD | istioctl pc log $POD --level debug",
    "validate -f - | istioctl create-remote-secret",
    "pc clusters $POD; istioctl pc clusters $OTHER",
    "pc clusters $POD && istioctl pc clusters $OTHER",
    "pc clusters $(istioctl ps)",
    "pc clusters $POD > /tmp/x",
    "pc clusters $POD | kubectl get pods -n billing",
    "pc clusters $POD | grep -r . /var/run/secrets",
    "pc clusters $POD -- --level=debug",
    "pc clusters -- --kubeconfig=/etc/passwd",
    "pc 'clusters $OTHER'",
    "pc clusters $POD/../../namespaces/billing/pods/x",
    "pc clusters 'cart.orders?x=y'",
    "pc clusters 'cart%2f..%2fbilling.orders'",
]
BY_KUBECTL = [
    "port-forward pod/cart 15000:15000 -n orders",
    "get --raw /api/v1/namespaces/orders/pods/cart/portforward",
    "get --raw /api/v1/namespaces/istio-system/services/istiod:15014/proxy/debug/configz",
    "create token default -n istio-system --audience=istio-ca",
    "get proxyconfigs.istioctl.istio.io -n billing",
    "get pods -n billing",
]
EVERY = [*FOREIGN, *SECRETS, *IDENTITY, *FILES, *WRITES, *COMBINED]


@pytest.fixture(scope="module")
def before(mesh: Mesh) -> dict[str, str]:
    """Every object's version that a command could change, and the log level of both proxies."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "app-secret", "namespace": OWN},
        "stringData": {"text": MARK},
    }
    settings = {**secret, "kind": "ConfigMap", "metadata": {"name": MARK, "namespace": OTHER}, "data": {"a": MARK}}
    settings.pop("stringData")
    for body in (secret, settings):
        mesh.cluster.kubectl("apply", "--filename=-", input=json.dumps(body))
    return _state(mesh)


@pytest.fixture(scope="module")
def log_start(mesh: Mesh, before: dict[str, str]) -> int:
    del before
    return _log(mesh).stat().st_size


@pytest.fixture(scope="module")
def agent(make_agent: Callable[..., MeshAgent], log_start: int) -> MeshAgent:
    del log_start
    return make_agent(PROXIES, READ, TOKENS)


def test_there_are_many() -> None:
    assert len(set(EVERY)) == len(EVERY) >= 150


@pytest.mark.parametrize("line", EVERY)
def test_nothing_foreign_comes_back(agent: MeshAgent, tried: Tried, line: str) -> None:
    answer = agent.istioctl(
        line, timeout=20, stdin="kind: List\napiVersion: v1\nitems: []\n" if " -f -" in line else ""
    )
    _check(agent, line, answer.text)
    tried("istioctl", line)


@pytest.mark.parametrize("line", BY_KUBECTL)
def test_nor_by_kubectl(agent: MeshAgent, tried: Tried, line: str) -> None:
    answer = agent.kubectl(line)
    assert answer.status != "succeeded"
    _check(agent, line, answer.text)
    tried("kubectl", line)


def _check(agent: MeshAgent, line: str, text: str) -> None:
    """The other pod's name may stand in an answer only where the line itself said it."""
    said = agent.other if "$OTHER" in line else ""
    unsaid = text.replace(f"{said}.{OTHER}", "").replace(f'"{said}"', "") if said else text
    for word in (MARK, agent.other, *CREDENTIALS):
        assert word not in unsaid, f"{word} in {unsaid[-1500:]}"


def test_and_nothing_changed(agent: MeshAgent, mesh: Mesh, before: dict[str, str]) -> None:
    del agent
    assert _state(mesh) == before


def test_and_the_api_server_got_only_what_the_policy_gives(agent: MeshAgent, mesh: Mesh, log_start: int) -> None:
    client = f"system:serviceaccount:agents:{_name(agent)}"
    events = [
        event
        for event in audit_events(_log(mesh), since=log_start)
        if (event.get("impersonatedUser") or {}).get("extra", {}).get("k8s-mcp.io/client") == [client]
    ]
    assert len(events) > 100  # analyze alone makes some thirty
    beyond = {_shown(event) for event in events if not _is_given(event)}
    assert not beyond


def _is_given(event: dict[str, Any]) -> bool:
    """Whether the policy gives what was asked; a list over all namespaces is cut before the command sees it."""
    asked: dict[str, str] | None = event.get("objectRef")
    if asked is None:
        return event["verb"] == "get" or "selfsubject" in event["requestURI"]
    verb, namespace, name = event["verb"], asked.get("namespace", ""), asked.get("name", "")
    resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
    special = {
        "pods/portforward": namespace == OWN or (namespace == "istio-system" and name.startswith("istiod")),
        "serviceaccounts/token": (verb, namespace, name) == ("create", "istio-system", "default"),
        "selfsubjectaccessreviews": True,
        "secrets": False,
        "namespaces": name in {"", OWN, "default"},  # the last by `analyze -A`, and every cluster has it
    }
    reads = verb in {"get", "list", "watch"} and namespace in {"", OWN, "istio-system", name}
    return special.get(resource, reads)


def _shown(event: dict[str, Any]) -> str:
    return f"{event['verb']} {event['requestURI'].partition('?')[0]}"


def _state(mesh: Mesh) -> dict[str, str]:
    kinds = (
        "deployments,configmaps,secrets,services,serviceaccounts,virtualservices,destinationrules,"
        "mutatingwebhookconfigurations,validatingwebhookconfigurations,namespaces"
    )
    listed = mesh.cluster.kubectl("get", kinds, "--all-namespaces", "--output=json").stdout
    found = {}
    for item in json.loads(listed)["items"]:
        metadata = item["metadata"]
        is_lease = "control-plane.alpha.kubernetes.io/leader" in metadata.get("annotations", {})
        if not is_lease and metadata.get("namespace") not in {"kube-system", "k8s-mcp-system"}:
            key = f"{item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
            found[key] = metadata["uid"] + str(metadata.get("generation", "")) + json.dumps(item.get("data"))
    found = {key: value for key, value in found.items() if "agent-" not in key}
    return found | {name: proxy.log_levels() for name, proxy in mesh.proxies.items()}


def _name(agent: MeshAgent) -> str:
    return agent.agent.check_access().text.partition("Policy ")[2].partition(":")[0]


def _log(mesh: Mesh) -> Path:
    assert mesh.cluster.audit_log is not None
    return mesh.cluster.audit_log
