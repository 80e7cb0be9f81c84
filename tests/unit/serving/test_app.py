"""The service as a process of its own, where there is no API server to talk to."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from k8s_mcp_server.app import Application
from k8s_mcp_server.execution.binaries import Binaries
from k8s_mcp_server.execution.sandbox.level import SandboxLevel, SandboxReport
from k8s_mcp_server.gateway.tls import server_context
from k8s_mcp_server.settings import Settings
from k8s_mcp_server.startup import allow_open_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.unit

WAIT_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Replica:
    """A running server process."""

    process: subprocess.Popen[bytes]
    url: str
    health: str


def environment(folder: Path, **extra: str) -> dict[str, str]:
    (folder / "token").write_text("own-token", encoding="ascii")
    (folder / "ca.crt").write_text(server_context()[1], encoding="ascii")
    (folder / "config.yaml").write_text("drain: 0\nlog_format: text\n", encoding="utf-8")
    return {
        "K8S_MCP_CONFIG": str(folder / "config.yaml"),
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(free_port()),
        "K8S_MCP_CA_FILE": str(folder / "ca.crt"),
        "K8S_MCP_TOKEN_FILE": str(folder / "token"),
        "K8S_MCP_HOST": "127.0.0.1",
        "K8S_MCP_PORT": str(free_port()),
        "K8S_MCP_HEALTH_HOST": "127.0.0.1",
        "K8S_MCP_HEALTH_PORT": str(free_port()),
        "K8S_MCP_TOOLS_DIR": str(folder),
        "K8S_MCP_RUNTIME_DIR": str(folder / "run"),
        "PYTHONPATH": ":".join(sys.path),
    } | extra


@contextlib.contextmanager
def replica(folder: Path) -> Iterator[Replica]:
    variables = environment(folder)
    with (folder / "out").open("wb") as out, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "k8s_mcp_server", "serve"], env=variables, stdout=out, stderr=log
        )
    try:
        yield Replica(
            process=process,
            url=f"http://127.0.0.1:{variables['K8S_MCP_PORT']}/mcp",
            health=f"http://127.0.0.1:{variables['K8S_MCP_HEALTH_PORT']}",
        )
    finally:
        process.kill()
        process.wait(10)


def wait_until_alive(running: Replica) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        with contextlib.suppress(httpx2.TransportError):
            httpx2.get(f"{running.health}/livez")
            httpx2.get(running.url)
            return
        assert running.process.poll() is None
    raise AssertionError("the service did not start")


def test_without_an_api_server_it_lives_is_not_ready_lets_nobody_in_and_stops_when_told(tmp_path: Path) -> None:
    with replica(tmp_path) as running:
        wait_until_alive(running)
        ready = httpx2.get(f"{running.health}/readyz")
        token = "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjQ4NDAwMDAwMDB9.c2ln"
        call = httpx2.post(running.url, json={}, headers={"Authorization": f"Bearer {token}"}, timeout=20)
        metrics = httpx2.get(f"{running.health}/metrics").text
        running.process.send_signal(signal.SIGTERM)
        code = running.process.wait(20)

    assert ready.status_code == 503
    assert {"PolicySyncPending", "DiscoveryMissing", "ToolMissing"} <= set(ready.json()["reasons"])
    assert call.status_code == 503
    assert "k8s_mcp_policy_snapshot_age_seconds +Inf" in metrics
    assert code == 0
    assert "own-token" not in (tmp_path / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        pytest.param({"KUBERNETES_SERVICE_HOST": ""}, "kubernetes_host", id="no API server is named"),
        pytest.param({"K8S_MCP_CA_FILE": "/proc/nothing"}, "`ca_file` /proc/nothing", id="no CA"),
        pytest.param({"K8S_MCP_TOKEN_FILE": "/proc/nothing"}, "`token_file` /proc/nothing", id="no token"),
        pytest.param({"K8S_MCP_HOST": "192.0.2.1"}, "cannot listen on 192.0.2.1", id="a foreign address"),
        pytest.param(
            {"K8S_MCP_TLS_CERT_FILE": "/proc/nothing", "K8S_MCP_TLS_KEY_FILE": "/proc/nothing"},
            "`tls_cert_file` /proc/nothing",
            id="no certificate",
        ),
        pytest.param(
            {"K8S_MCP_TLS_CERT_FILE": "/proc/version"},
            "write both `tls_cert_file` and `tls_key_file`",
            id="a certificate without a key",
        ),
        pytest.param({"K8S_MCP_RUNTIME_DIR": "/proc/nothing"}, "runtime_dir", id="a folder that cannot be made"),
    ],
)
def test_settings_that_cannot_be_used_end_it_with_2(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "k8s_mcp_server", "serve"],
        env=environment(tmp_path, **variables),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    variables = environment(tmp_path)
    return {"ca_file": variables["K8S_MCP_CA_FILE"], "token_file": variables["K8S_MCP_TOKEN_FILE"]}


def application(report: SandboxReport, **settings: Any) -> Application:
    values = {"kubernetes_host": "127.0.0.1", **settings}
    return Application(Settings(**values), report=report, binaries=Binaries(clis={}, filters={}))


@pytest.mark.parametrize(
    ("level", "wanted", "ready"),
    [
        (None, "required", False),
        (None, "filesystem", False),
        (SandboxLevel.FILESYSTEM, "required", False),
        (SandboxLevel.FILESYSTEM, "filesystem", True),
        (SandboxLevel.REQUIRED, "required", True),
        (SandboxLevel.REQUIRED, "filesystem", True),
    ],
)
def test_a_node_that_gives_less_sandbox_than_wanted_runs_nothing(
    level: SandboxLevel | None, wanted: str, files: dict[str, Any], *, ready: bool
) -> None:
    report = SandboxReport(abi=4 if level else 0, level=level, reason="because")

    reasons = application(report, sandbox=wanted, **files).not_ready_reasons()

    assert ("SandboxUnavailable" not in reasons) is ready


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param((1024, 524_288), (65_536, 524_288), id="a container's usual limit"),
        pytest.param((1024, 4096), (4096, 4096), id="a low hard limit"),
        pytest.param((1024, resource.RLIM_INFINITY), (65_536, resource.RLIM_INFINITY), id="no hard limit"),
        pytest.param((100_000, 524_288), None, id="enough"),
        pytest.param((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None, id="no limit"),
    ],
)
def test_connections_get_the_descriptors_that_they_need(
    before: tuple[int, int], after: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: before)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: said.append(limits))

    allow_open_files()

    assert said == ([after] if after else [])


def test_preflight_says_what_the_node_gives(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "k8s_mcp_server", "preflight", "--json", "--node=worker-1", "--linger=0.1"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )

    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["sufficient"] else 1)
    assert report["node"] == "worker-1"
    assert {"kernel", "landlock_abi", "sandbox", "wanted", "reason"} <= set(report)
