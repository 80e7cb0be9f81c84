"""A cluster with a real Argo CD, the service installed beside it, and agents that call it.

Two projects of a team (``team-a``, ``team-b``) and one that is nobody's business (``payments``), each with an
application; the service's own token may do everything in all of them.
"""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from devtools.argocd import ArgoCDControlPlane, GitRepository
from devtools.cluster import KwokCluster
from devtools.demo.teams import AGENTS_NAMESPACE, AUDIENCE
from devtools.installed import InstalledService, install
from devtools.toolchain import link_tools
from tests.support.agent import Agent, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IN_CLUSTER = "https://kubernetes.default.svc"
GROUP = "argocd.argoproj.io"
SECRET_VALUE = "c2VjcmV0LXZhbHVl"
PROJECTS = ("team-a", "team-b", "payments")
_IN_FORCE_WITHIN = 20.0
_SETTLED_WITHIN = 60.0

_DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
"""
_STUCK = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: stuck, annotations: {argocd.argoproj.io/hook: PreSync}}
spec:
  selector: {matchLabels: {app: stuck}}
  template:
    metadata: {labels: {app: stuck}}
    spec: {nodeSelector: {nowhere: at-all}, containers: [{name: web, image: web}]}
"""
_SETTINGS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: blue}
"""
_CREDENTIALS = f"""
apiVersion: v1
kind: Secret
metadata: {{name: credentials}}
data: {{password: {SECRET_VALUE}}}
"""


def applications(verbs: str = "*", *names: str, resources: str = "applications") -> dict[str, Any]:
    """A rule about Argo CD's resources."""
    rule = {
        "clusterScoped": True,
        "apiGroups": [GROUP],
        "resources": resources.split(),
        "verbs": verbs.split(),
    }
    return {**rule, "resourceNames": list(names)} if names else rule


@dataclass(frozen=True, slots=True)
class ArgoAgent:
    """An agent that runs argocd."""

    agent: Agent

    def run(self, command: str, **arguments: Any) -> Answer:
        """Call ``execute_argocd``."""
        return self.agent.call("execute_argocd", {"command": command, **arguments})


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that runs, and what a test asks of it as an administrator."""

    cluster: KwokCluster
    argocd: ArgoCDControlPlane
    repository: GitRepository
    service: InstalledService

    def application(self, name: str) -> dict[str, Any]:
        """The Application, as the API server has it."""
        return self.argocd.application(name)

    def add_application(self, name: str, *, project: str, path: str = "web", namespace: str = "") -> None:
        """Make an application, past the service."""
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": name, "namespace": "argocd"},
            "spec": {
                "project": project,
                "source": {"repoURL": self.repository.url, "path": path, "targetRevision": "main"},
                "destination": {"server": IN_CLUSTER, "namespace": namespace or project},
                "syncPolicy": {"syncOptions": ["CreateNamespace=true"]},
            },
        }
        self.cluster.kubectl("apply", "--filename=-", input=json.dumps(body))

    def remove_application(self, name: str) -> None:
        """Remove an application, past the service."""
        self.cluster.kubectl("delete", "applications.argoproj.io", name, "-n", "argocd", "--ignore-not-found")

    def await_status(self, name: str, *, sync: str = "", health: str = "") -> None:
        """Wait until Argo CD has compared the application, with this outcome where one is named."""
        deadline = time.monotonic() + _SETTLED_WITHIN
        while True:
            status = self.application(name).get("status", {})
            found = (status.get("sync", {}).get("status", ""), status.get("health", {}).get("status", ""))
            if found[0] and sync in ("", found[0]) and health in ("", found[1]):
                return
            assert time.monotonic() < deadline, f"{name} is {found}: {status.get('conditions')}"
            time.sleep(0.2)

    def await_operation(self, name: str, *, phase: str) -> None:
        """Wait until the application's operation is in this phase."""
        deadline = time.monotonic() + _SETTLED_WITHIN
        while (found := self.application(name).get("status", {}).get("operationState", {}).get("phase")) != phase:
            assert time.monotonic() < deadline, f"{name}'s operation is {found}"
            time.sleep(0.1)

    def calls(self, method: str) -> float:
        """How many calls of a method of the application service the service has made."""
        with urllib.request.urlopen(f"{self.service.health_url}/metrics", timeout=10) as answer:  # noqa: S310 - ours
            text = answer.read().decode()
        label = f'method="application.ApplicationService/{method}"'
        lines = (line for line in text.splitlines() if line.startswith("k8s_mcp_argocd_calls_total{") and label in line)
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def requests(self, command_id: str) -> list[dict[str, Any]]:
        """The audit lines of a command's requests."""
        lines = self.service.audit_log.read_text(encoding="utf-8").splitlines()
        records = (json.loads(line) for line in lines)
        return [each for each in records if each["kind"] == "Request" and each["commandID"] == command_id]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """All of it, for the whole run."""
    with KwokCluster.start(name="argocd") as cluster, ArgoCDControlPlane(cluster) as argocd:
        repository = GitRepository(cluster.workdir / "repository")
        repository.commit(
            {
                "web/deployment.yaml": _DEPLOYMENT,
                "web/settings.yaml": _SETTINGS,
                "secret/settings.yaml": _SETTINGS,
                "stuck/hook.yaml": _STUCK,
                "stuck/settings.yaml": _SETTINGS,
                "secret/credentials.yaml": _CREDENTIALS,
            }
        )
        folder = tmp_path_factory.mktemp("service")
        install(cluster)
        _configure(cluster, argocd, folder)
        tools = link_tools(folder / "tools", ["kubectl", "argocd"])
        with InstalledService(cluster, tools=tools, folder=folder) as service:
            found = Site(cluster=cluster, argocd=argocd, repository=repository, service=service)
            for project in PROJECTS:
                argocd.add_project(project)
                found.add_application(f"{project}-app", project=project)
            for project in PROJECTS:
                found.await_status(f"{project}-app")
            yield found


def _configure(cluster: KwokCluster, argocd: ArgoCDControlPlane, folder: Path) -> None:
    token = folder / "argocd-token"
    token.touch(mode=0o600)
    token.write_text(argocd.token(), encoding="ascii")
    instance = {"url": argocd.url, "ca_file": str(argocd.ca_file), "token_file": str(token)}
    settings = {
        "audit_requests": "All",
        "commands_per_minute": 100_000,
        "concurrent_commands": 16,
        "argocd_instances": [{"name": "main", **instance}, {"name": "second", **instance}],
    }
    patch = {"data": {"config.yaml": json.dumps(settings)}}
    merge = ("--type=merge", f"--patch={json.dumps(patch)}")
    cluster.kubectl("patch", "configmap", "k8s-mcp-server", "--namespace=k8s-mcp-system", *merge)


@pytest.fixture
def agent_with(site: Site) -> Iterator[Callable[..., ArgoAgent]]:
    """Makes agents with a policy of these rules, in force when it returns; they and their policies go with the test."""
    made: list[str] = []

    def make(*rules: dict[str, Any], **spec: Any) -> ArgoAgent:
        name = f"argo-{uuid.uuid4().hex[:8]}"
        made.append(name)
        site.cluster.kubectl("create", "serviceaccount", name, "--namespace", AGENTS_NAMESPACE)
        token = site.cluster.service_account_token(AGENTS_NAMESPACE, name, audience=AUDIENCE)
        agent = Agent(site.service.url, token)
        apply_policy(site, name, {"tools": ["argocd"], "rules": list(rules), **spec})
        deadline = time.monotonic() + _IN_FORCE_WITHIN
        while name not in agent.check_access().everything.replace(f"{AGENTS_NAMESPACE}:{name}", ""):
            assert time.monotonic() < deadline, f"policy {name} was not in force after {_IN_FORCE_WITHIN:.0f} s"
        return ArgoAgent(agent)

    yield make
    if made:
        site.cluster.kubectl("delete", "mcpap", *made, "--ignore-not-found")
        site.cluster.kubectl("delete", "serviceaccount", *made, "--namespace", AGENTS_NAMESPACE, "--ignore-not-found")


def apply_policy(site: Site, name: str, spec: dict[str, Any]) -> None:
    """Create or replace the policy of an agent."""
    subject = {"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": name}
    body = {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {"name": name},
        "spec": {"subjects": [subject], **spec},
    }
    site.cluster.kubectl("apply", "--filename=-", input=json.dumps(body))


@pytest.fixture
def fresh(site: Site) -> Iterator[Callable[..., str]]:
    """Makes applications of one test, compared once when it returns; they go with it."""
    made: list[str] = []

    def make(*, project: str = "team-a", path: str = "web") -> str:
        name = f"app-{uuid.uuid4().hex[:8]}"
        made.append(name)
        site.add_application(name, project=project, path=path, namespace=name)
        site.await_status(name)
        return name

    yield make
    for name in made:
        site.remove_application(name)
