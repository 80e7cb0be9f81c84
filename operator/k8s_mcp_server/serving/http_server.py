"""One HTTP server on one socket, beside others in the same event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

import uvicorn

from k8s_mcp_server.errors import ConfigurationError
from k8s_mcp_server.serving.connections import ConnectionLimits, Connections, guarded

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BACKLOG: Final = 512
_START_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.01


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process has several servers, and one owner of its signals.

    Args:
        config: uvicorn's.
        handshake_seconds: for a complete TLS handshake; a connection is counted from its end on.
    """

    def __init__(self, config: uvicorn.Config, *, handshake_seconds: float) -> None:
        super().__init__(config)
        self._handshake_seconds = handshake_seconds

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. As uvicorn does, which leaves a handshake a minute."""
        await super().startup(sockets=[])
        protocol = partial(
            self.config.http_protocol_class,  # type: ignore[call-arg]  # declared as a bare Protocol
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        self.servers = [
            await asyncio.get_running_loop().create_server(
                protocol,
                sock=listener,
                ssl=self.config.ssl,
                ssl_handshake_timeout=self._handshake_seconds if self.config.ssl else None,
                backlog=self.config.backlog,
            )
            for listener in sockets or ()
        ]


class _LastAnswers:
    """From ``leaving`` on each answer ends its connection, so that the client's next request goes elsewhere.

    A connection that is kept would be closed at the stop, perhaps while a request is on its way over it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.leaving = False
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_last(message: Message) -> None:
            if self.leaving and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, send_last)


class HttpServer:
    """Serves an ASGI application from `start` to `stop`.

    Args:
        app: the application; its lifespan runs meanwhile.
        host: address to listen on; empty for all addresses, IPv4's and IPv6's.
        port: port to listen on; 0 takes a free one.
        limits: what peers may hold.
        tls: what to serve HTTPS with; None serves HTTP.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        limits: ConnectionLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.connections = Connections(limits or ConnectionLimits())
        self._address = (host, port)
        self._port = port
        self._app = _LastAnswers(app)
        self._config = uvicorn.Config(
            self._app,
            # With uvloop a child process takes 10 ms to start instead of 1.7. h11 is the parser that accepts the
            # optional white space of RFC 9110 around every header's value.
            loop="asyncio",
            http=guarded(self.connections),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=self.connections.limits.requests,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
        self._server = _Server(self._config, handshake_seconds=self.connections.limits.head_seconds)
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port it listens on; the real one from `start` on."""
        return self._port

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._server.started and self._task is not None and not self._task.done()

    async def start(self) -> None:
        """Begin to serve; returns when requests are taken.

        Raises:
            ConfigurationError: the address cannot be listened on.
            RuntimeError: the application's lifespan failed.
        """
        listener = _listen(*self._address)
        self._port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        async with asyncio.timeout(_START_SECONDS):
            while not self._server.started:
                if self._task.done():
                    raise RuntimeError("the HTTP application did not start") from self._task.exception()
                await asyncio.sleep(_POLL_SECONDS)

    async def wait(self) -> None:
        """Until it has ended, whoever asked for that."""
        if self._task is not None:
            await asyncio.shield(self._task)

    def send_away(self) -> None:
        """Go on serving, but end each connection with its next answer; `stop` is to follow."""
        self._app.leaving = True

    async def stop(self, *, grace_seconds: float) -> None:
        """Refuse new connections, let requests end within the grace, then cancel them."""
        self._config.timeout_graceful_shutdown = max(1, round(grace_seconds))
        self._server.should_exit = True
        await self.wait()


def _listen(host: str, port: int) -> socket.socket:
    if not host and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        except OSError as error:
            raise ConfigurationError(f"cannot listen on port {port}: {error.strerror}") from error
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}: {error.strerror or error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener
