"""What a command costs through the service, beside the bare CLI with the same rights on the same cluster."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import TYPE_CHECKING, Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from bench.figures import Samples, in_turn, ratio

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.cluster import TestCluster

COMMAND = ("get", "pods", "--namespace", "shop")
_CALL_SECONDS = 60.0


class McpAgent:
    """One MCP client that stays connected, called from ordinary code."""

    def __init__(self, url: str, token: str) -> None:
        self._runner = asyncio.Runner()
        self._http = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=_CALL_SECONDS)
        self._client = Client(streamable_http_client(url, http_client=self._http))
        self._runner.run(self._client.__aenter__())

    def kubectl(self, *words: str) -> dict[str, Any]:
        """The structured result of one command; raises RuntimeError when it did not succeed."""
        result = self._runner.run(self._client.call_tool("execute_kubectl", {"command": " ".join(words)}))
        fields = result.structured_content or {}
        if fields.get("status") != "succeeded":
            raise RuntimeError(f"{' '.join(words)}: {json.dumps(fields)}")
        return fields

    def close(self) -> None:
        """Disconnect."""
        self._runner.run(self._client.__aexit__(None, None, None))
        self._runner.run(self._http.aclose())
        self._runner.close()


def measure(
    cluster: TestCluster, *, kubectl: Path, url: str, token: str, rounds: int
) -> tuple[dict[str, Samples], float]:
    """``get pods`` both ways in turn; returns the samples and the median ratio of through to bare."""
    agent = McpAgent(url, token)
    bare = [str(kubectl), f"--kubeconfig={cluster.kubeconfig}", *COMMAND]

    def run_bare() -> None:
        subprocess.run(bare, check=True, capture_output=True)

    try:
        taken = in_turn(rounds=rounds, bare=run_bare, through=lambda: agent.kubectl(*COMMAND))
    finally:
        agent.close()
    return taken, ratio(taken["through"], to=taken["bare"])
