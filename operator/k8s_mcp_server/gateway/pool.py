"""Connections to the API server, kept between requests."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.gateway.upstream import UpstreamConnection

if TYPE_CHECKING:
    from k8s_mcp_server.cluster.connection import ApiServer

_SHUTDOWN_SECONDS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamLimits:
    """How long the API server may take, and how many connections wait for it. Seconds.

    Args:
        connect_seconds: for TCP and TLS.
        response_seconds: until the head of an answer; the API server itself gives up after 60.
        idle_seconds: how long an unused connection is kept; the API server closes it after 90 or more.
        idle_connections: how many unused connections are kept.
    """

    connect_seconds: float = 5
    response_seconds: float = 75
    idle_seconds: float = 45
    idle_connections: int = 32


class UpstreamPool:
    """Connections to one API server.

    Args:
        api_server: where it is and whom to trust.
        limits: see ``UpstreamLimits``.
    """

    def __init__(self, api_server: ApiServer, *, limits: UpstreamLimits) -> None:
        self._api_server = api_server
        self.limits = limits
        self._idle: deque[UpstreamConnection] = deque()

    async def acquire(self, *, fresh: bool) -> UpstreamConnection:
        """A connection, ready for an exchange.

        Args:
            fresh: never one that was used before.

        Raises:
            Unavailable: the API server cannot be reached, or is not the one that the CA vouches for.
        """
        connection = None if fresh else self._take_idle()
        if connection is None:
            connection = await self._connect()
        connection.begin()
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Give a connection back after its exchange; kept if it can be used again, dropped otherwise."""
        if not connection.is_reusable or len(self._idle) >= self.limits.idle_connections:
            connection.close()
            return
        connection.reused = True
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def close(self) -> None:
        """Drop the idle connections."""
        while self._idle:
            self._idle.pop().abort()

    def _take_idle(self) -> UpstreamConnection | None:
        oldest = asyncio.get_running_loop().time() - self.limits.idle_seconds
        context = self._api_server.ssl_context()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_reusable and connection.idle_since > oldest and connection.context is context:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> UpstreamConnection:
        server = self._api_server
        context = server.ssl_context()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(context=context),
                    server.host,
                    server.port,
                    ssl=context,
                    server_hostname=server.server_hostname,
                    ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
                )
        except TimeoutError as error:
            raise Unavailable("the API server did not accept a connection in time") from error
        except ssl.SSLError as error:
            raise Unavailable(f"the API server's TLS is not accepted: {error.reason or 'handshake failed'}") from error
        except OSError as error:
            raise Unavailable(f"the API server cannot be reached: {error.strerror or type(error).__name__}") from error
        return connection
