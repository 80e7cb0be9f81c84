"""What agents are told before they act: check_access for commands, help with marks, prompts whose commands run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from devtools.cluster import TestCluster
    from tests.integration.conftest import NamespaceFactory
    from tests.integration.through_mcp.conftest import AgentFactory
    from tests.support.agent import Agent

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

WRITE = ["get", "list", "watch", "create", "update", "patch", "delete"]
BASELINE = {"pod-security.kubernetes.io/enforce": "baseline"}
_COMMAND = re.compile(r"^\d+\. [^`]+: `(.+)`$", re.MULTILINE)


def _spec(namespace: str) -> dict[str, Any]:
    resources = ["pods", "pods/log", "configmaps", "events", "deployments", "deployments/scale", "replicasets"]
    rule = {"namespaces": [namespace], "apiGroups": ["", "apps"], "resources": resources, "verbs": WRITE}
    return {"rules": [rule], "defaultNamespace": namespace}


@pytest.fixture
def namespace(namespace_factory: NamespaceFactory) -> str:
    return namespace_factory(labels=BASELINE)


@pytest.fixture
def agent(namespace: str, agent_factory: AgentFactory) -> Agent:
    return agent_factory(_spec(namespace))


MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\ndata: {a: b}\n"


def test_a_check_of_a_command_says_what_running_it_would_and_changes_nothing(
    agent: Agent, cluster: TestCluster, namespace: str
) -> None:
    commands: list[tuple[str, dict[str, Any]]] = [
        ("get pods", {}),
        ("kubectl get pods -n default", {}),
        ("get pods -A", {}),
        ("get secrets", {}),
        ("get pods | wc -l", {}),
        ("get nodes", {}),
        ("apply -f -", {"stdin": MANIFEST}),
        ("apply -f made.yaml", {"files": {"made.yaml": MANIFEST}}),
        ("apply -f - -n default", {"stdin": MANIFEST}),
        ("create deployment web --image=example.com/web:1", {}),
        ("delete configmap made --ignore-not-found", {}),
        ("auth whoami", {}),
        ("create role r --verb=get --resource=pods", {}),
    ]
    answers = {}
    for command, arguments in commands:
        checked = agent.call("check_access", {"command": command, **arguments})
        answers[command] = checked.fields["allowed"]
    made = cluster.kubectl("get", "cm,deploy,role", "-n", namespace, "-o", "name").stdout.split()
    assert made == ["configmap/kube-root-ca.crt"]
    for command, arguments in commands:
        ran = agent.kubectl(command, **arguments)
        assert answers[command] is (ran.status == "succeeded"), (command, answers[command], ran.everything)


def test_a_check_says_everything_that_is_missing_and_the_rules_that_would_give_it(agent: Agent, namespace: str) -> None:
    checked = agent.call("check_access", {"command": "create job now --from=cronjob/nightly"})
    assert checked.fields["allowed"] is False
    assert "resources: [cronjobs]" in checked.fields["rules"]
    assert "resources: [jobs]" in checked.fields["rules"]
    assert f"namespaces: [{namespace}]" in checked.text
    assert agent.kubectl(checked.fields["next_command"]).status == "succeeded"


def test_a_check_refuses_what_running_it_would(agent: Agent) -> None:
    checked = agent.call("check_access", {"command": "get pods; id"})
    assert (checked.fields["status"], checked.fields["reason"]) == ("refused", "ShellOperator")


def test_help_is_the_real_one_marked_with_what_the_policy_gives(agent: Agent, namespace: str) -> None:
    overview = agent.call("describe_kubectl", {}).text
    assert f"get: Display one or many resources [allowed in {namespace}]" in overview
    assert "exec: Execute a command in a container [not allowed: needs create on pods/exec]" in overview
    assert "edit: Edit a resource on the server [not here: it opens an editor]" in overview
    restart = agent.call("describe_kubectl", {"command": "kubectl rollout restart deployment/web"}).text
    assert restart.startswith(f"kubectl rollout restart: allowed in {namespace}")
    assert "kubectl rollout restart RESOURCE [options]" in restart
    logs = agent.call("describe_kubectl", {"command": "logs"}).text
    assert "--tail=" in logs
    assert "--kubeconfig" not in logs


@pytest.mark.parametrize("command", ["delete pods --all", "delete pods --all --help", "delete -- pods", "exec x -- id"])
def test_describing_a_command_runs_nothing_but_help(
    agent: Agent, cluster: TestCluster, namespace: str, command: str
) -> None:
    cluster.kubectl("run", "kept", "-n", namespace, "--image=example.com/kept:1")
    answer = agent.call("describe_kubectl", {"command": command})
    assert "Usage:" in answer.text
    assert (
        cluster.kubectl("get", "pod", "kept", "-n", namespace, "-o", "jsonpath={.metadata.deletionTimestamp}").stdout
        == ""
    )


def test_an_unknown_subcommand_is_answered_with_those_near_it(agent: Agent) -> None:
    assert "it has describe" in agent.call("describe_kubectl", {"command": "descrbe"}).text


PROMPTS: dict[str, dict[str, str]] = {
    "k8s_deploy_application": {"app_name": "web", "image": "example.com/web:1"},
    "k8s_resource_status": {"resource_type": "deployments"},
    "k8s_troubleshoot": {"resource_type": "deployment", "resource_name": "web"},
    "k8s_resource_inventory": {},
    "k8s_security_check": {},
    "k8s_resource_scaling": {"resource_type": "deployment", "resource_name": "web", "replicas": "2"},
    "k8s_logs_analysis": {"pod_name": "box"},
}


def test_every_command_that_a_prompt_suggests_works(agent: Agent, cluster: TestCluster, namespace: str) -> None:
    cluster.kubectl("run", "box", "-n", namespace, "--image=example.com/box:1")
    cluster.kubectl("wait", "pod/box", "-n", namespace, "--for=condition=Ready", "--timeout=30s")
    for name, arguments in PROMPTS.items():
        text = agent.prompt(name, **arguments)
        commands = _COMMAND.findall(text)
        assert len(commands) >= 3, text
        for command in commands:
            answer = agent.kubectl(command)
            assert answer.status == "succeeded", (name, command, answer.everything)
