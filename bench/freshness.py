"""How long until a change of a policy is in force in every replica, and until a replica with very many is ready."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Final

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from bench.figures import Samples
from bench.gateway import End, Http
from bench.startup import resident_bytes
from devtools.demo.teams import AGENTS_NAMESPACE, AUDIENCE
from devtools.installed import InstalledService

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from devtools.cluster import TestCluster

POLICIES: Final = 10_000
NAMESPACES: Final = 2_000
CHANGES: Final = 100
_REPLICAS: Final = 2
_AT_ONCE: Final = 16
_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.02  # between two looks of one client; a replica that is asked all the time is not measured
_ACCOUNT: Final = "bench-author"
_AGENT: Final = "bench-agent"
_POLICY_PATH: Final = "/apis/k8s-mcp.io/v1alpha1/mcpaccesspolicies"
# What the project promises.
_GOAL_READY: Final = 15.0
_GOAL_IN_FORCE: Final = 1.0


def measure(cluster: TestCluster, *, tools: Path, folder: Path) -> list[dict[str, Any]]:
    """Fill the cluster, start replicas, change a policy many times; rows for the table."""
    author = _author(cluster)
    cluster.kubectl("create", "serviceaccount", _AGENT, "--namespace", AGENTS_NAMESPACE)
    token = cluster.service_account_token(AGENTS_NAMESPACE, _AGENT, audience=AUDIENCE, seconds=7200)
    asyncio.run(_fill(author))
    ready = Samples(f"start to ready, {POLICIES} policies, {NAMESPACES} namespaces")
    with contextlib.ExitStack() as stack:
        replicas = []
        for number in range(_REPLICAS):
            replicas.append(stack.enter_context(InstalledService(cluster, tools=tools, folder=folder / str(number))))
            ready.seconds.append(replicas[-1].ready_seconds)
        in_force, revoked = asyncio.run(_change(author, urls=[replica.url for replica in replicas], token=token))
        memory = resident_bytes(replicas[0].pid)
    return [
        {**ready.summary(), "goal_ms": _GOAL_READY * 1000},
        {**in_force.summary(), "goal_ms": _GOAL_IN_FORCE * 1000, "goal_of": "p99_ms"},
        {**revoked.summary(), "goal_ms": _GOAL_IN_FORCE * 1000, "goal_of": "p99_ms"},
        {"name": f"service, {POLICIES} policies, resident memory", "bytes": memory},
    ]


def _author(cluster: TestCluster) -> End:
    """Somebody who may write policies, at the API server itself."""
    cluster.kubectl("create", "serviceaccount", _ACCOUNT, "--namespace", AGENTS_NAMESPACE)
    account = f"{AGENTS_NAMESPACE}:{_ACCOUNT}"
    role = ("clusterrolebinding", _ACCOUNT, "--clusterrole=cluster-admin", f"--serviceaccount={account}")
    cluster.kubectl("create", *role)
    return End(
        host=cluster.host,
        port=cluster.port,
        ca_pem=cluster.ca_file.read_text(encoding="ascii"),
        token=cluster.service_account_token(AGENTS_NAMESPACE, _ACCOUNT, seconds=7200),
    )


async def _fill(author: End) -> None:
    namespaces = (("/api/v1/namespaces", _namespace(number)) for number in range(NAMESPACES))
    policies = ((_POLICY_PATH, _policy(f"team-{number}", account=f"team-{number}")) for number in range(POLICIES))
    for left in (namespaces, policies):
        await asyncio.gather(*(_create(author, left) for _ in range(_AT_ONCE)))


async def _create(author: End, left: Iterable[tuple[str, bytes]]) -> None:
    client = await Http.connect(author)
    for path, body in left:
        await client.ask("POST", path, body)
    client.close()


def _namespace(number: int) -> bytes:
    metadata = {"name": f"team-{number}", "labels": {"example.com/team": f"team-{number}"}}
    return json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}).encode()


def _policy(name: str, *, account: str) -> bytes:
    reads = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
    spec = {
        "subjects": [{"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": account}],
        "rules": [
            {"namespaces": [name], **reads},
            {"namespaceSelector": {"matchLabels": {"example.com/team": name}}, **reads},
        ],
    }
    body = {"apiVersion": "k8s-mcp.io/v1alpha1", "kind": "McpAccessPolicy", "metadata": {"name": name}, "spec": spec}
    return json.dumps(body).encode()


async def _change(author: End, *, urls: list[str], token: str) -> tuple[Samples, Samples]:
    """Make and take a policy again and again; until every replica tells its client so."""
    in_force = Samples(f"written to in force, {len(urls)} replicas")
    revoked = Samples(f"deleted to revoked, {len(urls)} replicas")
    writer = await Http.connect(author)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(_client(url, token, stack)) for url in urls]
        for number in range(CHANGES):
            name = f"change-{number}"
            await writer.ask("POST", _POLICY_PATH, _policy(name, account=_AGENT))
            in_force.seconds.append(await _until(clients, name, there=True))
            await writer.ask("DELETE", f"{_POLICY_PATH}/{name}")
            revoked.seconds.append(await _until(clients, name, there=False))
    writer.close()
    return in_force, revoked


def _client(url: str, token: str, stack: contextlib.AsyncExitStack) -> Client:
    http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=_SECONDS)
    stack.push_async_callback(http.aclose)
    return Client(streamable_http_client(url, http_client=http))


async def _until(clients: list[Client], policy: str, *, there: bool) -> float:
    """Seconds from now until every replica says that the policy names its client, or no longer does."""
    began = time.perf_counter()
    async with asyncio.timeout(_SECONDS):
        await asyncio.gather(*(_says(client, policy, there=there) for client in clients))
    return time.perf_counter() - began


async def _says(client: Client, policy: str, *, there: bool) -> None:
    while True:
        result = await client.call_tool("check_access", {})
        text = "\n".join(block.text for block in result.content if block.type == "text")
        if (policy in text) is there:
            return
        await asyncio.sleep(_LOOK_SECONDS)
