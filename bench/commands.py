"""What a command costs through the service, beside the bare CLI with the same rights on the same cluster."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from bench.figures import Samples, in_turn, ratio
from k8s_mcp_server.serving.form import fields_of

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.cluster import TestCluster

COMMAND = ("get", "pods", "--namespace", "shop")
_CALL_SECONDS = 60.0


async def measure(
    cluster: TestCluster, *, kubectl: Path, url: str, token: str, rounds: int
) -> tuple[dict[str, Samples], float]:
    """``get pods`` both ways in turn; returns the samples and the median ratio of through to bare."""
    line = [str(kubectl), f"--kubeconfig={cluster.kubeconfig}", *COMMAND]
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=_CALL_SECONDS) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):

        async def through() -> None:
            result = await client.call_tool("execute_kubectl", {"command": " ".join(COMMAND)})
            if fields_of(result)["status"] != "succeeded":
                raise RuntimeError(json.dumps(fields_of(result)))

        async def bare() -> None:
            await asyncio.to_thread(subprocess.run, line, check=True, capture_output=True)

        taken = await in_turn(rounds=rounds, bare=bare, through=through)
    return taken, ratio(taken["through"], to=taken["bare"])
