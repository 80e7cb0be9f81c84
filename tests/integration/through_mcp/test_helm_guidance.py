"""What agents of helm are told before they act: check_access, help with marks, and a prompt whose commands run."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.commands.helm.rights import HELM_RIGHTS
from tests.support.guidance import not_helped, suggested_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtools.cluster import TestCluster
    from tests.conftest import Helped
    from tests.integration.conftest import NamespaceFactory
    from tests.integration.through_mcp.conftest import AgentFactory
    from tests.support.agent import Agent, Answer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

FILES = {
    "chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "chart/templates/map.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n",
}
_OBJECTS = ["get", "list", "watch", "create", "update", "patch", "delete"]


def _rule(namespace: str, group: str, resources: list[str], verbs: list[str]) -> dict[str, Any]:
    return {"namespaces": [namespace], "apiGroups": [group], "resources": resources, "verbs": verbs}


def _helm(agent: Agent, command: str) -> Answer:
    return agent.call("execute_helm", {"command": command, "files": FILES})


@pytest.fixture(autouse=True)
def component(cluster: TestCluster) -> Iterator[None]:
    """The service may keep releases."""
    name = f"helm-{uuid.uuid4().hex[:6]}"
    cluster.kubectl("apply", "--filename=manifests/components/helm-rbac/rbac.yaml")
    account = "--serviceaccount=k8s-mcp-system:k8s-mcp-server"
    cluster.kubectl("create", "clusterrolebinding", name, "--clusterrole=k8s-mcp-server-helm", account)
    yield
    cluster.kubectl("delete", "clusterrolebinding", name)


@pytest.fixture
def namespace(namespace_factory: NamespaceFactory) -> str:
    return namespace_factory()


def _agent(agent_factory: AgentFactory, namespace: str, *rules: dict[str, Any], name: str) -> Agent:
    return agent_factory({"tools": ["helm"], "rules": list(rules), "defaultNamespace": namespace}, name=name)


@pytest.fixture
def owner(agent_factory: AgentFactory, namespace: str) -> Agent:
    """Has installed a release `web`."""
    verbs = ["get", "list", "create", "update", "delete"]
    releases = _rule(namespace, "helm.sh", ["releases", "releases/content"], verbs)
    agent = _agent(agent_factory, namespace, releases, _rule(namespace, "", ["configmaps"], _OBJECTS), name="owner")
    assert _helm(agent, "install web ./chart").status == "succeeded"
    return agent


@pytest.fixture
def reader(agent_factory: AgentFactory, namespace: str, owner: Agent) -> Agent:
    """Sees the metadata of releases."""
    del owner
    return _agent(agent_factory, namespace, _rule(namespace, "helm.sh", ["releases"], ["get", "list"]), name="reader")


COMMANDS = [
    "helm list",
    "helm ls -n default",
    "helm status web",
    "helm history web",
    "helm get metadata web",
    "helm get metadata web --revision 1",
    "helm status web --revision 1",
    "helm get values web --revision 1",
    "helm uninstall web",
    "helm rollback web 1",
    "helm install other ./chart",
    "helm upgrade web ./chart",
    "helm template web ./chart",
    "helm version",
]


def test_a_check_of_a_command_says_what_running_it_would(reader: Agent, owner: Agent) -> None:
    for who in (reader, owner):
        for command in COMMANDS:
            checked = who.call("check_access", {"command": command, "files": FILES})
            ran = _helm(who, command)
            if command == "helm uninstall web" and ran.status == "succeeded":
                assert _helm(who, "install web ./chart").status == "succeeded"
            assert checked.fields["allowed"] is (ran.status == "succeeded"), (command, checked.text, ran.everything)


def test_a_check_says_what_is_missing_what_would_give_it_and_what_only_a_run_can_tell(
    reader: Agent, namespace: str
) -> None:
    checked = reader.call("check_access", {"command": "uninstall web", "tool": "helm"})
    assert checked.fields["next_command"] == f"helm list -n {namespace}"
    assert "resources: [releases]" in checked.fields["rules"]
    assert "also needs get and delete on each object of the chart" in checked.text
    assert _helm(reader, checked.fields["next_command"]).status == "succeeded"


def test_help_is_marked_with_what_the_policy_gives(reader: Agent, owner: Agent, namespace: str) -> None:
    overview = reader.call("describe_helm", {}).text
    assert re.search(rf"^list: .* \[allowed in {namespace}\]$", overview, re.MULTILINE)
    assert re.search(r"^uninstall: .* \[not allowed: needs update on releases.helm.sh and", overview, re.MULTILINE)
    assert re.search(r"^env: .* \[not here: it prints the environment", overview, re.MULTILINE)
    assert re.search(r"^lint: [^\[]*$", overview, re.MULTILINE)
    values = reader.call("describe_helm", {"command": "helm get values web"}).text
    assert values.startswith("helm get values: not allowed: needs list on releases.helm.sh/content")
    upgrade = owner.call("describe_helm", {"command": "upgrade"}).text
    assert upgrade.startswith(f"helm upgrade: allowed in {namespace}; also needs get, create, patch and delete on each")
    assert "--kubeconfig" not in upgrade
    assert reader.call("describe_helm", {"command": "ls"}).text.startswith(f"helm list: allowed in {namespace}")


def test_marks_and_checks_go_by_the_rights_that_the_commands_stand_or_fall_with(
    agent_factory: AgentFactory, owner: Agent, namespace: str
) -> None:
    """Who lacks one of them is denied something; helm itself only warns where a release is made and not kept whole."""
    del owner
    objects = _rule(namespace, "", ["configmaps"], _OBJECTS)
    for path, line in (("install", "install other-{} ./chart"), ("uninstall", "uninstall web")):
        for number, missing in enumerate(HELM_RIGHTS[path]):
            have = {
                right: _rule(namespace, "helm.sh", [right.resource.replace(".helm.sh", "")], [right.verb])
                for right in HELM_RIGHTS[path]
                if right != missing
            }
            reads = _rule(namespace, "helm.sh", ["releases"], ["get", "list"])
            agent = _agent(agent_factory, namespace, *have.values(), reads, objects, name="lacking")
            answer = _helm(agent, line.format(number))
            assert answer.fields.get("denials"), (missing, answer.text)


DENIED = [
    "helm list -n default",
    "helm status web -n default",
    "helm history web -n kube-system",
    "helm uninstall web",
    "helm rollback web 1",
    "helm install other ./chart",
    "helm upgrade web ./chart",
    "helm upgrade --install other ./chart -n default",
    "helm list; id",
    "helm list > releases.txt",
    "helm list --kubeconfig /etc/kubeconfig",
    "helm list | less",
    "helm lst",
    "$ helm list && kubectl get pods",
]
NEEDED = 0.9


def test_after_each_denial_the_suggested_command_works(reader: Agent, helped: Helped) -> None:
    failed = not_helped(DENIED, lambda line: _helm(reader, line))
    helped("helm", worked=len(DENIED) - len(failed), of=len(DENIED))
    assert len(DENIED) - len(failed) >= NEEDED * len(DENIED), "\n".join(failed)


def test_every_command_that_the_prompt_suggests_works(reader: Agent) -> None:
    commands = suggested_by(reader, "helm_chart_management", release="web")
    assert len(commands) >= 3
    for command in commands:
        assert _helm(reader, command).status == "succeeded", command
