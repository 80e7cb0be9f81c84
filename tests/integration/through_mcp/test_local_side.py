"""What kubectl does on its own side: manifests, kustomizations and copies as files of the command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from devtools.cluster import TestCluster
    from tests.integration.conftest import NamespaceFactory
    from tests.integration.through_mcp.conftest import AgentFactory
    from tests.support.agent import Agent

pytestmark = pytest.mark.integration

_EVERYTHING = ["get", "list", "watch", "create", "update", "patch", "delete"]
_EXEC = "k8s-mcp-test-exec"


def _spec(namespace: str) -> dict[str, Any]:
    exec_rule = {"namespaces": [namespace], "apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}
    rule = {
        "namespaces": [namespace],
        "apiGroups": [""],
        "resources": ["configmaps", "pods"],
        "verbs": _EVERYTHING,
        "allowPrivilegedWorkloads": True,
    }
    return {"rules": [rule, exec_rule], "defaultNamespace": namespace}


def _config_map(name: str, value: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{key: '{value}'}}\n"


@pytest.fixture
def namespace(namespace_factory: NamespaceFactory) -> str:
    return namespace_factory()


@pytest.fixture
def agent(namespace: str, agent_factory: AgentFactory) -> Agent:
    return agent_factory(_spec(namespace))


@pytest.fixture
def value_of(cluster: TestCluster, namespace: str) -> Callable[[str], str]:
    def read(name: str) -> str:
        return cluster.kubectl("get", "cm", name, "-n", namespace, "-o", "jsonpath={.data.key}", check=False).stdout

    return read


@pytest.fixture(scope="module")
def exec_in_the_ceiling(cluster: TestCluster) -> Iterator[None]:
    """The service itself may exec: the manifests leave that to a component."""
    cluster.kubectl("create", "clusterrole", _EXEC, "--verb=create,get", "--resource=pods/exec")
    account = "--serviceaccount=k8s-mcp-system:k8s-mcp-server"
    cluster.kubectl("create", "clusterrolebinding", _EXEC, f"--clusterrole={_EXEC}", account)
    yield
    cluster.kubectl("delete", "clusterrole,clusterrolebinding", _EXEC)


def test_manifests_are_applied_by_name_and_by_folder(agent: Agent, value_of: Callable[[str], str]) -> None:
    files = {"a.yaml": _config_map("a", "1"), "more/b.yaml": _config_map("b", "2")}
    for command in ("apply -f a.yaml", "kubectl apply -f ./a.yaml -f more/b.yaml", "apply -R -f ."):
        answer = agent.kubectl(command, files=files)
        assert answer.status == "succeeded", answer.everything
    assert (value_of("a"), value_of("b")) == ("1", "2")
    assert agent.kubectl("delete -f a.yaml", files=files).status == "succeeded"
    assert value_of("a") == ""


def test_a_kustomization_is_built_and_applied(agent: Agent, value_of: Callable[[str], str]) -> None:
    files = {
        "base/kustomization.yaml": "resources: [a.yaml]\n",
        "base/a.yaml": _config_map("a", "base"),
        "prod/kustomization.yaml": "resources: [../base]\nnamePrefix: prod-\n"
        "configMapGenerator: [{name: made, files: [key=text.txt]}]\ngeneratorOptions: {disableNameSuffixHash: true}\n",
        "prod/text.txt": "from a file",
    }
    built = agent.kubectl("kustomize prod", files=files)
    assert "name: prod-made" in built.stdout, built.everything
    answer = agent.kubectl("apply -k prod", files=files)
    assert answer.status == "succeeded", answer.everything
    assert (value_of("prod-a"), value_of("prod-made")) == ("base", "from a file")


def test_a_remote_base_is_not_fetched(agent: Agent) -> None:
    files = {"kustomization.yaml": "resources: ['https://example.com/base?ref=v1']\n"}
    answer = agent.kubectl("kustomize .", files=files)
    assert answer.status == "failed"
    assert "proxyconnect tcp: dial tcp 127.0.0.1:0: connect: permission denied" in answer.everything


def test_yaml_is_filtered_with_yq(agent: Agent) -> None:
    manifests = _config_map("a", "1") + "---\n" + _config_map("b", "2")
    piped = "apply -f - --dry-run=client -o yaml | yq '.items[] | select(.data.key == \"2\") | .metadata.name'"
    answer = agent.kubectl(piped, stdin=manifests)
    assert (answer.status, answer.stdout) == ("succeeded", "b\n"), answer.everything


def test_a_file_becomes_a_config_map(agent: Agent, value_of: Callable[[str], str]) -> None:
    answer = agent.kubectl("create configmap made --from-file=key=text.txt", files={"text.txt": "content"})
    assert answer.status == "succeeded", answer.everything
    assert value_of("made") == "content"


def test_diff_shows_what_an_apply_would_change(agent: Agent, value_of: Callable[[str], str]) -> None:
    assert agent.kubectl("apply -f -", stdin=_config_map("a", "old")).status == "succeeded"
    same = agent.kubectl("diff -f -", stdin=_config_map("a", "old"))
    assert (same.status, same.stdout) == ("succeeded", "")
    changed = agent.kubectl("diff -f a.yaml", files={"a.yaml": _config_map("a", "new")})
    assert changed.fields["exit_code"] == 1
    assert "-  key: old\n+  key: new\n" in changed.stdout
    assert "command-" not in changed.stdout  # where it ran on this machine
    assert value_of("a") == "old"


def test_a_file_comes_back_from_a_pod(
    agent: Agent, cluster: TestCluster, namespace: str, exec_in_the_ceiling: None, tmp_path: Path
) -> None:
    del exec_in_the_ceiling
    cluster.kubectl("run", "box", "-n", namespace, "--image=example.com/box:1")
    cluster.kubectl("wait", "pod/box", "-n", namespace, "--for=condition=Ready", "--timeout=30s")
    (tmp_path / "report.txt").write_text("from the pod\n", encoding="utf-8")  # the simulated pod runs on this machine
    answer = agent.kubectl(f"cp box:{tmp_path}/report.txt report.txt")
    assert answer.status == "succeeded", answer.everything
    assert answer.fields["files"] == {"report.txt": "from the pod\n"}
    assert "from the pod" in answer.text


@pytest.mark.parametrize("command", ["apply -f x.yaml", "apply -k .", "cp x box:/x", "create cm c --from-file=x"])
def test_a_file_that_was_not_given_is_asked_for(agent: Agent, command: str) -> None:
    answer = agent.kubectl(command)
    assert (answer.status, answer.fields["reason"]) == ("refused", "NoFiles")
    assert "files={" in answer.fields["hint"]
