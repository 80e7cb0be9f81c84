"""Commands that need a node which runs something: exec, cp, debug, logs, proxies, drain."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.node.site import IMAGE, SHOP, workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.node.site import Site
    from tests.support.agent import Agent

pytestmark = pytest.mark.e2e

_READ = {"namespaces": [SHOP], "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}


def _may(*resources: str, verbs: tuple[str, ...] = ("create", "get")) -> dict[str, Any]:
    rule = {"namespaces": [SHOP], "apiGroups": [""], "resources": list(resources), "verbs": list(verbs)}
    return {"tools": ["kubectl"], "rules": [_READ, rule]}


@pytest.fixture(scope="module")
def echo(site: Site) -> Iterator[str]:
    """A Pod that prints a line, then what it reads, and answers HTTP on port 8000."""
    script = "echo begun; /usr/bin/python3 -m http.server 8000 --directory /opt >/dev/null 2>&1 & cat"
    body = workload("echo", script=script, container={"stdin": True, "ports": [{"containerPort": 8000}]})
    site.node.kubectl("apply", "--filename=-", input=json.dumps(body))
    site.node.kubectl("wait", "pod/echo", f"--namespace={SHOP}", "--for=condition=Ready", "--timeout=60s")
    yield "echo"
    site.node.kubectl("delete", "pod", "echo", f"--namespace={SHOP}", "--grace-period=1")


def test_exec_gives_back_output_errors_and_the_exit_code(agent_factory: Callable[..., Agent]) -> None:
    agent = agent_factory(_may("pods/exec"))
    answer = agent.kubectl(f"exec -n {SHOP} tool -- sh -c 'echo out; echo bad >&2; exit 7'")
    assert answer.fields["exit_code"] == 7
    assert answer.stdout == "out\n"
    assert "bad" in answer.fields["stderr"]


def test_exec_takes_what_the_call_brings_as_standard_input(agent_factory: Callable[..., Agent]) -> None:
    agent = agent_factory(_may("pods/exec"))
    answer = agent.kubectl(f"exec -i -n {SHOP} tool -- tr a-z A-Z", stdin="quiet\n")
    assert answer.stdout == "QUIET\n"


def test_exec_without_a_rule_that_names_it_reaches_no_pod(agent_factory: Callable[..., Agent]) -> None:
    agent = agent_factory(_may("*", verbs=("*",)))
    answer = agent.kubectl(f"exec -n {SHOP} tool -- id")
    assert answer.status == "denied"
    assert "pods/exec" in answer.text
    assert "uid=" not in answer.everything


def test_attach_is_refused_and_says_what_shows_the_same(agent_factory: Callable[..., Agent], echo: str) -> None:
    answer = agent_factory(_may("pods/attach")).kubectl(f"attach -i -n {SHOP} {echo}", stdin="a line\n")
    assert answer.status == "refused"
    assert f"Write: `kubectl logs {echo} -n {SHOP}" in answer.text


def test_files_are_copied_out_of_a_pod_and_into_it(site: Site, agent_factory: Callable[..., Agent]) -> None:
    agent = agent_factory(_may("pods/exec"))
    out = agent.kubectl(f"cp {SHOP}/tool:/etc/debian_version debian_version")
    assert out.status == "succeeded", out.text
    assert "13" in out.everything
    into = agent.kubectl(f"cp note.txt {SHOP}/tool:/tmp/note.txt", files={"note.txt": "from an agent\n"})
    assert into.status == "succeeded", into.text
    read = site.node.kubectl("exec", "tool", f"--namespace={SHOP}", "--", "cat", "/tmp/note.txt").stdout
    assert read == "from an agent\n"


def test_logs_are_those_of_the_container(agent_factory: Callable[..., Agent], echo: str) -> None:
    agent = agent_factory(_may("pods/log", verbs=("get",)))
    assert "begun" in agent.kubectl(f"logs -n {SHOP} {echo}").stdout


def test_a_pods_own_http_is_reached_through_the_proxy_only_when_named(
    agent_factory: Callable[..., Agent], echo: str
) -> None:
    path = f"/api/v1/namespaces/{SHOP}/pods/{echo}:8000/proxy/"
    command = f"get --raw {path}"
    assert "k8s-mcp-server" in agent_factory(_may("pods/proxy", verbs=("get",))).kubectl(command).stdout
    assert agent_factory(_may("*", verbs=("*",))).kubectl(command).status == "denied"


def test_debug_adds_a_container_that_meets_restricted(site: Site, agent_factory: Callable[..., Agent]) -> None:
    agent = agent_factory(_may("pods/ephemeralcontainers", verbs=("patch",)))
    answer = agent.kubectl(f"debug -n {SHOP} tool --image={IMAGE} --profile=restricted --container=look -- true")
    assert answer.status == "succeeded", answer.text
    containers = "jsonpath={.spec.ephemeralContainers[*].name}"
    found = site.node.kubectl("get", "pod", "tool", f"--namespace={SHOP}", f"--output={containers}").stdout
    assert "look" in found.split()


def test_drain_cordons_the_node_and_evicts_what_the_policy_lets_it(
    site: Site, agent_factory: Callable[..., Agent]
) -> None:
    name = site.node.layout.name
    nodes = {"clusterScoped": True, "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]}
    spec = _may("pods/eviction", verbs=("create",))
    site.node.kubectl("apply", "--filename=-", input=json.dumps(workload("drained")))
    site.node.kubectl("wait", "pod/drained", f"--namespace={SHOP}", "--for=condition=Ready", "--timeout=60s")
    agent = agent_factory({**spec, "rules": [*spec["rules"], nodes]})
    try:
        answer = agent.kubectl(f"drain {name} --force --pod-selector=app=drained --timeout=60s", timeout=90)
        assert answer.status == "succeeded", answer.text
        listed = site.node.kubectl("get", "pod", "drained", f"--namespace={SHOP}", "--ignore-not-found").stdout
        assert listed == ""
        unschedulable = "jsonpath={.spec.unschedulable}"
        assert site.node.kubectl("get", "node", name, f"--output={unschedulable}").stdout == "true"
    finally:
        site.node.kubectl("uncordon", name)
