"""Clients of an OpenID Connect issuer: what their policies give them, and whom they cannot pass for."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from devtools.demo.teams import AGENTS_NAMESPACE
from devtools.installed import InstalledService
from tests.integration.through_mcp.conftest import apply_policy
from tests.support.agent import Agent
from tests.support.oidc_issuer import LocalIssuer, local_issuer

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.cluster import TestCluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TEAM = "shop"
CONFIG_MAP = ("configmap", "k8s-mcp-server", "--namespace=k8s-mcp-system")
READ_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}


@contextmanager
def issuer_in_thread(folder: Path) -> Iterator[LocalIssuer]:
    """Run the issuer beside tests that block."""
    running: list[LocalIssuer] = []
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with local_issuer(folder) as issuer:
            running.append(issuer)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(20)
    yield running[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)
    loop.close()


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalIssuer]:
    with issuer_in_thread(tmp_path_factory.mktemp("issuer")) as running:
        yield running


@pytest.fixture(scope="module")
def service(
    cluster: TestCluster,
    installed: InstalledService,
    replicas: list[InstalledService],
    issuer: LocalIssuer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[InstalledService]:
    """A replica whose settings name the issuer."""
    before = json.loads(cluster.kubectl("get", *CONFIG_MAP, "-o", "json").stdout)["data"]["config.yaml"]
    issuers = [
        {"url": issuer.url, "username_prefix": "oidc:", "groups_prefix": "oidc:", "ca_file": str(issuer.ca_file)}
    ]
    configure(cluster, f"{before}\noidc_issuers: {json.dumps(issuers)}\n")
    tools = installed.environment["K8S_MCP_TOOLS_DIR"]
    folder = tmp_path_factory.mktemp("oidc-service")
    try:
        with InstalledService(cluster, tools=type(folder)(tools), folder=folder) as running:
            replicas.append(running)
            yield running
    finally:
        configure(cluster, before)


def configure(cluster: TestCluster, config: str) -> None:
    patch = json.dumps({"data": {"config.yaml": config}})
    cluster.kubectl("patch", *CONFIG_MAP, "--type=merge", f"--patch={patch}")


@pytest.fixture(scope="module")
def group_policy(cluster: TestCluster, service: InstalledService) -> Iterator[str]:
    """A policy for a group of the issuer's."""
    del service
    name = "oidc-team"
    spec = {
        "subjects": [{"kind": "Group", "name": "oidc:team-*"}],
        "rules": [{"namespaces": [TEAM], **READ_PODS}],
    }
    apply_policy(cluster, name, spec)
    cluster.kubectl("wait", "--for=condition=Ready", f"mcpap/{name}", "--timeout=30s")
    yield name
    cluster.kubectl("delete", "mcpap", name)


def test_a_member_of_a_group_gets_what_the_groups_policy_gives(
    service: InstalledService, issuer: LocalIssuer, group_policy: str
) -> None:
    agent = Agent(service.url, issuer.token(sub="jane", groups=["team-shop"]))

    assert group_policy in agent.check_access().text
    assert agent.kubectl(f"get pods -n {TEAM}").status == "succeeded"
    assert agent.kubectl("get pods -n kube-system").status == "denied"
    outsider = Agent(service.url, issuer.token(sub="joe", groups=["other"]))
    assert outsider.kubectl(f"get pods -n {TEAM}").status == "denied"


def test_the_api_server_is_told_which_client_of_the_issuer_asked(
    cluster: TestCluster, service: InstalledService, issuer: LocalIssuer, group_policy: str
) -> None:
    if cluster.audit_log is None:
        pytest.skip("this cluster's audit log cannot be read")
    del group_policy
    offset = cluster.audit_log.stat().st_size
    Agent(service.url, issuer.token(sub="audited", groups=["team-shop"])).kubectl(f"get pods -n {TEAM}")

    with cluster.audit_log.open("rb") as log:
        log.seek(offset)
        lines = [line for line in log if b"oidc:audited" in line]
    extras = [json.loads(line)["impersonatedUser"]["extra"] for line in lines]
    assert {"k8s-mcp.io/client": ["oidc:audited"]} in extras


VICTIM = "shop-deployer"  # an agent of the demo, with a policy that names it


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"sub": f"system:serviceaccount:{AGENTS_NAMESPACE}:{VICTIM}"}, id="a ServiceAccount's name"),
        pytest.param({"groups": ["system:serviceaccounts", "system:masters"]}, id="groups of the cluster"),
        pytest.param({"groups": [f"system:serviceaccounts:{AGENTS_NAMESPACE}"]}, id="the group of a namespace"),
        pytest.param(
            {"kubernetes.io": {"namespace": AGENTS_NAMESPACE, "serviceaccount": {"name": VICTIM}}},
            id="the API server's own claims",
        ),
    ],
)
def test_no_claim_passes_for_an_identity_of_the_cluster(
    service: InstalledService, issuer: LocalIssuer, claims: dict[str, Any]
) -> None:
    answer = Agent(service.url, issuer.token(**claims)).kubectl(f"get pods -n {TEAM}")

    assert (answer.status, answer.fields["reason"]) == ("denied", "NoPolicy")


def test_an_expired_token_is_not_valid_here(service: InstalledService, issuer: LocalIssuer) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {issuer.token(exp=1)}"}

    assert httpx2.post(service.url, json=body, headers=headers).status_code == 401


def test_the_resource_metadata_names_the_issuer(service: InstalledService, issuer: LocalIssuer) -> None:
    url = service.url.replace("/mcp", "/.well-known/oauth-protected-resource")

    assert httpx2.get(url).json()["authorization_servers"] == [issuer.url]
