"""Upgraded connections: bytes both ways until either side ends, read on their way only where a plan bounds them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from k8s_mcp_server.gateway.portforward.errors import ForwardRefused

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.front import FrontConnection
    from k8s_mcp_server.gateway.portforward.inspector import ForwardInspector
    from k8s_mcp_server.gateway.stream import ByteStream
    from k8s_mcp_server.gateway.upstream import UpstreamConnection


async def splice(
    front: FrontConnection, upstream: UpstreamConnection, *, inspector: ForwardInspector | None = None
) -> None:
    """Carry bytes both ways with backpressure; returns when one side has ended and its bytes are delivered.

    Args:
        front: the client's side.
        upstream: the API server's.
        inspector: reads what the client says before it is passed on.

    Raises:
        ForwardRefused: the client said something that the inspector refuses; it was not passed on.
    """
    pumps = {
        asyncio.create_task(_pump(front.upgraded_stream(), upstream, inspector)),
        asyncio.create_task(_pump(upstream.body, front, None)),
    }
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        ends = await asyncio.gather(*pumps, return_exceptions=True)
    for end in ends:
        if isinstance(end, ForwardRefused):
            raise end


async def _pump(
    source: ByteStream, sink: FrontConnection | UpstreamConnection, inspector: ForwardInspector | None
) -> None:
    while data := await source.read():
        if inspector is not None:
            inspector.inspect(data)
        sink.write(data)
        await sink.drain.wait()
