"""The manifests as they are, on a real node under Pod Security `restricted`."""

from __future__ import annotations

import re
import urllib.request
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.node.site import NAMESPACE, READER, SHOP

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.node.site import Site
    from tests.support.agent import Agent

pytestmark = pytest.mark.e2e


def _fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - made of a Pod's address
        return str(answer.read().decode())


def test_two_replicas_are_ready_with_the_strictest_sandbox(site: Site) -> None:
    replicas = site.replicas()
    assert len(replicas) == 2
    for address in replicas:
        assert 'k8s_mcp_sandbox_level{level="required"} 1.0' in _fetch(f"http://{address}:8081/metrics")


def test_the_process_has_no_rights_a_read_only_root_and_the_groups_of_its_manifest(site: Site) -> None:
    name = site.pods()[0]["metadata"]["name"]
    exec_in = ("exec", name, f"--namespace={NAMESPACE}", "--")
    status = site.node.kubectl(*exec_in, "cat", "/proc/1/status").stdout
    facts = dict(re.findall(r"^(\w+):\s+(.*)$", status, re.MULTILINE))
    assert facts["Uid"].split() == facts["Gid"].split() == ["65532"] * 4
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0
    assert facts["NoNewPrivs"] == "1"
    assert facts["Seccomp"] == "2"
    refused = site.node.kubectl(*exec_in, "touch", "/usr/here", check=False)
    assert "Read-only file system" in refused.stderr


def test_the_image_keeps_no_program_that_changes_the_user(site: Site) -> None:
    name = site.pods()[0]["metadata"]["name"]
    find = ("find", "/usr", "/opt", "-xdev", "-type", "f", "-perm", "/6000")
    found = site.node.kubectl("exec", name, f"--namespace={NAMESPACE}", "--", *find)
    assert found.stdout == ""


def test_an_agent_outside_works_through_the_service(site: Site, agent_factory: Callable[..., Agent]) -> None:
    agent = agent_factory(READER)
    allowed = agent.kubectl(f"get pods -n {SHOP} -o name")
    assert allowed.stdout.splitlines() == ["pod/tool"]
    denied = agent.kubectl(f"get pods -n {NAMESPACE}")
    assert denied.status == "denied"


def test_a_filter_of_the_image_reads_what_a_command_prints(agent_factory: Callable[..., Agent]) -> None:
    agent = agent_factory(READER)
    answer = agent.kubectl(f"get pods -n {SHOP} -o json | jq -r '.items[].metadata.name' | sort | column")
    assert answer.stdout.split() == ["tool"]


def test_a_policy_that_goes_is_noticed_by_every_replica_long_before_the_next_full_list(
    site: Site, agent_factory: Callable[..., Agent]
) -> None:
    agent = agent_factory(READER)
    (policy,) = re.findall(r"agent-[0-9a-f]{8}", site.node.kubectl("get", "mcpap", "--output=name").stdout)
    site.node.kubectl("delete", "mcpap", policy)
    for one in site.at_each_replica(agent):
        site.eventually(partial(_is_denied, one), within=5)


def _is_denied(agent: Agent) -> bool:
    return agent.kubectl(f"get pods -n {SHOP}").status == "denied"


def test_no_log_line_of_the_service_is_worse_than_information(site: Site) -> None:
    for pod in site.pods():
        log = site.node.kubectl("logs", pod["metadata"]["name"], f"--namespace={NAMESPACE}").stdout
        assert [line for line in log.splitlines() if '"level": "warning"' in line or '"level": "error"' in line] == []
