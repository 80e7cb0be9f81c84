"""Who a bearer token belongs to, asked of the real API server."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from k8s_mcp_server.cluster.cluster import Cluster
from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from devtools.cluster import TestCluster

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

AUDIENCE = Environment().audience


@pytest.fixture
def agents(namespace_factory: Callable[[str], str]) -> str:
    """The agents' namespace."""
    return namespace_factory("agents")


@pytest.fixture
def api_server(cluster: TestCluster, agents: str, tmp_path: Path) -> Iterator[ApiServer]:
    """The API server and an account that may review tokens, and nothing else."""
    token_file = tmp_path / "token"
    token_file.write_text(cluster.service_account_token(agents, "default"), encoding="ascii")
    cluster.kubectl(
        "create",
        "clusterrolebinding",
        agents,
        "--clusterrole=system:auth-delegator",
        f"--serviceaccount={agents}:default",
    )
    yield ApiServer(host=cluster.host, port=cluster.port, ca_file=Path(cluster.ca_file), token_file=token_file)
    cluster.kubectl("delete", "clusterrolebinding", agents, "--ignore-not-found")


@asynccontextmanager
async def connected(api_server: ApiServer) -> AsyncIterator[Cluster]:
    cluster = Cluster(api_server, environment=Environment(), metrics=Metrics(), identity="replica-1")
    cluster.start()
    try:
        await eventually(lambda: cluster._client is not None)
        yield cluster
    finally:
        await asyncio.to_thread(cluster.stop)


async def test_a_token_for_our_audience_names_its_service_account(
    cluster: TestCluster, api_server: ApiServer, agents: str
) -> None:
    cluster.kubectl("create", "serviceaccount", "deployer", "-n", agents)
    token = cluster.service_account_token(agents, "deployer", audience=AUDIENCE)
    async with connected(api_server) as running:
        client = await running.tokens.authenticate(token)

    groups = {"system:serviceaccounts", f"system:serviceaccounts:{agents}", "system:authenticated"}
    assert client == Client(username=f"system:serviceaccount:{agents}:deployer", groups=frozenset(groups))
    assert client.service_account == (agents, "deployer")


async def test_a_token_for_another_audience_names_nobody(
    cluster: TestCluster, api_server: ApiServer, agents: str
) -> None:
    tokens = [
        cluster.service_account_token(agents, "default"),
        cluster.service_account_token(agents, "default", audience="another-server"),
    ]
    async with connected(api_server) as running:
        assert [await running.tokens.authenticate(token) for token in tokens] == [None, None]


async def test_a_forged_or_broken_token_names_nobody(cluster: TestCluster, api_server: ApiServer, agents: str) -> None:
    header, payload, signature = cluster.service_account_token(agents, "default", audience=AUDIENCE).split(".")
    forged = f"{header}.{payload}.{signature[:-8]}AAAAAAAA"
    unsigned = f"eyJhbGciOiJub25lIn0.{payload}.AAAA"
    async with connected(api_server) as running:
        for token in (forged, unsigned, f"{payload}.{header}.{signature}", "a.b.c", "", "x" * 9000):
            assert await running.tokens.authenticate(token) is None


async def test_the_token_of_a_deleted_account_names_nobody(
    cluster: TestCluster, api_server: ApiServer, agents: str
) -> None:
    """As an expired one: the API server says so. The shortest life of a token is ten minutes, too long to wait for."""
    cluster.kubectl("create", "serviceaccount", "gone", "-n", agents)
    token = cluster.service_account_token(agents, "gone", audience=AUDIENCE)
    cluster.kubectl("delete", "serviceaccount", "gone", "-n", agents)
    async with connected(api_server) as running:
        assert await running.tokens.authenticate(token) is None


async def test_an_api_server_that_does_not_answer_says_nothing_about_the_token(
    cluster: TestCluster, api_server: ApiServer, agents: str
) -> None:
    token = cluster.service_account_token(agents, "default", audience=AUDIENCE)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        elsewhere = ApiServer(
            host="127.0.0.1",
            port=unused.getsockname()[1],
            ca_file=api_server.ca_file,
            token_file=api_server.token_file,
        )
        async with connected(elsewhere) as running:
            with pytest.raises(Unavailable):
                await running.tokens.authenticate(token)


async def test_an_account_that_may_not_review_tokens_says_nothing_about_them(
    cluster: TestCluster, api_server: ApiServer, agents: str, tmp_path: Path
) -> None:
    cluster.kubectl("create", "serviceaccount", "powerless", "-n", agents)
    token_file = tmp_path / "powerless"
    token_file.write_text(cluster.service_account_token(agents, "powerless"), encoding="ascii")
    token = cluster.service_account_token(agents, "default", audience=AUDIENCE)
    powerless = ApiServer(host=api_server.host, port=api_server.port, ca_file=api_server.ca_file, token_file=token_file)
    async with connected(powerless) as running:
        with pytest.raises(Unavailable, match="403"):
            await running.tokens.authenticate(token)
