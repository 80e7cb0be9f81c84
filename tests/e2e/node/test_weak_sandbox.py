"""A node that cannot confine commands: the replica takes none, and its readiness says why."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.node.site import NAMESPACE, READER, SHOP, is_ready
from tests.support.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.node.site import Site

pytestmark = pytest.mark.e2e

_WEAK: Final = "without-landlock"


@pytest.fixture(scope="module")
def weak(site: Site) -> Iterator[str]:
    """The address of a Pod of the service, as the Deployment states it, where the kernel seems to have no Landlock."""

    def change(spec: dict[str, Any]) -> None:
        spec["securityContext"]["seccompProfile"] = site.without_landlock()

    with site.beside(_WEAK, change) as address:
        yield address


def test_readiness_says_that_the_sandbox_is_unavailable(site: Site, weak: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://{weak}:8081/readyz", timeout=10)
    assert refused.value.code == 503
    assert "SandboxUnavailable" in refused.value.read().decode()
    found = site.node.kubectl("get", "pod", _WEAK, f"--namespace={NAMESPACE}", "--output=json").stdout
    assert not is_ready(json.loads(found))


def test_it_runs_no_command_and_says_so(weak: str, agent_factory: Callable[..., Agent]) -> None:
    agent = agent_factory(READER)
    one = Agent(f"http://{weak}:8080/mcp", agent.token, host=agent.host)
    answer = one.kubectl(f"get pods -n {SHOP}")
    assert answer.status not in {"succeeded", "failed"}
    assert "SandboxUnavailable" in answer.text
