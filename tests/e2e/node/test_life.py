"""The life of a deployment under load from MCP clients: rollouts, kills, evictions, restarts around it."""

from __future__ import annotations

import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.node.site import NAME, NAMESPACE, READER, SHOP
from tests.support.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Measured
    from tests.e2e.node.site import Site
    from tests.support.agent import Agent

pytestmark = pytest.mark.e2e

_MCP = 8080
_READY_WITHIN = 90.0
_BUSY = {**READER, "limits": {"concurrentCommands": 50, "commandsPerMinute": 10000}}
_FOLLOWING = {
    **_BUSY,
    "rules": [*READER["rules"], {**READER["rules"][0], "resources": ["pods/log"], "verbs": ["get"]}],
}


@pytest.fixture
def agent(site: Site, agent_factory: Callable[..., Agent]) -> Iterator[Agent]:
    """An agent that may call as often as it likes; the service is whole before and after."""
    site.await_rollout()
    yield agent_factory(_BUSY)
    site.eventually(lambda: len(site.replicas()) == 2, within=_READY_WITHIN)


@pytest.fixture
def load(agent: Agent) -> Load:
    """Five clients of that agent that list Pods."""
    return Load(agent, f"get pods -n {SHOP}")


def test_a_rolling_restart_costs_no_call(site: Site, load: Load, measured: Measured) -> None:
    before = {pod["metadata"]["name"] for pod in site.pods()}
    with load:
        site.node.kubectl("rollout", "restart", f"deployment/{NAME}", f"--namespace={NAMESPACE}")
        site.await_rollout()
        site.eventually(lambda: not before & _names(site), within=_READY_WITHIN)
        load.more(20)
    assert load.calls.failures == []
    measured("rolling restart", f"{load.calls.answered} calls, none failed, slowest {load.calls.longest:.1f} s")


def test_an_eviction_costs_no_call(site: Site, load: Load) -> None:
    name = site.pods()[0]["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": NAMESPACE}}
    with load:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
        site.node.kubectl("create", "--raw", path, "--filename=-", input=json.dumps(body))
        site.eventually(lambda: name not in _names(site) and len(site.replicas()) == 2, within=_READY_WITHIN)
        load.more(20)
    assert load.calls.failures == []


def test_a_restart_of_containerd_costs_no_call_and_no_pod(site: Site, load: Load) -> None:
    before = _names(site)
    pid = (site.node.layout.pids / "containerd").read_text()
    with load:
        site.node.kill("containerd")
        site.eventually(lambda: (site.node.layout.pids / "containerd").read_text() != pid)
        site.eventually(lambda: site.node.run("ctr", "version", check=False).returncode == 0)
        load.more(20)
    assert load.calls.failures == []
    assert _names(site) == before


def test_after_a_restart_of_the_api_server_the_same_replicas_go_on(site: Site, load: Load) -> None:
    before = _names(site)
    with load:
        site.node.kill("kube-apiserver")
        site.eventually(lambda: site.node.kubectl("get", "--raw", "/readyz", check=False).returncode == 0, within=60)
        site.eventually(lambda: len(site.replicas()) == 2, within=_READY_WITHIN)
        failed = len(load.calls.failures)
        load.more(20)
        assert len(load.calls.failures) == failed, load.calls.failures[failed:]
    assert _names(site) == before
    assert _restarts(site) == 0


def test_replicas_that_are_replaced_let_their_commands_end_and_then_go(
    site: Site, agent_factory: Callable[..., Agent]
) -> None:
    site.await_rollout()
    agent = agent_factory(_FOLLOWING)
    before, addresses = _names(site), site.replicas()
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(agent.kubectl, f"logs --follow -n {SHOP} tool", timeout=40)
        site.eventually(lambda: len(_commands(site)) == 1)
        site.node.kubectl("rollout", "restart", f"deployment/{NAME}", f"--namespace={NAMESPACE}")
        site.eventually(lambda: all(map(_refuses_connections, addresses)), within=_READY_WITHIN)
        assert len(_commands(site)) == 1  # its replica takes no new ones, and is there for this one
        assert answer.result(60).status == "timed_out"
    gone = (f"pod/{name}" for name in before)
    site.node.kubectl("wait", *gone, f"--namespace={NAMESPACE}", "--for=delete", "--timeout=30s")
    site.eventually(lambda: len(site.replicas()) == 2, within=_READY_WITHIN)


def test_a_killed_replica_fails_its_own_commands_and_no_others_and_leaves_nothing(
    site: Site, agent_factory: Callable[..., Agent]
) -> None:
    site.await_rollout()
    victim, survivor = site.at_each_replica(agent_factory(_FOLLOWING))
    outcomes: dict[str, Any] = {}

    def run(name: str, one: Agent) -> None:
        try:
            outcomes[name] = one.kubectl(f"logs --follow -n {SHOP} tool", timeout=15).status
        except Exception as error:  # noqa: BLE001 - what a client sees is the finding
            outcomes[name] = error

    threads = [threading.Thread(target=run, args=pair) for pair in (("victim", victim), ("survivor", survivor))]
    for thread in threads:
        thread.start()
    site.eventually(lambda: len(_commands(site)) == 2)
    address = victim.url.removeprefix("http://").partition(":")[0]
    name = next(pod["metadata"]["name"] for pod in site.pods() if pod["status"]["podIP"] == address)
    with Load(survivor, f"get pods -n {SHOP}") as load:
        _kill(site, name)
        threads[0].join(10)
        assert isinstance(outcomes["victim"], Exception)  # the connection ended without an answer: nothing is made up
        site.eventually(lambda: len(_commands(site)) == 1)
        threads[1].join(30)
        load.more(20)
    assert outcomes["survivor"] == "timed_out"
    assert load.calls.failures == []
    site.eventually(lambda: len(site.replicas()) == 2, within=_READY_WITHIN)
    left = site.node.kubectl("exec", name, f"--namespace={NAMESPACE}", "--", "find", "/run/k8s-mcp-server").stdout
    assert "command-" not in left
    assert victim.kubectl(f"get pods -n {SHOP}").status == "succeeded"


def _names(site: Site) -> set[str]:
    return {pod["metadata"]["name"] for pod in site.pods()}


def _refuses_connections(address: str) -> bool:
    """Whether nobody listens there any more, or nobody has the address."""
    try:
        socket.create_connection((address, _MCP), timeout=5).close()
    except OSError:
        return True
    return False


def _restarts(site: Site) -> int:
    return sum(status["restartCount"] for pod in site.pods() for status in pod["status"]["containerStatuses"])


def _commands(site: Site) -> list[str]:
    """The processes on the node that follow a log: commands of the service."""
    listed = site.node.run("ps", "-eo", "pid,args").stdout
    return re.findall(r"^\s*(\d+) \S*kubectl logs --follow", listed, re.MULTILINE)


def _kill(site: Site, pod: str) -> None:
    """SIGKILL to the first process of the Pod's container, as the machine's memory might run out."""
    found = site.node.kubectl(
        "get", "pod", pod, f"--namespace={NAMESPACE}", "--output=jsonpath={.status.containerStatuses[0].containerID}"
    )
    container = found.stdout.removeprefix("containerd://")
    site.node.run("ctr", "--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", container)
