"""The service outside a cluster, by an administrator's kubeconfig."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from devtools.cluster import KwokCluster
from devtools.demo.teams import tokens
from devtools.installed import install
from devtools.toolchain import ensure_tools, link_tools
from tests.support.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtools.cluster import TestCluster

pytestmark = pytest.mark.integration

_READY_WITHIN = 60.0
_ACCOUNT = "system:serviceaccount:k8s-mcp-system:k8s-mcp-server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The service as somebody's own process."""

    process: subprocess.Popen[bytes]
    port: int
    health_port: int
    folder: Path

    @property
    def url(self) -> str:
        """Where MCP clients connect."""
        return f"http://127.0.0.1:{self.port}/mcp"


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    """A cluster with the manifests and no Pod of the service."""
    with KwokCluster.start(name="outside", nodes=1, binaries=ensure_tools()) as running:
        install(running)
        yield running


@pytest.fixture(scope="module")
def service(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`k8s-mcp-server serve --kubeconfig`, with that of an administrator, ready."""
    folder = tmp_path_factory.mktemp("outside")
    tools = link_tools(folder / "bin", ["kubectl", "yq"])
    port, health_port = _free_port(), _free_port()
    variables = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "K8S_MCP_PORT": str(port),
        "K8S_MCP_HEALTH_PORT": str(health_port),
        "K8S_MCP_TOOLS_DIR": str(tools),
        "K8S_MCP_RUNTIME_DIR": str(folder / "run"),
    }
    command = [sys.executable, "-m", "k8s_mcp_server", "serve", f"--kubeconfig={cluster.kubeconfig}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _await_ready(process, health_port, log=folder / "log")
        yield Running(process=process, port=port, health_port=health_port, folder=folder)
    finally:
        process.kill()
        process.wait(10)


def test_an_agent_is_served_as_in_the_cluster(cluster: TestCluster, service: Running) -> None:
    cluster.kubectl("wait", "--for=condition=Ready", "mcpap", "--all", "--timeout=60s")
    agent = Agent(service.url, tokens(cluster)["shop-deployer"])
    assert agent.kubectl("get deployments -n shop -o name").stdout.splitlines()
    assert agent.kubectl("get secrets -n shop").status == "denied"


def test_what_it_asks_the_api_server_it_asks_as_its_own_service_account(cluster: TestCluster, service: Running) -> None:
    assert Agent(service.url, tokens(cluster)["shop-deployer"]).kubectl("get services -n shop").status == "succeeded"
    assert cluster.audit_log is not None
    events = [json.loads(line) for line in cluster.audit_log.read_text(encoding="utf-8").splitlines()]
    ours = [event for event in events if "k8s-mcp.io/client" in (event.get("impersonatedUser") or {}).get("extra", {})]
    assert any(event.get("objectRef", {}).get("resource") == "services" for event in ours)  # discovery has none
    assert {event["user"]["username"] for event in ours} == {_ACCOUNT}


def test_it_listens_on_loopback_alone(service: Running) -> None:
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    listening = {line[1].partition(":")[::2] for line in lines if line[3] == "0A"}
    ours = {(address, int(port, 16)) for address, port in listening}
    loopback = "0100007F"
    assert {each for each in ours if each[1] in {service.port, service.health_port}} == {
        (loopback, service.port),
        (loopback, service.health_port),
    }


def test_a_context_that_there_is_not_ends_it_with_2(cluster: TestCluster, tmp_path: Path) -> None:
    tools = link_tools(tmp_path / "bin", ["kubectl"])
    variables = {"PATH": os.defpath, "K8S_MCP_TOOLS_DIR": str(tools), "K8S_MCP_RUNTIME_DIR": str(tmp_path / "run")}
    options = (f"--kubeconfig={cluster.kubeconfig}", "--context=nowhere")
    done = subprocess.run(
        [sys.executable, "-m", "k8s_mcp_server", "serve", *options],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_its_token_is_private_and_goes_with_it(service: Running) -> None:
    (token,) = (service.folder / "run").glob("account-*/token")
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(30) == 0
    assert list((service.folder / "run").glob("account-*")) == []


def _await_ready(process: subprocess.Popen[bytes], health_port: int, *, log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"http://127.0.0.1:{health_port}/readyz").status_code == 200:
                return
        time.sleep(0.05)
    pytest.fail(f"not ready within {_READY_WITHIN:g} s:\n{log.read_text(encoding='utf-8')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
