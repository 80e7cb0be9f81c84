"""A cluster with the service installed, a chart repository and a registry over TLS, and agents that run helm.

Both are on the loopback under this machine's own name: a policy that names them must name that network, too.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from devtools.charts import USER, Authority, ChartHost, Page, Registry
from devtools.cluster import KwokCluster
from devtools.demo.teams import AGENTS_NAMESPACE, AUDIENCE
from devtools.installed import InstalledService, install
from devtools.toolchain import ensure_tools, link_tools
from tests.support.agent import Agent, Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOST = socket.gethostname().lower()
LOOPBACK = ["127.0.0.0/8"]
PASSWORD = "repository-password-1c9f"
MAP = "{apiVersion: v1, kind: ConfigMap, metadata: {name: {{ .Release.Name }}}, data: {a: {{ .Values.a | quote }}}}\n"
_IN_FORCE_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that runs."""

    cluster: KwokCluster
    service: InstalledService
    repository: ChartHost
    registry: Registry
    elsewhere: ChartHost
    namespace: str

    def egress(self) -> dict[str, Any]:
        """What a policy says about the repository and the registry."""
        repositories = [
            {"name": "acme", "url": self.repository.url, "secretRef": {"name": "acme-charts"}},
            {"name": "registry", "url": self.registry.url, "secretRef": {"name": "registry-charts"}},
        ]
        return {"charts": {"repositories": repositories}, "egress": {"privateCIDRs": LOOPBACK}}

    def connections(self) -> list[dict[str, Any]]:
        """The audit log's records of connections."""
        lines = map(json.loads, self.service.audit_log.read_text(encoding="utf-8").splitlines())
        return [line for line in lines if line.get("method") == "CONNECT"]


@dataclass(frozen=True, slots=True)
class HelmAgent:
    """An agent that runs helm."""

    agent: Agent

    def helm(self, command: str, **arguments: Any) -> Answer:
        """Call ``execute_helm``."""
        return self.agent.call("execute_helm", {"command": command, **arguments})


def pack(folder: Path, name: str, **files: str) -> Path:
    """A packed chart, made by helm."""
    chart = folder / name
    (chart / "templates").mkdir(parents=True, exist_ok=True)
    written = {"Chart.yaml": f"apiVersion: v2\nname: {name}\nversion: 1.0.0\n", "values.yaml": "a: b\n"}
    for path, text in {**written, "templates/map.yaml": MAP, **files}.items():
        (chart / path).parent.mkdir(parents=True, exist_ok=True)
        (chart / path).write_text(text, encoding="utf-8")
    run_helm("package", str(chart), "--destination", str(folder), home=folder)
    return folder / f"{name}-1.0.0.tgz"


def run_helm(*words: str, home: Path) -> str:
    """helm as an administrator runs it, past the service."""
    command = [str(ensure_tools(["helm"])["helm"]), *words]
    return subprocess.run(command, env={"HOME": str(home)}, check=True, capture_output=True, text=True).stdout


def index(*entries: tuple[str, str]) -> bytes:
    """A repository's index: names of charts, and the URL of each."""
    charts = {name: [{"apiVersion": "v2", "name": name, "version": "1.0.0", "urls": [url]}] for name, url in entries}
    return json.dumps({"apiVersion": "v1", "entries": charts}).encode()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("charts")
    authority = Authority(folder)
    cluster = KwokCluster.start(name="charts", exec_on_host=True)
    tools = link_tools(tmp_path_factory.mktemp("tools") / "bin", ["kubectl", "yq", "helm"])
    try:
        install(cluster)
        _allow(cluster, authority)
        (folder / "registry").mkdir()
        with (
            ChartHost(authority, HOST, user=("acme", PASSWORD)) as repository,
            ChartHost(authority, HOST) as elsewhere,
            Registry(authority, HOST, folder / "registry") as registry,
        ):
            _fill(repository, elsewhere=elsewhere, folder=folder)
            packed = pack(folder, "pushed")
            access = ("--ca-file", str(authority.file), "--username", USER[0], "--password", USER[1])
            run_helm("push", str(packed), registry.url, *access, home=folder)
            with InstalledService(cluster, tools=tools, folder=tmp_path_factory.mktemp("service")) as service:
                yield Site(cluster, service, repository, registry, elsewhere, "shop-charts")
    finally:
        cluster.stop()


def _allow(cluster: KwokCluster, authority: Authority) -> None:
    """The settings, credentials and roles that this needs of an administrator."""
    settings = f"audit_requests: All\ncommands_per_minute: 100000\nchart_ca_file: {authority.file}\n"
    patch = f"--patch={json.dumps({'data': {'config.yaml': settings}})}"
    cluster.kubectl("patch", "configmap", "k8s-mcp-server", "--namespace=k8s-mcp-system", "--type=merge", patch)
    account = "--serviceaccount=k8s-mcp-system:k8s-mcp-server"
    cluster.kubectl("create", "clusterrolebinding", "charts", "--clusterrole=cluster-admin", account)
    cluster.kubectl("create", "namespace", "shop-charts")
    for name, (user, password) in {"acme-charts": ("acme", PASSWORD), "registry-charts": USER}.items():
        data = {"username": user, "password": password}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/basic-auth",
            "metadata": {"name": name, "namespace": "k8s-mcp-system"},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        }
        cluster.kubectl("apply", "--filename=-", input=json.dumps(body))


def _fill(repository: ChartHost, *, elsewhere: ChartHost, folder: Path) -> None:
    packed = pack(folder, "web").read_bytes()
    entries = {
        "web": "web-1.0.0.tgz",
        "far": f"{elsewhere.url}/web-1.0.0.tgz",
        "redirected": "redirected.tgz",
        "metadata": "http://169.254.169.254/latest/meta-data/web.tgz",
        "slow": "slow.tgz",
    }
    repository.pages |= {
        "/index.yaml": Page(index(*entries.items())),
        "/web-1.0.0.tgz": Page(packed),
        "/redirected.tgz": Page(location=f"{elsewhere.url}/web-1.0.0.tgz"),
        "/slow.tgz": Page(trickles=True),
    }
    elsewhere.pages |= {"/index.yaml": Page(index(("web", "web-1.0.0.tgz"))), "/web-1.0.0.tgz": Page(packed)}


@pytest.fixture
def new_agent(site: Site) -> Iterator[Callable[..., HelmAgent]]:
    """Makes an agent that may deploy ConfigMaps, and reach what ``spec`` says."""
    made: list[str] = []

    def make(**spec: Any) -> HelmAgent:
        name = f"agent-{uuid.uuid4().hex[:8]}"
        site.cluster.kubectl("create", "serviceaccount", name, "--namespace", AGENTS_NAMESPACE)
        made.append(name)
        place = {"namespaces": [site.namespace]}
        verbs = ["get", "list", "watch", "create", "update", "patch", "delete"]
        rules = [
            {**place, "apiGroups": [""], "resources": ["configmaps"], "verbs": verbs},
            {**place, "apiGroups": ["helm.sh"], "resources": ["releases", "releases/content"], "verbs": verbs},
        ]
        subjects = [{"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": name}]
        body = {
            "apiVersion": "k8s-mcp.io/v1alpha1",
            "kind": "McpAccessPolicy",
            "metadata": {"name": name},
            "spec": {
                "subjects": subjects,
                "tools": ["helm"],
                "rules": rules,
                "defaultNamespace": site.namespace,
                **site.egress(),
                **spec,
            },
        }
        site.cluster.kubectl("apply", "--filename=-", input=json.dumps(body))
        token = site.cluster.service_account_token(AGENTS_NAMESPACE, name, audience=AUDIENCE)
        agent = Agent(site.service.url, token)
        deadline = time.monotonic() + _IN_FORCE_WITHIN
        while name not in agent.check_access().everything.replace(f"{AGENTS_NAMESPACE}:{name}", ""):
            assert time.monotonic() < deadline, f"policy {name} was not in force after {_IN_FORCE_WITHIN:.0f} s"
        return HelmAgent(agent)

    yield make
    site.cluster.kubectl("delete", "mcpap", *made, "--ignore-not-found")
