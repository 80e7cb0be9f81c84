"""A mesh with a real istiod and real Envoys, the service installed beside it, and agents that call it.

Two namespaces have the same app with a proxy: ``orders`` is the agents' own, ``billing`` is nobody's business. What is
in ``billing`` carries a mark; an answer that holds it is a hole.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from devtools.demo.teams import AGENTS_NAMESPACE, AUDIENCE
from devtools.installed import InstalledService, install
from devtools.istio import Mesh
from devtools.toolchain import link_tools
from tests.support.agent import Agent, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GROUP = "istioctl.istio.io"
OWN, OTHER = "orders", "billing"
_IN_FORCE_WITHIN = 20.0
_SETTINGS = "audit_requests: All\ncommands_per_minute: 100000\nconcurrent_commands: 16\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshAgent:
    """An agent that calls istioctl and kubectl; ``$POD`` and ``$OTHER`` in a line are pods with a proxy."""

    agent: Agent
    pod: str
    other: str

    def istioctl(self, line: str, **arguments: Any) -> Answer:
        """Call ``execute_istioctl``."""
        return self.agent.call("execute_istioctl", {"command": self._filled(line), **arguments})

    def kubectl(self, line: str) -> Answer:
        """Call ``execute_kubectl``."""
        return self.agent.kubectl(self._filled(line))

    def _filled(self, line: str) -> str:
        return line.replace("$POD", f"{self.pod}.{OWN}").replace("$OTHER", f"{self.other}.{OTHER}")


@pytest.fixture(scope="session")
def mesh() -> Iterator[Mesh]:
    with Mesh([OWN, OTHER]) as running:
        running.cluster.kubectl("create", "configmap", "secret-settings", f"--namespace={OTHER}")
        yield running


@pytest.fixture(scope="session")
def service(mesh: Mesh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InstalledService]:
    """The service with the rights of ``examples/demo`` and of the component ``istio-rbac``, and no more."""
    install(mesh.cluster)
    mesh.cluster.kubectl("apply", "--filename=manifests/components/istio-rbac/rbac.yaml")
    patch = json.dumps({"data": {"config.yaml": _SETTINGS}})
    mesh.cluster.kubectl(
        "patch", "configmap", "k8s-mcp-server", "--namespace=k8s-mcp-system", "--type=merge", f"--patch={patch}"
    )
    folder = tmp_path_factory.mktemp("service")
    tools = link_tools(folder / "tools", ["kubectl", "istioctl"])
    with InstalledService(mesh.cluster, tools=tools, folder=folder) as running:
        yield running


@pytest.fixture(scope="session")
def make_agent(mesh: Mesh, service: InstalledService) -> Callable[..., MeshAgent]:
    """Makes an agent whose policy has these rules, and is in force when this returns."""

    def make(*rules: dict[str, Any], **spec: Any) -> MeshAgent:
        name = f"agent-{uuid.uuid4().hex[:8]}"
        mesh.cluster.kubectl("create", "serviceaccount", name, f"--namespace={AGENTS_NAMESPACE}")
        agent = Agent(service.url, mesh.cluster.service_account_token(AGENTS_NAMESPACE, name, audience=AUDIENCE))
        apply_policy(mesh, name, *rules, **spec)
        await_policy(agent, name, present=True)
        pods = mesh.workloads
        return MeshAgent(agent=agent, pod=pods[OWN].name, other=pods[OTHER].name)

    return make


def apply_policy(mesh: Mesh, name: str, *rules: dict[str, Any], **spec: Any) -> None:
    """Create or replace the policy of the agent of that name."""
    subjects = [{"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": name}]
    body = {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {"name": name},
        "spec": {"subjects": subjects, "tools": ["kubectl", "istioctl"], "rules": list(rules), **spec},
    }
    mesh.cluster.kubectl("apply", "--filename=-", input=json.dumps(body))


def await_policy(agent: Agent, name: str, *, present: bool) -> None:
    """Wait until the service knows the policy, or knows that it is gone."""
    deadline = time.monotonic() + _IN_FORCE_WITHIN
    while (f"Policy {name}:" in agent.check_access().everything) is not present:
        assert time.monotonic() < deadline, f"policy {name} was not as wanted after {_IN_FORCE_WITHIN:.0f} s"


def rule(resources: str, verbs: str = "get list", *, namespace: str = OWN) -> dict[str, Any]:
    """A rule about virtual resources in one namespace."""
    return {
        "namespaces": [namespace],
        "apiGroups": [GROUP],
        "resources": resources.split(),
        "verbs": verbs.split(),
    }


READ: dict[str, Any] = {
    "namespaces": [OWN],
    "apiGroups": ["*"],
    "resources": ["*"],
    "verbs": ["get", "list", "watch"],
}
MESH: dict[str, Any] = {"clusterScoped": True, "apiGroups": [GROUP], "resources": ["meshes"], "verbs": ["get"]}
TOKENS = rule("tokens", "create", namespace="istio-system")
PROXIES = rule("proxyconfigs proxystatuses proxyloglevels descriptions analyses")


@pytest.fixture(scope="session")
def team(make_agent: Callable[..., MeshAgent]) -> MeshAgent:
    """A team's agent: its own namespace's proxies and objects, the mesh as a whole, no more."""
    return make_agent(PROXIES, READ, MESH, TOKENS)


@pytest.fixture(scope="session")
def stranger(make_agent: Callable[..., MeshAgent]) -> MeshAgent:
    """May use istioctl, and has no right that it knows; reads the team's namespace."""
    return make_agent(READ)


def audit_events(path: Path, *, since: int) -> list[dict[str, Any]]:
    """The API server's audit events from this byte of the log on."""
    with path.open("rb") as log:
        log.seek(since)
        return [json.loads(line) for line in log if line.endswith(b"\n")]
