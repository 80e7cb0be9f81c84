"""What the client of one port-forward may say: which ports it reaches, and what it asks there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.portforward import spdy, websocket
from k8s_mcp_server.gateway.portforward.errors import ForwardRefused
from k8s_mcp_server.gateway.portforward.request import PlannedRequests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8s_mcp_server.gateway.head import RequestHead
    from k8s_mcp_server.gateway.plan import Ports

MOST_STREAMS: Final = 32  # two for each connection through it
TUNNEL: Final = "SPDY/3.1+portforward.k8s.io"
"""The WebSocket subprotocol of port-forwards (k8s.io/client-go/tools/portforward/tunneling_dialer.go)."""
_DATA: Final = "data"
_ERROR: Final = "error"


def is_tunnel(head: RequestHead) -> bool:
    """Whether the upgrade that is asked for carries SPDY frames, which can be read."""
    if head.upgrade == "websocket":
        return head.headers.all("sec-websocket-protocol") == (TUNNEL,)
    return head.upgrade == "spdy/3.1"


def without_extensions(head: RequestHead) -> RequestHead:
    """The request without the WebSocket extensions that would change how its frames are read."""
    return replace(head, headers=head.headers.without("sec-websocket-extensions"))


class ForwardInspector:
    """Reads the client's bytes, all of them before they are passed on.

    Args:
        ports: what may be asked where.
        upgrade: the protocol that the connection was upgraded to, in lower case.
    """

    def __init__(self, ports: Ports, *, upgrade: str) -> None:
        self._ports = ports
        self._outer = websocket.ClientFrames() if upgrade == "websocket" else None
        self._frames = spdy.ClientFrames()
        self._streams: dict[int, PlannedRequests | None] = {}
        self._errors: set[int] = set()

    def inspect(self, data: bytes) -> None:
        """Check the next bytes.

        Raises:
            ForwardRefused: they are more than what was planned, and must not be passed on.
        """
        pieces: Iterable[bytes] = (data,) if self._outer is None else self._outer.feed(data)
        for piece in pieces:
            for event in self._frames.feed(piece):
                if isinstance(event, spdy.Opened):
                    self._open(event)
                else:
                    self._read(event)

    def _open(self, opened: spdy.Opened) -> None:
        """As kubelets and container runtimes read the headers (k8s.io/cri-streaming/pkg/streaming/portforward)."""
        kind, port = opened.headers.get("streamtype"), opened.headers.get("port", "")
        if len(self._streams) + len(self._errors) >= MOST_STREAMS:
            raise ForwardRefused("too many connections through one port-forward")
        if not port.isascii() or not port.isdigit() or int(port) not in self._ports:
            raise ForwardRefused(f"port {port[:10]} was not planned")
        if kind == _DATA:
            planned = self._ports[int(port)]
            self._streams[opened.stream] = None if planned is None else PlannedRequests(planned)
        elif kind == _ERROR:
            self._errors.add(opened.stream)
        else:
            raise ForwardRefused("a stream that a port-forward does not have")

    def _read(self, data: spdy.Data) -> None:
        if data.stream not in self._streams:
            raise ForwardRefused("data on a stream that carries none")
        request = self._streams[data.stream]
        if request is not None:
            request.feed(data.content)
