"""A node that cannot confine commands: the replica takes none, and its readiness says why."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.node.site import NAME, NAMESPACE, READER, SHOP, is_ready
from tests.support.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.node.site import Site

pytestmark = pytest.mark.e2e

_WEAK: Final = "without-landlock"
_ENOSYS: Final = 38


@pytest.fixture(scope="module")
def weak(site: Site) -> Iterator[dict[str, Any]]:
    """A Pod of the service, as the Deployment states it, on a kernel that seems to have no Landlock."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["landlock_create_ruleset"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS}],
    }
    (site.node.layout.seccomp / "no-landlock.json").write_text(json.dumps(profile))
    found = site.node.kubectl("get", "deployment", NAME, f"--namespace={NAMESPACE}", "--output=json").stdout
    spec = json.loads(found)["spec"]["template"]["spec"]
    spec["securityContext"]["seccompProfile"] = {"type": "Localhost", "localhostProfile": "no-landlock.json"}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": _WEAK, "namespace": NAMESPACE}, "spec": spec}
    site.node.kubectl("create", "--filename=-", input=json.dumps(body))
    started = "jsonpath={.status.containerStatuses[0].started}=true"
    site.node.kubectl("wait", f"pod/{_WEAK}", f"--namespace={NAMESPACE}", f"--for={started}", "--timeout=60s")
    yield _pod(site)
    site.node.kubectl("delete", "pod", _WEAK, f"--namespace={NAMESPACE}", "--wait=false")


def test_readiness_says_that_the_sandbox_is_unavailable(site: Site, weak: dict[str, Any]) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://{weak['status']['podIP']}:8081/readyz", timeout=10)
    assert refused.value.code == 503
    assert "SandboxUnavailable" in refused.value.read().decode()
    assert not is_ready(_pod(site))


def test_it_runs_no_command_and_says_so(weak: dict[str, Any], agent_factory: Callable[..., Agent]) -> None:
    agent = agent_factory(READER)
    one = Agent(f"http://{weak['status']['podIP']}:8080/mcp", agent.token, host=agent.host)
    answer = one.kubectl(f"get pods -n {SHOP}")
    assert answer.status not in {"succeeded", "failed"}
    assert "SandboxUnavailable" in answer.text


def _pod(site: Site) -> dict[str, Any]:
    found = site.node.kubectl("get", "pod", _WEAK, f"--namespace={NAMESPACE}", "--output=json").stdout
    body: dict[str, Any] = json.loads(found)
    return body
