"""Agents in Pods of the cluster, with projected tokens, through the Service's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.node.site import AGENTS, AUDIENCE, HOST, NAMESPACE, READER, SHOP, workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.node.site import Site

pytestmark = pytest.mark.e2e

_POST = f"""\
import sys, urllib.error, urllib.request
from pathlib import Path
token = Path(sys.argv[1]).read_text()
request = urllib.request.Request("http://{HOST}/mcp", data=b"{{}}", headers={{"Authorization": "Bearer " + token}})
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""

_ASK = f"""\
import json, sys
from pathlib import Path
from tests.support.agent import Agent
token = Path(sys.argv[1]).read_text()
answer = Agent("http://{HOST}/mcp", token).kubectl(sys.argv[2])
print(json.dumps([answer.status, answer.stdout]))
"""


@pytest.fixture(scope="module")
def pod(site: Site) -> Iterator[str]:
    """A Pod with two projected tokens: one of the service's audience, and one of the API server's."""
    name = "in-a-pod"
    support = Path(__file__).parents[2] / "support"
    modules = {name: (support / name).read_text(encoding="utf-8") for name in ("agent.py", "results.py")}
    script = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": AGENTS},
        "data": {**modules, "ask.py": _ASK},
    }
    site.node.kubectl("apply", "--filename=-", input=json.dumps(script))
    site.agent(name, READER)
    files = [
        {"key": "ask.py", "path": "ask.py"},
        *({"key": module, "path": f"tests/support/{module}"} for module in modules),
    ]
    tokens: list[dict[str, Any]] = [
        {"serviceAccountToken": {"path": "ours", "audience": AUDIENCE, "expirationSeconds": 600}},
        {"serviceAccountToken": {"path": "other", "expirationSeconds": 600}},
    ]
    body = workload(
        name,
        namespace=AGENTS,
        serviceAccountName=name,
        automountServiceAccountToken=False,
        volumes=[
            {"name": "script", "configMap": {"name": name, "items": files}},
            {"name": "tokens", "projected": {"sources": tokens}},
        ],
        container={
            "volumeMounts": [
                {"name": "script", "mountPath": "/agent"},
                {"name": "tokens", "mountPath": "/tokens"},
            ]
        },
    )
    site.node.kubectl("apply", "--filename=-", input=json.dumps(body))
    site.node.kubectl("wait", f"pod/{name}", f"--namespace={AGENTS}", "--for=condition=Ready", "--timeout=60s")
    yield name
    site.node.kubectl("delete", "pod", name, f"--namespace={AGENTS}", "--wait=false")
    site.forget(name)


def test_a_projected_token_of_our_audience_is_who_the_agent_is(site: Site, pod: str) -> None:
    done = _ask(site, pod, token="ours", command=f"get pods -n {SHOP} -o name")
    assert json.loads(done) == ["succeeded", "pod/tool\n"]
    refused = _ask(site, pod, token="ours", command=f"get pods -n {NAMESPACE}")
    assert json.loads(refused)[0] == "denied"


def test_a_token_for_the_api_server_is_none_for_us(site: Site, pod: str) -> None:
    assert _run(site, pod, "-c", _POST, "/tokens/other") == "401\n"
    assert _run(site, pod, "-c", _POST, "/tokens/ours") != "401\n"


def _ask(site: Site, pod: str, *, token: str, command: str) -> str:
    return _run(site, pod, "/agent/ask.py", f"/tokens/{token}", command)


def _run(site: Site, pod: str, *words: str) -> str:
    python = "/opt/k8s-mcp-server/bin/python"
    return site.node.kubectl("exec", pod, f"--namespace={AGENTS}", "--", python, *words).stdout
