"""What agents of istioctl are told: check_access, help with marks, the prompt, and the next command after a denial."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.e2e.istio.conftest import OTHER, OWN, READ, rule
from tests.support.guidance import not_helped, suggested_by, wrongly_checked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Helped
    from tests.e2e.istio.conftest import MeshAgent
    from tests.support.agent import Answer

pytestmark = pytest.mark.e2e

COMMANDS = [
    "istioctl proxy-status",
    f"istioctl proxy-status -n {OWN}",
    f"istioctl ps -n {OTHER}",
    "istioctl pc clusters $POD",
    "istioctl pc routes $OTHER",
    "istioctl pc secret $POD",
    "istioctl pc log $POD",
    "istioctl pc log $POD --level debug",
    f"istioctl x describe svc cart.{OWN}",
    f"istioctl x describe svc cart.{OTHER}",
    "istioctl version",
    "istioctl remote-clusters",
    "istioctl version --remote=false",
]
DENIED = [
    "istioctl proxy-status",
    f"istioctl proxy-status -n {OTHER}",
    "istioctl pc clusters $OTHER",
    f"istioctl pc clusters deploy/cart.{OTHER}",
    "istioctl pc routes $OTHER",
    "istioctl pc listeners $OTHER",
    "istioctl x describe pod $OTHER",
    "istioctl x envoy-stats $OTHER",
    "istioctl pc secret $POD",
    "istioctl pc all $POD",
    "istioctl pc log $POD --level debug",
    f"istioctl x describe svc cart.{OTHER}",
    f"istioctl analyze -n {OTHER}",
    "istioctl version",
    "istioctl remote-clusters",
    "istioctl kube-inject -f -",
    "istioctl dashboard kiali",
    "istioctl x proxy-status",
    f"istioctl analyse -n {OWN}",
    f"istioctl analyze -n {OWN}; id",
]
NEEDED = 0.9


@pytest.fixture(scope="module")
def without_tokens(make_agent: Callable[..., MeshAgent]) -> MeshAgent:
    """Sees the proxies of its namespace, and has no right to the token that istiod asks for."""
    return make_agent(rule("proxyconfigs proxystatuses proxyloglevels descriptions analyses"), READ)


def test_a_check_of_a_command_says_what_running_it_would(team: MeshAgent, without_tokens: MeshAgent) -> None:
    for agent in (team, without_tokens):
        filled = [
            line.replace("$POD", f"{agent.pod}.{OWN}").replace("$OTHER", f"{agent.other}.{OTHER}") for line in COMMANDS
        ]
        assert wrongly_checked(agent.agent, filled, agent.istioctl) == []


def test_help_is_marked_with_what_the_policy_gives(team: MeshAgent, without_tokens: MeshAgent) -> None:
    overview = team.agent.call("describe_istioctl", {}).text
    assert re.search(rf"^proxy-status: .* \[allowed in {OWN}\]$", overview, re.MULTILINE)
    assert re.search(r"^version: .* \[allowed in the cluster\]$", overview, re.MULTILINE)
    assert re.search(
        r"^install: .* \[not here: it installs, changes or removes Istio itself\]$", overview, re.MULTILINE
    )
    parts = team.agent.call("describe_istioctl", {"command": "istioctl pc"}).text
    assert parts.startswith("istioctl proxy-config: works")
    assert re.search(r"^secret: .* \[not allowed: needs get on proxysecrets.istioctl.istio.io\]$", parts, re.MULTILINE)
    status = without_tokens.agent.call("describe_istioctl", {"command": "ps"}).text
    assert status.startswith(
        "istioctl proxy-status: not allowed: needs create on tokens.istioctl.istio.io in istio-system"
    )


def test_every_command_that_the_prompt_suggests_works(team: MeshAgent) -> None:
    commands = suggested_by(team.agent, "istio_service_mesh", namespace=OWN)
    assert len(commands) >= 3
    for command in commands:
        answer = team.istioctl(command)
        assert answer.status == "succeeded", answer.text


def test_after_each_denial_the_suggested_command_works(without_tokens: MeshAgent, helped: Helped) -> None:
    def run(line: str) -> Answer:
        return without_tokens.istioctl(line, stdin="kind: List" if line.endswith("-f -") else "")

    failed = not_helped(DENIED, run)
    helped("istioctl", worked=len(DENIED) - len(failed), of=len(DENIED))
    assert len(DENIED) - len(failed) >= NEEDED * len(DENIED), "\n".join(failed)
