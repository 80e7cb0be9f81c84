"""What the bodies of one client's requests may hold together while they arrive.

The transport reads a body whole before it looks at it, and a client may let very many arrive slowly.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from k8s_mcp_server.errors import K8sMcpError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Message, Receive

    from k8s_mcp_server.policy.identity import Client


class BodiesTooLarge(K8sMcpError):
    """A client sends too much at the same time."""


class Bodies:
    """Counts the bytes of bodies that are not complete yet. Lives in one event loop.

    Args:
        most: bytes of one client's.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._held: Counter[Client] = Counter()

    @contextmanager
    def counted(self, client: Client, receive: Receive) -> Iterator[Receive]:
        """``receive``, counted for the client; it raises BodiesTooLarge."""
        held = 0

        async def receive_counted() -> Message:
            nonlocal held
            message = await receive()
            if message["type"] == "http.request":
                now = held + len(message.get("body", b"")) if message.get("more_body") else 0
                self._hold(client, now - held)
                held = now
            return message

        try:
            yield receive_counted
        finally:
            self._hold(client, -held)

    def _hold(self, client: Client, more: int) -> None:
        if more > 0 and self._held[client] + more > self._most:
            raise BodiesTooLarge("too many large requests at the same time")
        self._held[client] += more
        if not self._held[client]:
            del self._held[client]
