"""The client's answer: head and framing written by us, from an allow list of the API server's header fields.

Framing is RFC 9112, 6 and 7; fields of a connection (RFC 9110, 7.6.1) are ours alone.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8s_mcp_server.gateway.front import FrontConnection
    from k8s_mcp_server.gateway.head import Headers
    from k8s_mcp_server.gateway.status import Refusal

_FORWARDED: Final = frozenset(
    {
        "audit-id", "cache-control", "content-disposition", "content-encoding", "content-type", "date", "etag",
        "expires", "last-modified", "location", "retry-after", "vary", "warning", "x-content-type-options",
        "x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid",
    }
)  # fmt: skip
_UPGRADE: Final = frozenset(
    {
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "x-stream-protocol-version",
        "upgrade",
    }
)
_WITHOUT_BODY: Final = frozenset({204, 304})


class ResponseWriter:
    """Writes one answer to a connection.

    Args:
        connection: the client's.
        keep_alive: whether the client wants to go on.
    """

    def __init__(self, connection: FrontConnection, *, keep_alive: bool) -> None:
        self._connection = connection
        self._held = b""
        self._chunked = False
        self.status = 0
        if not keep_alive:
            connection.close_after_response = True

    @property
    def started(self) -> bool:
        """Whether a status has been sent (or queued)."""
        return self.status != 0

    def start(self, status: int, headers: Headers, *, length: int | None) -> None:
        """Begin the answer; the head leaves with the first bytes of the body, or with ``flush``.

        Args:
            status: the HTTP status.
            headers: the API server's; those on the allow list are passed on.
            length: of the body, None when it is not known.
        """
        self.begin(status, [(name, value) for name, value in headers if name in _FORWARDED], length=length)

    def begin(self, status: int, fields: list[tuple[str, str]], *, length: int | None) -> None:
        """As ``start``, with header fields of our own."""
        if status not in _WITHOUT_BODY:
            self._chunked = length is None
            fields.append(("transfer-encoding", "chunked") if length is None else ("content-length", str(length)))
        if self._connection.close_after_response:
            fields.append(("connection", "close"))
        self.status = status
        self._held = _encode(status, fields)

    def start_upgrade(self, headers: Headers) -> None:
        """Answer 101; what follows is not HTTP."""
        fields = [(name, value) for name, value in headers if name in _UPGRADE or name in _FORWARDED]
        self.status = int(HTTPStatus.SWITCHING_PROTOCOLS)
        self._connection.write(_encode(self.status, [*fields, ("connection", "Upgrade")]))

    def flush(self) -> None:
        """Send the head now."""
        if self._held:
            self._connection.write(self._held)
            self._held = b""

    async def write(self, data: bytes) -> None:
        """Send a part of the body; returns once the client keeps up.

        Raises:
            ConnectionResetError: the client is gone.
        """
        if data:
            framed = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
            self._connection.write(self._held + framed if self._held else framed)
            self._held = b""
            await self._connection.drain.wait()

    def end(self) -> None:
        """The body is complete."""
        self.flush()
        if self._chunked:
            self._connection.write(b"0\r\n\r\n")

    def refuse(self, refusal: Refusal, *, audit_id: str = "") -> None:
        """Send a refusal."""
        more = [("www-authenticate", "Bearer")] if refusal.code == HTTPStatus.UNAUTHORIZED else []
        if refusal.retry_after:
            more.append(("retry-after", str(refusal.retry_after)))
        self.answer(refusal.code, refusal.body(), audit_id=audit_id, more=more)

    def answer(self, status: int, body: bytes, *, audit_id: str = "", more: Iterable[tuple[str, str]] = ()) -> None:
        """Send a whole answer of our own, in JSON."""
        fields = [("content-type", "application/json"), ("cache-control", "no-store"), *more]
        if audit_id:
            fields.append(("audit-id", audit_id))
        self.begin(status, fields, length=len(body))
        self._connection.write(self._held + body)
        self._held = b""


def _encode(status: int, fields: list[tuple[str, str]]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Status"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1")
