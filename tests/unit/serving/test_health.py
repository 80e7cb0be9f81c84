"""The health port."""

from __future__ import annotations

import httpx2
import pytest

from k8s_mcp_server.serving.health import health_app
from k8s_mcp_server.serving.http_server import HttpServer
from k8s_mcp_server.telemetry.metrics import Metrics

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def get(path: str, *, reasons: tuple[str, ...] = (), sandbox: str = "required") -> httpx2.Response:
    app = health_app(not_ready_reasons=lambda: reasons, sandbox_level=lambda: sandbox, registry=Metrics().registry)
    server = HttpServer(app, host="127.0.0.1", port=0)
    await server.start()
    try:
        async with httpx2.AsyncClient() as http:
            return await http.get(f"http://127.0.0.1:{server.port}{path}")
    finally:
        await server.stop(grace_seconds=1)


async def test_the_process_is_alive_also_when_it_is_not_ready() -> None:
    assert (await get("/livez", reasons=("Draining",))).status_code == 200


async def test_ready() -> None:
    response = await get("/readyz")

    assert response.status_code == 200
    assert response.json() == {"ready": True, "reasons": [], "sandbox": "required"}


async def test_not_ready_says_why() -> None:
    response = await get("/readyz", reasons=("PolicySnapshotStale", "SandboxUnavailable"), sandbox="unavailable")

    assert response.status_code == 503
    assert response.json() == {
        "ready": False,
        "reasons": ["PolicySnapshotStale", "SandboxUnavailable"],
        "sandbox": "unavailable",
    }


async def test_metrics_are_prometheus_text() -> None:
    response = await get("/metrics")

    assert response.headers["Content-Type"].startswith("text/plain")
    assert "k8s_mcp_commands_queued 0.0" in response.text


async def test_anything_else_is_404() -> None:
    assert (await get("/")).status_code == 404
