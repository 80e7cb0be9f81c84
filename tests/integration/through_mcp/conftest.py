"""The service, installed by the manifests and running under its own ServiceAccount, with agents that call it."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from devtools.cluster import ExistingCluster
from devtools.demo.teams import AGENTS_NAMESPACE, AUDIENCE
from devtools.installed import InstalledService, install, install_crd, uninstall
from devtools.toolchain import ensure_tools, link_tools
from tests.support.agent import Agent
from tests.support.recording import ObjectRecorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.cluster import TestCluster

_IN_FORCE_WITHIN = 20.0


class AgentFactory(Protocol):
    """Makes an agent; with ``spec``, also a policy that names it and is in force when this returns."""

    def __call__(self, spec: dict[str, Any] | None = None, *, name: str = "agent") -> Agent: ...


@pytest.fixture(scope="session")
def recorder(cluster: TestCluster) -> Iterator[ObjectRecorder]:
    """Every version of every policy and namespace, from before the first policy on."""
    found = cluster.kubectl("get", "namespace", "k8s-mcp-system", "--ignore-not-found").stdout
    if isinstance(cluster, ExistingCluster) and found:
        pytest.fail("this cluster has a namespace k8s-mcp-system: the tests would change what they did not make")
    install_crd(cluster)
    with ObjectRecorder(ensure_tools(["kubectl"])["kubectl"], cluster.kubeconfig) as recording:
        yield recording


@pytest.fixture(scope="session")
def replicas() -> list[InstalledService]:
    """Every service that a test of this folder runs, so that all that they let through can be decided again."""
    return []


@pytest.fixture(scope="session")
def installed(
    cluster: TestCluster,
    recorder: ObjectRecorder,
    replicas: list[InstalledService],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[InstalledService]:
    """The running service. Every request is audited, so that a test can decide all of them again."""
    del recorder
    install(cluster)
    settings = {"data": {"config.yaml": "audit_requests: All\ncommands_per_minute: 100000\nconcurrent_commands: 16\n"}}
    patch = ("--type=merge", f"--patch={json.dumps(settings)}")
    cluster.kubectl("patch", "configmap", "k8s-mcp-server", "--namespace=k8s-mcp-system", *patch)
    tools = link_tools(tmp_path_factory.mktemp("tools") / "bin", ["kubectl", "yq", "helm"])
    with InstalledService(cluster, tools=tools, folder=tmp_path_factory.mktemp("service")) as service:
        replicas.append(service)
        yield service
    if isinstance(cluster, ExistingCluster):
        uninstall(cluster)


@pytest.fixture(scope="session")
def demo_tokens(cluster: TestCluster, installed: InstalledService) -> dict[str, str]:
    """A token for each agent of the demo."""
    from devtools.demo.teams import tokens

    del installed
    cluster.kubectl("wait", "--for=condition=Ready", "mcpap", "--all", "--timeout=60s")
    return tokens(cluster)


@pytest.fixture
def agent_factory(cluster: TestCluster, installed: InstalledService) -> Iterator[AgentFactory]:
    """Agents of one test, each a ServiceAccount of its own; they and their policies go when the test ends."""
    accounts: list[str] = []
    policies: list[str] = []

    def make(spec: dict[str, Any] | None = None, *, name: str = "agent") -> Agent:
        unique = f"{name}-{uuid.uuid4().hex[:8]}"
        cluster.kubectl("create", "serviceaccount", unique, "--namespace", AGENTS_NAMESPACE)
        accounts.append(unique)
        token = cluster.service_account_token(AGENTS_NAMESPACE, unique, audience=AUDIENCE)
        agent = Agent(installed.url, token)
        if spec is not None:
            subject = {"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": unique}
            apply_policy(cluster, unique, {"subjects": [subject], **spec})
            policies.append(unique)
            await_in_force(agent, unique)
        return agent

    yield make
    if policies:
        cluster.kubectl("delete", "mcpap", *policies, "--ignore-not-found")
    if accounts:
        cluster.kubectl("delete", "serviceaccount", *accounts, "--namespace", AGENTS_NAMESPACE, "--ignore-not-found")


def apply_policy(cluster: TestCluster, name: str, spec: dict[str, Any]) -> None:
    """Create or replace a policy as the administrator."""
    body = {"apiVersion": "k8s-mcp.io/v1alpha1", "kind": "McpAccessPolicy", "metadata": {"name": name}, "spec": spec}
    cluster.kubectl("apply", "--filename=-", input=json.dumps(body))


def eventually(holds: Callable[[], bool], what: str) -> None:
    """Wait until it holds; ``what`` was the case until the end, where it does not."""
    deadline = time.monotonic() + _IN_FORCE_WITHIN
    while not holds():
        assert time.monotonic() < deadline, f"{what} after {_IN_FORCE_WITHIN:.0f} s"


def await_in_force(agent: Agent, policy: str) -> None:
    """Wait until the service knows the policy: the agent's own access names it."""
    deadline = time.monotonic() + _IN_FORCE_WITHIN
    while policy not in agent.check_access().everything.replace(f"{AGENTS_NAMESPACE}:{policy}", ""):
        assert time.monotonic() < deadline, f"policy {policy} was not in force after {_IN_FORCE_WITHIN:.0f} s"


@pytest.fixture(scope="module")
def no_ceiling(cluster: TestCluster) -> Iterator[None]:
    """The service may do everything."""
    name = f"no-ceiling-{uuid.uuid4().hex[:6]}"
    cluster.kubectl(
        "create",
        "clusterrolebinding",
        name,
        "--clusterrole=cluster-admin",
        "--serviceaccount=k8s-mcp-system:k8s-mcp-server",
    )
    yield
    cluster.kubectl("delete", "clusterrolebinding", name)
