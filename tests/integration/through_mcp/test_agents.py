"""What agents can and cannot do, from their token to the real API server and back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from devtools.demo.tour import STEPS, walk

if TYPE_CHECKING:
    from devtools.cluster import TestCluster
    from devtools.installed import InstalledService
    from tests.integration.conftest import NamespaceFactory
    from tests.integration.through_mcp.conftest import AgentFactory

pytestmark = pytest.mark.integration

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
READ_EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}


def _write(namespace: str) -> dict[str, object]:
    verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
    resources = ["configmaps", "pods", "deployments"]
    return {
        "name": "write",
        "namespaces": [namespace],
        "apiGroups": ["", "apps"],
        "resources": resources,
        "verbs": verbs,
    }


def test_every_step_of_the_demo_s_tour_comes_out_as_it_says(
    installed: InstalledService, demo_tokens: dict[str, str]
) -> None:
    async def tour() -> list[str]:
        outcomes = [outcome async for outcome in walk(installed.url, demo_tokens)]
        assert len(outcomes) == len(STEPS)
        return [f"{item.step.title}: {fault}: {item.text}" for item in outcomes for fault in item.faults]

    assert asyncio.run(tour()) == []


def test_an_agent_that_no_policy_names_is_told_so_and_runs_nothing(agent_factory: AgentFactory) -> None:
    agent = agent_factory()
    answer = agent.kubectl("get pods -n default")
    assert (answer.status, answer.fields["reason"]) == ("denied", "NoPolicy")
    assert "No access policy names you" in agent.check_access().text


def test_an_agent_writes_in_its_namespace_and_the_change_is_real(
    cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
) -> None:
    namespace = namespace_factory(labels=RESTRICTED)
    agent = agent_factory({"rules": [_write(namespace)]})
    assert agent.kubectl(f"create configmap made -n {namespace} --from-literal=a=1").status == "succeeded"
    assert cluster.kubectl("get", "cm", "made", "-n", namespace, "-o", "jsonpath={.data.a}").stdout == "1"
    assert agent.kubectl(f"label configmap made -n {namespace} seen=yes").status == "succeeded"
    assert agent.kubectl(f"delete configmap made -n {namespace}").status == "succeeded"
    assert cluster.kubectl("get", "cm", "made", "-n", namespace, check=False).returncode != 0


def test_a_manifest_comes_in_stdin_and_is_applied(
    cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
) -> None:
    namespace = namespace_factory()
    agent = agent_factory({"rules": [_write(namespace)]})
    manifest = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m, namespace: {namespace}}}\ndata: {{k: v}}\n"
    for command in ("apply -f -", "apply --server-side --force-conflicts -f -", "replace -f -"):
        answer = agent.kubectl(command, stdin=manifest)
        assert answer.status == "succeeded", answer.everything
    assert cluster.kubectl("get", "cm", "m", "-n", namespace, "-o", "jsonpath={.data.k}").stdout == "v"


def test_a_bundled_cli_may_be_a_later_stage_under_the_same_token(
    cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
) -> None:
    namespace = namespace_factory()
    agent = agent_factory({"rules": [_write(namespace)]})
    made = f"create configmap piped -n {namespace} --from-literal=a=b --dry-run=client -o yaml"
    answer = agent.kubectl(f"kubectl {made} | kubectl apply -n {namespace} -f -")
    assert answer.status == "succeeded", answer.everything
    assert cluster.kubectl("get", "cm", "piped", "-n", namespace, "-o", "jsonpath={.data.a}").stdout == "b"


def test_lists_and_watches_over_all_namespaces_hold_what_the_policy_allows(
    cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
) -> None:
    mine, also_mine, other = namespace_factory("mine"), namespace_factory("mine"), namespace_factory("other")
    for namespace in (mine, also_mine, other):
        cluster.kubectl("create", "configmap", f"seen-{namespace}", "-n", namespace)
    agent = agent_factory({"rules": [{"namespaces": [mine, also_mine], **READ_EVERYTHING}]})
    for output in ("", "-o wide", "-o json", "-o yaml", "-o name", "-o jsonpath={.items[*].metadata.name}"):
        answer = agent.kubectl(f"get configmaps -A {output}")
        assert answer.status == "succeeded", answer.everything
        assert f"seen-{mine}" in answer.stdout
        assert f"seen-{also_mine}" in answer.stdout
        assert other not in answer.everything
        assert answer.fields["filtered"] is True
    watched = agent.kubectl("get configmaps -A --watch -o name", timeout=3)
    assert watched.status == "timed_out"
    assert f"seen-{mine}" in watched.stdout
    assert other not in watched.everything
    assert set(agent.kubectl("get namespaces -o name").stdout.split()) == {
        f"namespace/{mine}",
        f"namespace/{also_mine}",
    }


def test_a_privileged_pod_is_refused_by_policy_where_pod_security_does_not_enforce(
    namespace_factory: NamespaceFactory, agent_factory: AgentFactory
) -> None:
    free = namespace_factory()
    agent = agent_factory({"rules": [_write(free)]})
    answer = agent.kubectl(f"run innocent -n {free} --image=registry.example.com/app:1.0")
    assert answer.status == "denied", answer.everything
    assert "pod-security.kubernetes.io/enforce" in answer.everything


def test_a_policy_that_lifts_the_workload_rule_says_so_and_works(
    cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
) -> None:
    free = namespace_factory()
    agent = agent_factory({"rules": [{**_write(free), "allowPrivilegedWorkloads": True}]})
    answer = agent.kubectl(f"run app -n {free} --image=registry.example.com/app:1.0")
    assert answer.status == "succeeded", answer.everything
    assert cluster.kubectl("get", "pod", "app", "-n", free).returncode == 0


def test_the_service_s_own_namespace_is_never_reachable(agent_factory: AgentFactory) -> None:
    agent = agent_factory({"rules": [{"namespaces": ["*", "k8s-mcp-system"], **READ_EVERYTHING}]})
    assert agent.kubectl("get pods -n k8s-mcp-system").status == "denied"
    assert "k8s-mcp-system" not in agent.kubectl("get configmaps -A").stdout
    assert "k8s-mcp-system" not in agent.kubectl("get namespaces").stdout


def test_logs_of_a_pod_need_the_subresource(agent_factory: AgentFactory, cluster: TestCluster) -> None:
    pod = cluster.kubectl("get", "pods", "-n", "shop", "-o", "name").stdout.split()[0]
    read = {"name": "read", "namespaces": ["shop"], "apiGroups": [""], "verbs": ["get", "list"]}
    without = agent_factory({"rules": [{**read, "resources": ["pods"]}]})
    assert without.kubectl(f"logs {pod} -n shop").status == "denied"
    with_logs = agent_factory({"rules": [{**read, "resources": ["pods", "pods/log"]}]})
    assert with_logs.kubectl(f"logs {pod} -n shop --tail=1").status == "succeeded"


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("describe deployment cart -n shop", id="describe"),
        pytest.param("api-resources", id="api-resources"),
        pytest.param("explain pods.spec", id="explain"),
        pytest.param("version", id="version"),
        pytest.param("get deploy,rs,pods -n shop -o wide", id="several kinds"),
        pytest.param("rollout status deployment/cart -n shop --timeout=5s", id="rollout status"),
        pytest.param("wait deployment/cart -n shop --for=condition=Available --timeout=5s", id="wait"),
        pytest.param("get events -n shop --sort-by=.lastTimestamp", id="sorted events"),
        pytest.param("get pods -n shop --chunk-size=1", id="paged"),
        pytest.param("get deploy cart -n shop -o yaml | grep -c image", id="a pipe into grep"),
    ],
)
def test_what_an_agent_types_every_day_works(
    command: str, installed: InstalledService, demo_tokens: dict[str, str]
) -> None:
    from tests.support.agent import Agent

    answer = Agent(installed.url, demo_tokens["auditor"]).kubectl(command)
    assert answer.status == "succeeded", answer.everything
    assert answer.stdout
