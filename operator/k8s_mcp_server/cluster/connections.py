"""aiohttp sessions to the API server: our CA, our current token, and no socket left behind.

aiohttp closes TLS connections some loop iterations after its session. A loop that ends before that leaks them, so their
sockets are remembered, and the end waits for them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from k8s_mcp_server.cluster.connection import ApiServer

logger = logging.getLogger(__name__)

USER_AGENT: Final = "k8s-mcp-server/controller"
_CLOSE_SECONDS: Final = 1.0
_CLOSED: Final = -1


class Connections:
    """The sessions of one event loop.

    Args:
        api_server: where they lead.
    """

    def __init__(self, api_server: ApiServer) -> None:
        self._api_server = api_server
        self._sessions: list[aiohttp.ClientSession] = []
        self._sockets: set[socket.socket] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, api_server: ApiServer) -> AsyncIterator[Self]:
        """Connections that are all closed at the end of the block."""
        connections = cls(api_server)
        try:
            yield connections
        finally:
            await connections.close()

    def session(self, *middlewares: aiohttp.ClientMiddlewareType) -> aiohttp.ClientSession:
        """A session that trusts the cluster's CA only and sends the current token with each request.

        Args:
            middlewares: what else is done with each request.

        Raises:
            Unavailable: the CA cannot be read.
        """

        async def authorize(
            request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
        ) -> aiohttp.ClientResponse:
            request.headers["Authorization"] = f"Bearer {self._api_server.token()}"
            return await handler(request)

        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=self._api_server.ssl_context(), limit=0, socket_factory=self._open_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT},
            middlewares=(authorize, *middlewares),
        )
        self._sessions.append(session)
        return session

    async def close(self) -> None:
        """Close every session and wait until its sockets are closed, too."""
        for session in self._sessions:
            await session.close()
        self._forget_closed()
        for open_socket in self._sockets:
            with suppress(OSError):  # the other side was quicker
                open_socket.shutdown(socket.SHUT_RDWR)
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._sockets:
                    await asyncio.sleep(0)
                    self._forget_closed()
        except TimeoutError:
            logger.warning("%d connections to the API server did not close.", len(self._sockets))

    def _open_socket(self, address: tuple[int, int, int, str, object]) -> socket.socket:
        self._forget_closed()
        family, kind, protocol, *_ = address
        opened = socket.socket(family=family, type=kind, proto=protocol)
        self._sockets.add(opened)
        return opened

    def _forget_closed(self) -> None:
        self._sockets = {one for one in self._sockets if one.fileno() != _CLOSED}


def base_url(api_server: ApiServer) -> str:
    """``https://host:port``, an IPv6 address in brackets."""
    host = f"[{api_server.host}]" if ":" in api_server.host else api_server.host
    return f"https://{host}:{api_server.port}"
