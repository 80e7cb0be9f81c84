"""How many connections may be open, and how long one may owe us a request.

uvicorn closes only a connection that is idle after an answer, and with its ``limit_concurrency`` whoever opens that
many connections turns everybody else away, without a token. Here every wait for the peer ends: for a request's head,
for its body, for the rest of what was already answered, for the peer to read. And a newcomer takes the place of the
oldest connection that nobody has authenticated on: who has a token is through in a moment, who has none only holds on.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Scope
    from uvicorn.config import Config
    from uvicorn.server import ServerState

_AUTHENTICATED: Final = "k8s_mcp_server.connection_authenticated"
_IPV4_IN_IPV6: Final = "::ffff:"  # RFC 4291, 2.5.5.2: IPv4 peers of a socket that serves both
_SECONDS_BETWEEN_WARNINGS: Final = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What one server lets its peers hold.

    Args:
        total: connections open at once.
        per_address: of these, from one address.
        requests: served at once, those included whose connection has gone; None for any number.
        head_seconds: for a complete request head, from the connection's begin or the last answer; also for what is
            still to come or to be read when the answer was given.
        body_seconds: for a complete body, from the head.
        stall_seconds: for a peer that does not read its answer.
    """

    total: int = 1000
    per_address: int = 256
    requests: int | None = None
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    stall_seconds: float = 60.0


class Connections:
    """The open connections of one server. Lives in one event loop.

    Args:
        limits: see there.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: dict[GuardedProtocol, str] = {}
        self._strangers: dict[GuardedProtocol, None] = {}  # not authenticated, oldest first
        self._held: Counter[str] = Counter()
        self._warned_at = float("-inf")

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, newcomer: GuardedProtocol) -> bool:
        """Count a new connection in, if need be in place of an older one; False when there is no place for it."""
        address = newcomer.address
        if self._held[address] >= self.limits.per_address and not self._make_room(newcomer, address=address):
            return False
        if len(self._open) >= self.limits.total and not self._make_room(newcomer):
            return False
        self._open[newcomer] = address
        self._strangers[newcomer] = None
        self._held[address] += 1
        return True

    def authenticated(self, connection: GuardedProtocol) -> None:
        """Somebody with a token is there: no newcomer takes this place."""
        self._strangers.pop(connection, None)

    def release(self, connection: GuardedProtocol) -> None:
        """The connection has ended."""
        self._strangers.pop(connection, None)
        address = self._open.pop(connection, None)
        if address is not None:
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]

    def _make_room(self, newcomer: GuardedProtocol, *, address: str | None = None) -> bool:
        """End the oldest connection without authentication, of ``address`` when one is given."""
        oldest = next((one for one in self._strangers if address is None or self._open[one] == address), None)
        self._warn(newcomer, address=address)
        if oldest is None:
            return False
        self.release(oldest)
        oldest.transport.abort()
        return True

    def _warn(self, newcomer: GuardedProtocol, *, address: str | None) -> None:
        now = newcomer.loop.time()
        if now - self._warned_at < _SECONDS_BETWEEN_WARNINGS:
            return
        self._warned_at = now
        if address is None:
            logger.warning("all %d connections are in use", self.limits.total)
        else:
            logger.warning("all %d connections of %s are in use", self.limits.per_address, address)


class GuardedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 connection, with an end to every wait for the peer."""

    guard: Connections

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        # uvicorn gives each request's scope a copy of this.
        super().__init__(config, server_state, {**app_state, _AUTHENTICATED: self._authenticated}, _loop)
        self._awaited: tuple[float | None, object] = (None, None)
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        """The peer's IP address."""
        return self.client[0].removeprefix(_IPV4_IN_IPV6) if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Begin, unless there are too many connections."""
        super().connection_made(transport)
        if self.guard.admit(self):
            self._watch()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.guard.release(self)
        _cancel(self._deadline)
        _cancel(self._stalled)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Go on with what has arrived."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """An answer is complete."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """The peer does not read fast enough."""
        super().pause_writing()
        _cancel(self._stalled)
        self._stalled = self.loop.call_later(self.guard.limits.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The peer has read."""
        _cancel(self._stalled)
        super().resume_writing()

    def _authenticated(self) -> None:
        self.guard.authenticated(self)

    def _watch(self) -> None:
        """Start the clock when the peer owes something new; let it run while that is still the same."""
        awaited = (self._patience(), self.cycle)
        if awaited == self._awaited:
            return
        self._awaited = awaited
        _cancel(self._deadline)
        if awaited[0] is not None:
            self._deadline = self.loop.call_later(awaited[0], self.transport.abort)

    def _patience(self) -> float | None:
        """Seconds for what the peer owes now; None when it is our turn."""
        limits, state = self.guard.limits, self.conn.their_state
        if self.transport.is_closing() or state is h11.IDLE:
            return limits.head_seconds
        if state is h11.SEND_BODY:
            return limits.head_seconds if self.cycle.response_complete else limits.body_seconds
        return None


def guarded(connections: Connections) -> type[asyncio.Protocol]:
    """The protocol class of a server whose connections are counted in ``connections``."""

    class _Protocol(GuardedProtocol):
        guard = connections

    return _Protocol


def mark_authenticated(scope: Scope) -> None:
    """Say that the request's connection is that of somebody with a token."""
    authenticated = (scope.get("state") or {}).get(_AUTHENTICATED)
    if authenticated is not None:
        authenticated()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
