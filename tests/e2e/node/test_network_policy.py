"""The manifests' NetworkPolicies, the component's too, enforced by a test aid of ours (the bridge does not)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from devtools.node.network_policy import enforce, lift
from tests.e2e.node.site import AGENTS, HOST, NAMESPACE, READER, SHOP, workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.node.site import Site
    from tests.support.agent import Agent

pytestmark = pytest.mark.e2e

_PROMETHEUS: Final = "prometheus"
_EGRESS: Final = Path(__file__).resolve().parents[3] / "manifests/components/network-policy/egress.yaml"
_REACH: Final = """\
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
    print("reached")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def enforced(site: Site) -> Iterator[None]:
    """A Pod in a namespace that may scrape metrics and one in a namespace that may not, and the policies in force."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "k8s-mcp.io/metrics": "true"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _PROMETHEUS, "labels": labels}}
    site.node.kubectl("apply", "--filename=-", input=json.dumps(namespace))
    site.node.kubectl("wait", "serviceaccount/default", f"--namespace={_PROMETHEUS}", "--for=create", "--timeout=30s")
    site.node.kubectl("apply", f"--filename={_EGRESS}")
    for where in (AGENTS, _PROMETHEUS):
        site.node.kubectl("apply", "--filename=-", input=json.dumps(workload("peer", namespace=where)))
        site.node.kubectl("wait", "pod/peer", f"--namespace={where}", "--for=condition=Ready", "--timeout=60s")
    site.await_rollout()
    enforce(site.node)
    yield
    lift(site.node)
    site.node.kubectl("delete", f"--filename={_EGRESS}")
    site.node.kubectl("delete", "namespace", _PROMETHEUS, "--wait=false")
    site.node.kubectl("delete", "pod", "peer", f"--namespace={AGENTS}", "--wait=false")


@pytest.mark.parametrize(
    ("where", "port", "outcome"),
    [
        pytest.param(AGENTS, 8080, "reached", id="an agent reaches MCP"),
        pytest.param(AGENTS, 8081, "TimeoutError", id="an agent does not reach metrics"),
        pytest.param(_PROMETHEUS, 8081, "reached", id="a labelled namespace reaches metrics"),
        pytest.param(AGENTS, 9999, "TimeoutError", id="nobody reaches any other port"),
    ],
)
def test_who_reaches_which_port(site: Site, enforced: None, where: str, port: int, outcome: str) -> None:
    del enforced
    for address in site.replicas():
        reach = ("python3", "-c", _REACH, address, str(port))
        assert site.node.kubectl("exec", "peer", f"--namespace={where}", "--", *reach).stdout.strip() == outcome


def test_the_service_reaches_the_api_server_and_no_other_pod(site: Site, enforced: None) -> None:
    del enforced
    found = site.node.kubectl("get", "pod", "peer", f"--namespace={AGENTS}", "--output=jsonpath={.status.podIP}")
    for pod in site.pods():
        python = ("exec", pod["metadata"]["name"], f"--namespace={NAMESPACE}", "--", "python3", "-c", _REACH)
        reached = [
            site.node.kubectl(*python, address, port).stdout.strip()
            for address, port in ((site.node.layout.api_service, "443"), (found.stdout, "8080"))
        ]
        assert reached == ["reached", "TimeoutError"]


def test_the_service_works_behind_it(site: Site, enforced: None, agent_factory: Callable[..., Agent]) -> None:
    del enforced
    agent = agent_factory(READER)
    assert agent.host == HOST
    assert agent.kubectl(f"get pods -n {SHOP} -o name").status == "succeeded"
    assert len(site.replicas()) == 2
