"""istioctl against a real istiod and a real Envoy: what works, by which right, and what it saw."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.istio.conftest import (
    GROUP,
    MESH,
    OTHER,
    OWN,
    PROXIES,
    READ,
    TOKENS,
    apply_policy,
    audit_events,
    rule,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from devtools.istio import Mesh
    from tests.e2e.istio.conftest import MeshAgent
    from tests.support.agent import Answer

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: orders}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: registry.example.com/web}]}
"""
WRONG_ROUTE = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: orders}
spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v7}}]}]}
"""


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        pytest.param("version", "data plane version: 1.31.0 (2 proxies)", id="version"),
        pytest.param("version --remote=false", "client version: 1.31.0", id="version of the client"),
        pytest.param("proxy-status", "billing", id="the mesh as a whole"),
        pytest.param("ps -n orders", "(CDS,LDS,EDS,RDS)", id="status of a namespace"),
        pytest.param("ps $POD", "Clusters Match", id="status of a proxy"),
        pytest.param("ps deploy/cart.orders", "Listeners Match", id="status by Deployment"),
        pytest.param("pc clusters $POD", "cart.orders.svc.cluster.local", id="clusters"),
        pytest.param("pc c deploy/cart -n orders -o json", '"type": "EDS"', id="clusters by Deployment"),
        pytest.param("pc listeners svc/cart.orders", "15006", id="listeners by Service"),
        pytest.param("pc routes $POD", "cart", id="routes"),
        pytest.param("pc endpoints $POD", "HEALTHY", id="endpoints"),
        pytest.param("pc bootstrap $POD | head -5", "sidecar~", id="bootstrap"),
        pytest.param("pc log $POD", "active loggers", id="log levels"),
        pytest.param("x authz check $POD", "AuthorizationPolicy", id="authorization"),
        pytest.param("x envoy-stats $POD | head -5", "result of pod", id="figures"),
        pytest.param("x envoy-stats $POD -o prom | grep -c envoy_", "", id="figures for Prometheus"),
        pytest.param("x envoy-stats -l app=cart -n orders --type clusters | head -5", "result of pod", id="by label"),
        pytest.param("x describe pod $POD", "DestinationRule: cart.orders", id="describe a pod"),
        pytest.param("x describe svc cart.orders", "VirtualService: cart", id="describe a Service"),
        pytest.param("x check-inject $POD", "Namespace label istio-injection=enabled matches", id="injection"),
        pytest.param("x check-inject -n orders -l app=web", "istio-sidecar-injector", id="injection of labels"),
        pytest.param("x injector list", "orders", id="injectors"),
        pytest.param("remote-clusters", "synced", id="clusters of the mesh"),
        pytest.param("tag list", "default", id="tags"),
        pytest.param("waypoint generate -n orders", "istio-waypoint", id="a waypoint's manifest"),
        pytest.param("analyze -L", "annotations.K8sAnalyzer", id="analyzers"),
        pytest.param("pc clusters --help", "Usage:", id="help"),
    ],
)
def test_works_with_its_right(team: MeshAgent, line: str, shown: str) -> None:
    answer = team.istioctl(line)
    assert answer.status == "succeeded", brief(answer)
    assert shown in answer.stdout


def test_a_configuration_is_checked_from_stdin_and_from_a_file(team: MeshAgent) -> None:
    for name, arguments in (("-", {"stdin": WRONG_ROUTE}), ("route.yaml", {"files": {"route.yaml": WRONG_ROUTE}})):
        answer = team.istioctl(f"validate -f {name}", **arguments)
        assert answer.status == "succeeded", brief(answer)
        answer = team.istioctl(f"analyze -n orders --use-kube=false {name}", **arguments)
        assert "IST0101" in answer.stdout


def test_a_dump_is_read_from_stdin_without_any_right(team: MeshAgent, stranger: MeshAgent) -> None:
    dump: dict[str, Any] = {"configs": []}
    for agent in (team, stranger):
        answer = agent.istioctl("pc clusters -f -", stdin=json.dumps(dump))
        assert answer.status != "denied", brief(answer)


def test_a_workload_is_injected_through_istiod(team: MeshAgent) -> None:
    answer = team.istioctl("kube-inject -f -", stdin=DEPLOYMENT)
    assert answer.status == "succeeded", brief(answer)
    assert "istio-proxy" in answer.stdout


def test_a_proxy_without_extensions_says_so_itself(team: MeshAgent) -> None:
    """The command reached it: a plain Envoy has no such configuration."""
    answer = team.istioctl("pc ecds $POD")
    assert (answer.status, "EcdsConfigDump" in answer.everything) == ("failed", True), brief(answer)


def test_an_output_may_go_through_filters(team: MeshAgent) -> None:
    answer = team.istioctl("pc clusters $POD -o json | jq -r '.[].name' | grep orders | head -1")
    assert (answer.status, "cart.orders" in answer.stdout) == ("succeeded", True), brief(answer)


# Rights


@pytest.mark.parametrize(
    ("line", "missing"),
    [
        ("version", '"meshes"'),
        ("ps", '"meshes"'),
        ("ps", '"tokens"'),
        ("ps -n orders", '"proxystatuses"'),
        ("ps $POD", '"proxystatuses"'),
        ("pc clusters $POD", '"proxyconfigs"'),
        ("pc secret $POD", '"proxysecrets"'),
        ("pc all $POD", '"proxysecrets"'),
        ("pc log $POD", '"proxyloglevels"'),
        ("pc log $POD --level debug", '"proxyloglevels"'),
        ("x authz check $POD", '"proxyconfigs"'),
        ("x describe pod $POD", '"descriptions"'),
        ("analyze -n orders", '"analyses"'),
        ("x precheck", '"meshes"'),
        ("kube-inject -f -", '"meshes"'),
    ],
)
def test_without_its_right_a_command_is_denied_before_it_runs(stranger: MeshAgent, line: str, missing: str) -> None:
    answer = stranger.istioctl(line, **({"stdin": DEPLOYMENT} if line.endswith(" -") else {}))
    assert answer.status == "denied"
    assert any(missing in denial for denial in answer.fields["denials"]), answer.text
    assert "exit_code" not in answer.fields


def test_a_denial_suggests_what_works(team: MeshAgent) -> None:
    answer = team.istioctl("pc clusters $OTHER")
    assert answer.status == "denied"
    assert f"get proxyconfigs.{GROUP} in {OWN}" in answer.text
    assert team.istioctl(answer.fields["next_command"]).status == "succeeded"


def test_a_right_to_one_proxy_is_to_no_other(make_agent: Callable[..., MeshAgent], mesh: Mesh) -> None:
    name = mesh.workloads[OWN].name
    named = make_agent({**rule("proxyconfigs", "get"), "resourceNames": [name]})
    assert named.istioctl("pc clusters $POD").status == "succeeded"
    assert named.istioctl("pc clusters other.orders").status == "denied"
    assert named.istioctl("pc clusters deploy/cart.orders").status == "denied"


def test_a_right_to_one_status_is_to_no_list_of_a_namespace(make_agent: Callable[..., MeshAgent], mesh: Mesh) -> None:
    name = mesh.workloads[OWN].name
    named = {**rule("proxystatuses"), "resourceNames": ["other"]}
    given = make_agent(named, TOKENS)
    withheld = make_agent(rule("proxystatuses"), TOKENS, deny=[{**named, "resourceNames": [name]}])
    for agent in (given, withheld):
        for line in ("ps -n orders", "ps -n orders -o json", "ps $POD"):
            answer = agent.istioctl(line)
            assert (answer.status, name in answer.stdout) == ("denied", False), brief(answer)


def test_a_certificate_is_shown_to_whom_it_is_named(make_agent: Callable[..., MeshAgent]) -> None:
    agent = make_agent(PROXIES, rule("proxysecrets", "get"))
    for line in ("pc secret $POD", "pc all $POD -o json | head -3", "pc all $POD | head -3"):
        assert agent.istioctl(line).status == "succeeded"


def test_log_levels_are_changed_by_those_who_may(team: MeshAgent, make_agent: Callable[..., MeshAgent]) -> None:
    def level() -> str:
        lines = team.istioctl("pc log $POD").stdout.splitlines()
        return next(line.split()[-1] for line in lines if line.strip().startswith("http:"))

    louder = make_agent(rule("proxyloglevels", "get update"))
    assert team.istioctl("pc log $POD --level http:debug").status == "denied"
    assert level() == "warning"
    assert louder.istioctl("pc log $POD --level http:debug").status == "succeeded"
    assert level() == "debug"
    assert louder.istioctl("pc log $POD --reset").status == "succeeded"
    assert level() == "warning"


def test_a_dry_run_changes_no_log_level(make_agent: Callable[..., MeshAgent]) -> None:
    agent = make_agent(rule("proxyloglevels", "get update"), mode="DryRun")
    assert agent.istioctl("pc log $POD --level http:debug").fields["reason"] == "NoDryRun"
    assert agent.istioctl("pc log $POD").status == "succeeded"


@pytest.mark.parametrize("resource", ["pods/portforward", "pods"])
def test_a_deny_of_what_istioctl_does_wins_over_the_right(make_agent: Callable[..., MeshAgent], resource: str) -> None:
    deny = {"namespaces": [OWN], "apiGroups": [""], "resources": [resource], "verbs": ["*"]}
    agent = make_agent(PROXIES, deny=[deny])
    answer = agent.istioctl("pc clusters $POD")
    assert answer.status == "denied", brief(answer)
    assert "DeniedByRule" in answer.everything


def test_rights_of_istioctl_give_kubectl_nothing(make_agent: Callable[..., MeshAgent]) -> None:
    agent = make_agent(PROXIES, MESH, TOKENS)
    for line in (
        f"get --raw /api/v1/namespaces/{OWN}/pods",
        f"get pods -n {OWN}",
        "get mutatingwebhookconfigurations",
        "create token default -n istio-system --audience istio-ca",
    ):
        assert agent.kubectl(line).status != "succeeded", line


def test_a_right_that_goes_ends_the_command(mesh: Mesh, make_agent: Callable[..., MeshAgent]) -> None:
    """A proxy that does not answer holds the port-forward open; the policy's end closes it."""
    agent = make_agent(PROXIES)
    name = _policy_of(agent)
    results: list[Any] = []
    with mesh.proxies[OWN].silent():
        since = _log(mesh).stat().st_size
        running = threading.Thread(target=lambda: results.append(agent.istioctl("pc clusters $POD", timeout=50)))
        running.start()
        assert any("portforward" in uri for uri in _requests_of_agents(mesh, since=since))
        apply_policy(mesh, name, rule("analyses"))
        running.join(timeout=40)
    assert not running.is_alive()
    assert results[0].status == "denied", brief(results[0])
    assert "policy changed" in results[0].fields["message"]


# What it saw


def test_the_api_server_saw_what_the_plan_says_and_no_more(team: MeshAgent, mesh: Mesh) -> None:
    since = _log(mesh).stat().st_size
    assert team.istioctl("pc clusters $POD").status == "succeeded"
    path = f"/api/v1/namespaces/{OWN}/pods/{team.pod}"
    seen = _requests_of_agents(mesh, since=since)
    assert {uri.partition("?")[0] for uri in seen} == {path, f"{path}/portforward"}


def test_analyze_sees_what_the_client_may_see_and_says_what_it_did_not(team: MeshAgent) -> None:
    answer = team.istioctl("analyze -n orders")
    assert answer.fields["exit_code"] == 79, brief(answer)
    assert "orders/cart" in answer.stdout
    assert OTHER not in answer.stdout
    assert {"nodes", "secrets", "remote clusters"} <= set(answer.fields["not_seen"])
    assert "not seen:" in answer.text
    assert answer.fields["duration_seconds"] < 15


def test_analyze_without_any_other_right_ends_and_says_so(make_agent: Callable[..., MeshAgent]) -> None:
    answer = make_agent(rule("analyses", "list")).istioctl("analyze -n orders")
    assert answer.status in {"succeeded", "failed"}, brief(answer)
    assert "virtualservices.networking.istio.io" in answer.fields["not_seen"]
    assert "cart" not in answer.stdout


def test_analyze_of_everything_is_cut_to_the_policy(team: MeshAgent) -> None:
    answer = team.istioctl("analyze -A -o json")
    assert "orders" in answer.stdout
    assert OTHER not in answer.everything.replace(team.other, "")


def test_analyze_reads_no_remote_clusters_credentials(make_agent: Callable[..., MeshAgent], mesh: Mesh) -> None:
    """Not even for one who may read them: istioctl would ask those clusters."""
    metadata = {"name": "remote", "namespace": "istio-system", "labels": {"istio/multiCluster": "true"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"far": "not a kubeconfig"}}
    mesh.cluster.kubectl("apply", "--filename=-", input=json.dumps(secret))
    secrets = {
        "namespaces": ["istio-system"],
        "apiGroups": [""],
        "resources": ["secrets"],
        "verbs": ["get", "list", "watch"],
    }
    try:
        answer = make_agent(PROXIES, READ, secrets).istioctl("analyze -n orders")
    finally:
        mesh.cluster.kubectl("delete", "secret", "remote", "--namespace=istio-system")
    assert answer.fields["exit_code"] == 79, brief(answer)
    assert "remote clusters" in answer.fields["not_seen"]


def test_describe_says_that_it_did_not_look_at_gateways(team: MeshAgent) -> None:
    assert team.istioctl("x describe pod $POD").fields["not_seen"] == ["ingress gateways"]


def test_precheck_answers_for_the_client(team: MeshAgent) -> None:
    answer = team.istioctl("x precheck")
    assert answer.fields["exit_code"] == 1
    assert "Missing required permission" in answer.stdout


# Helpers


def brief(answer: Answer) -> str:
    """What to print of an answer that was not as wanted: proxies have much to say."""
    return answer.text[-1500:]


def _policy_of(agent: MeshAgent) -> str:
    text = agent.agent.check_access().text
    return text.partition("Policy ")[2].partition(":")[0]


def _requests_of_agents(mesh: Mesh, *, since: int) -> list[str]:
    """The URIs that the API server got for commands, once a port-forward is among them, or after ten seconds."""
    deadline = time.monotonic() + 10
    while True:
        events = audit_events(_log(mesh), since=since)
        uris = [
            event["requestURI"]
            for event in events
            if "k8s-mcp.io/client" in (event.get("impersonatedUser") or {}).get("extra", {})
        ]
        if any("portforward" in uri for uri in uris) or time.monotonic() > deadline:
            return uris
        time.sleep(0.1)


def _log(mesh: Mesh) -> Path:
    assert mesh.cluster.audit_log is not None
    return mesh.cluster.audit_log
