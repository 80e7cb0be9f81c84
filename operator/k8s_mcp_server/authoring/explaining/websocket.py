"""The end of an ``exec`` or ``attach`` that did nothing and went well, in WebSocket frames (RFC 6455).

The subprotocols ``v4.channel.k8s.io`` and ``v5.channel.k8s.io`` carry the outcome as a Status on channel 3
(k8s.io/apimachinery/pkg/util/remotecommand).
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.head import Headers

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SUCCESS: Final = b'\x03{"kind":"Status","apiVersion":"v1","status":"Success"}'
_NORMAL_CLOSURE: Final = b"\x88\x02\x03\xe8"


def succeeded(headers: Headers) -> bytes:
    """The whole answer to a request for an upgrade: handshake, outcome, close."""
    accept = base64.b64encode(hashlib.sha1(headers.get("sec-websocket-key").encode() + _GUID).digest())  # noqa: S324 - RFC 6455 says SHA-1
    protocol = headers.get("sec-websocket-protocol").partition(",")[0].strip().encode()
    head = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\nSec-WebSocket-Protocol: %b\r\n\r\n"
    ) % (accept, protocol)
    return head + bytes((0x82, len(_SUCCESS))) + _SUCCESS + _NORMAL_CLOSURE
