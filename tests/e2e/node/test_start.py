"""How long a replica takes from its first instruction to readiness with a hundred policies, and what it holds then."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.node.site import AGENTS, NAMESPACE, SHOP, is_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Measured
    from tests.e2e.node.site import Site

pytestmark = pytest.mark.e2e

_POLICIES: Final = 100
_WITHIN: Final = 60.0
_STEP: Final = 0.01


@pytest.fixture
def policies(site: Site) -> Iterator[None]:
    """A hundred policies, each for a team of its own."""
    rule = {"namespaces": [SHOP], "apiGroups": ["", "apps"], "resources": ["pods", "deployments"], "verbs": ["get"]}
    items = [
        {
            "apiVersion": "k8s-mcp.io/v1alpha1",
            "kind": "McpAccessPolicy",
            "metadata": {"name": f"one-of-many-{number}", "labels": {"e2e": "many"}},
            "spec": {
                "subjects": [{"kind": "ServiceAccount", "namespace": AGENTS, "name": f"agent-{number}"}],
                "tools": ["kubectl"],
                "rules": [rule],
            },
        }
        for number in range(_POLICIES)
    ]
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    site.node.kubectl("create", "--filename=-", input=body)
    yield
    site.node.kubectl("delete", "mcpap", "--selector=e2e=many", timeout_seconds=120)


def test_a_replica_that_starts_again_is_ready_with_all_policies(site: Site, policies: None, measured: Measured) -> None:
    del policies
    site.await_rollout()
    name, address, before = _restart(site)
    ready_at = _await_ready(address)
    cpu = _cpu_seconds(site, name)
    site.eventually(lambda: _container(site, name)["restartCount"] == before + 1, within=_WITHIN)
    pid = _process(site, name)
    began_at = _started(site, pid)
    with urllib.request.urlopen(f"http://{address}:8081/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    loaded = [line for line in metrics.splitlines() if line.startswith("k8s_mcp_policies")]
    assert sum(float(line.rpartition(" ")[2]) for line in loaded) >= _POLICIES, loaded
    status = site.node.run("cat", f"/proc/{pid}/status").stdout
    resident = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))
    measured(f"start to ready with {_POLICIES} policies", f"{ready_at - began_at:.1f} s, {cpu:.1f} s of CPU")
    measured("resident memory of an idle replica", f"{resident / 1024:.0f} MiB")
    site.eventually(lambda: len([pod for pod in site.pods() if is_ready(pod)]) == 2, within=_WITHIN)


def _restart(site: Site) -> tuple[str, str, int]:
    """Kill the process of one replica; returns its Pod, the Pod's address, and how often it had been restarted."""
    pod = site.pods()[0]
    name = pod["metadata"]["name"]
    before = _container(site, name)["restartCount"]
    site.node.run("kill", "-KILL", _process(site, name))
    return name, pod["status"]["podIP"], before


def _await_ready(address: str) -> float:
    """The time, in seconds since the epoch, at which the replica first said that it is ready."""
    deadline = time.monotonic() + _WITHIN
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{address}:8081/readyz", timeout=1):
                return time.time()
        except (urllib.error.URLError, OSError):
            time.sleep(_STEP)
    pytest.fail(f"not ready within {_WITHIN:g} s")


def _container(site: Site, name: str) -> dict[str, int]:
    found = site.node.kubectl("get", "pod", name, f"--namespace={NAMESPACE}", "--output=json").stdout
    status: dict[str, int] = json.loads(found)["status"]["containerStatuses"][0]
    return status


def _process(site: Site, name: str) -> str:
    """The id of the container's first process, as the node numbers it."""
    container = str(_container(site, name)["containerID"]).removeprefix("containerd://")
    listed = site.node.run("ctr", "--namespace=k8s.io", "tasks", "list").stdout
    return next(line.split()[1] for line in listed.splitlines() if line.startswith(container))


def _cpu_seconds(site: Site, name: str) -> float:
    """What the process has used so far (proc_pid_stat(5), fields 14 and 15): the load of the machine is not in it."""
    stat = site.node.run("cat", f"/proc/{_process(site, name)}/stat").stdout.rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / 100


def _started(site: Site, pid: str) -> float:
    """When the process began, in seconds since the epoch (proc_pid_stat(5), field 22, in ticks since boot)."""
    ticks = int(site.node.run("cat", f"/proc/{pid}/stat").stdout.rpartition(")")[2].split()[19])
    uptime = float(site.node.run("cat", "/proc/uptime").stdout.split()[0])
    return time.time() - uptime + ticks / 100
