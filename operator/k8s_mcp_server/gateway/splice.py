"""Upgraded connections: bytes both ways, understood by nobody in between, until either side ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.front import FrontConnection
    from k8s_mcp_server.gateway.stream import ByteStream
    from k8s_mcp_server.gateway.upstream import UpstreamConnection


async def splice(front: FrontConnection, upstream: UpstreamConnection) -> None:
    """Carry bytes both ways with backpressure; returns when one side has ended and its bytes are delivered."""
    pumps = {
        asyncio.create_task(_pump(front.upgraded_stream(), upstream)),
        asyncio.create_task(_pump(upstream.body, front)),
    }
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(source: ByteStream, sink: FrontConnection | UpstreamConnection) -> None:
    while data := await source.read():
        sink.write(data)
        await sink.drain.wait()
