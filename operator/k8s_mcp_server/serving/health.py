"""The health port: is the process alive, may it get traffic, and the metrics.

On a port of its own, without authentication, for the kubelet and Prometheus. It names reasons from a closed set and
nothing of any client (threats 26).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry
    from starlette.requests import Request


def health_app(
    *,
    not_ready_reasons: Callable[[], tuple[str, ...]],
    sandbox_level: Callable[[], str],
    registry: CollectorRegistry,
) -> Starlette:
    """The application with ``/livez``, ``/readyz`` and ``/metrics``.

    Args:
        not_ready_reasons: stable CamelCase words; empty when the replica may get traffic.
        sandbox_level: ``required``, ``filesystem`` or ``unavailable``.
        registry: what ``/metrics`` shows.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        reasons = not_ready_reasons()
        return JSONResponse(
            {"ready": not reasons, "reasons": list(reasons), "sandbox": sandbox_level()},
            status_code=503 if reasons else 200,
        )

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])
