"""The cluster that tests and the demo stand on: a real API server, and nothing left of it afterwards."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from devtools.cluster import ClusterError, ExistingCluster, KwokCluster
from devtools.cluster.kwokctl import PORTS
from devtools.cluster.ports import free_ports
from devtools.cluster.processes import cluster_processes

if TYPE_CHECKING:
    from devtools.cluster import TestCluster
    from tests.integration.conftest import NamespaceFactory

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 30
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: example.test/web}]}
"""


def client(cluster: TestCluster, *, token: str) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(cluster.ca_file))
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(
        base_url=cluster.server_url, verify=context, headers=headers, timeout=WAIT_SECONDS, trust_env=False
    )


@pytest.fixture
def own_kwok(cluster: TestCluster) -> KwokCluster:
    """The session's cluster, where it is one that the tests started."""
    if not isinstance(cluster, KwokCluster):
        pytest.skip("an existing cluster was chosen")
    return cluster


def test_a_service_account_without_rights_is_refused(cluster: TestCluster, namespace_factory: NamespaceFactory) -> None:
    namespace = namespace_factory()
    with client(cluster, token=cluster.service_account_token(namespace, "default")) as api:
        answer = api.get(f"/api/v1/namespaces/{namespace}/pods")
    assert answer.status_code == 403
    assert f"system:serviceaccount:{namespace}:default" in answer.json()["message"]


def test_a_token_for_another_audience_is_no_credential(
    cluster: TestCluster, namespace_factory: NamespaceFactory
) -> None:
    token = cluster.service_account_token(namespace_factory(), "default", audience="somebody-else")
    with client(cluster, token=token) as api:
        assert api.get("/api/v1/namespaces").status_code == 401


def test_every_request_is_in_the_audit_log_under_the_id_it_was_sent_with(
    own_kwok: KwokCluster, namespace_factory: NamespaceFactory
) -> None:
    namespace, audit_id = namespace_factory(), str(uuid.uuid4())
    token = own_kwok.service_account_token(namespace, "default")
    with client(own_kwok, token=token) as api:
        api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web", headers={"Audit-ID": audit_id})
    assert own_kwok.audit_log is not None
    events = [json.loads(line) for line in own_kwok.audit_log.read_text().splitlines() if audit_id in line]
    (event,) = events
    assert event["stage"] == "ResponseComplete"
    assert event["verb"] == "get"
    assert event["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert event["objectRef"] == {
        "resource": "deployments",
        "namespace": namespace,
        "name": "web",
        "apiGroup": "apps",
        "apiVersion": "v1",
    }
    assert event["responseStatus"]["code"] == 403


def test_pods_run_on_simulated_nodes_and_answer_logs_and_exec(
    own_kwok: KwokCluster, namespace_factory: NamespaceFactory
) -> None:
    namespace = namespace_factory()
    own_kwok.kubectl("apply", "-n", namespace, "-f", "-", input=DEPLOYMENT)
    own_kwok.kubectl("rollout", "status", "-n", namespace, "deployment/web", f"--timeout={WAIT_SECONDS}s")
    pods = json.loads(own_kwok.kubectl("get", "pods", "-n", namespace, "-o", "json").stdout)["items"]
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    assert own_kwok.kubectl("logs", "-n", namespace, "deployment/web").stdout.endswith("simulated container ready\n")
    assert own_kwok.kubectl("exec", "-n", namespace, "deployment/web", "--", "echo", "here").stdout == "here\n"


def test_what_exec_runs_sees_nothing_of_the_callers_environment(
    own_kwok: KwokCluster, namespace_factory: NamespaceFactory
) -> None:
    namespace = namespace_factory()
    own_kwok.kubectl("apply", "-n", namespace, "-f", "-", input=DEPLOYMENT)
    own_kwok.kubectl("rollout", "status", "-n", namespace, "deployment/web", f"--timeout={WAIT_SECONDS}s")
    shown = own_kwok.kubectl("exec", "-n", namespace, "deployment/web", "--", "env").stdout
    assert {line.partition("=")[0] for line in shown.splitlines()} <= {"PATH", "HOME", "PWD", "KWOK_WORKDIR", "TERM"}


def test_the_versions_are_the_pinned_ones(own_kwok: KwokCluster) -> None:
    versions = json.loads(own_kwok.kubectl("version", "-o", "json").stdout)
    assert versions["clientVersion"]["gitVersion"] == versions["serverVersion"]["gitVersion"]
    assert versions["serverVersion"]["minor"] != ""


def test_a_kubectl_that_fails_is_an_error_that_shows_why(cluster: TestCluster) -> None:
    with pytest.raises(ClusterError, match=r"get pods nobody: exit code 1: .*not found"):
        cluster.kubectl("get", "pods", "nobody")
    assert cluster.kubectl("get", "pods", "nobody", check=False).returncode == 1


def test_an_existing_cluster_is_used_and_left_as_it_is(own_kwok: KwokCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(own_kwok.kubeconfig))
    with ExistingCluster.connect() as existing:
        assert existing.server_url == own_kwok.server_url
        assert (existing.host, existing.port) == (own_kwok.host, own_kwok.port)
        assert existing.ca_file.read_bytes().strip() == own_kwok.ca_file.read_bytes().strip()
        assert existing.audit_log is None
        assert existing.kubeconfig.stat().st_mode & 0o077 == 0
        assert existing.kubectl("get", "--raw", "/readyz").stdout == "ok"
    assert not existing.kubeconfig.exists()
    assert own_kwok.kubectl("get", "--raw", "/readyz").stdout == "ok"


def test_an_unknown_context_is_an_error(own_kwok: KwokCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(own_kwok.kubeconfig))
    with pytest.raises(ClusterError, match="nowhere"):
        ExistingCluster.connect(context="nowhere")


def refuses_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_second_cluster_runs_beside_the_first_and_leaves_nothing(
    own_kwok: KwokCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the way it finds one of its ports taken, and takes others."""
    chosen: list[list[int]] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:

        def ports(count: int) -> list[int]:
            chosen.append(free_ports(count))
            if len(chosen) == 1:
                chosen[0][PORTS.index("etcdPort")] = taken.getsockname()[1]
            return chosen[-1]

        monkeypatch.setattr("devtools.cluster.kwok.free_ports", ports)
        with KwokCluster.start(name="second", nodes=1, workdir=tmp_path / "second") as second:
            assert len(chosen) == 2
            assert second.port != own_kwok.port
            assert len(cluster_processes(second.workdir)) == 5
            second.kubectl("create", "namespace", "only-here")
            assert own_kwok.kubectl("get", "namespace", "only-here", check=False).returncode == 1
            assert second.kubectl("get", "nodes", "-o", "name").stdout.split() == ["node/node-000000"]
    assert cluster_processes(second.workdir) == []
    assert not second.workdir.exists()
    assert all(refuses_connections(port) for port in chosen[-1])
    second.stop()


OWNER = """
import sys
from pathlib import Path
from devtools.cluster import KwokCluster
cluster = KwokCluster.start(nodes=0, workdir=Path(sys.argv[1]))
print(cluster._guard._process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("deadly", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_cluster_goes_when_its_owner_is_killed(deadly: signal.Signals, tmp_path: Path) -> None:
    workdir = tmp_path / "orphan"
    environment = {**os.environ, "K8S_SKIP_CLEANUP": "false"}
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(workdir)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as owner:
        assert owner.stdout is not None
        guard = os.pidfd_open(int(owner.stdout.readline()))
        assert len(cluster_processes(workdir)) == 5
        owner.send_signal(deadly)
    ended, _, _ = select.select([guard], [], [], WAIT_SECONDS)
    os.close(guard)
    assert ended, "the guard is done"
    assert cluster_processes(workdir) == []
    assert not workdir.exists()


def test_a_kept_cluster_says_how_to_reach_and_delete_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = KwokCluster.start(name="kept", nodes=0, workdir=tmp_path / "kept", keep=True)
    try:
        capsys.readouterr()
        kept.stop()
        said = capsys.readouterr().out
        assert f"kubectl --kubeconfig {kept.kubeconfig}" in said
        assert kept.kubectl("get", "--raw", "/readyz").stdout == "ok"
        delete = said.split("python3 -m ")[1].split()
        subprocess.run([sys.executable, "-m", *delete], cwd=ROOT, check=True, timeout=WAIT_SECONDS)
    finally:
        left = cluster_processes(kept.workdir)
        for process in left:
            os.kill(process, signal.SIGKILL)
    assert left == []
    assert not kept.workdir.exists()
