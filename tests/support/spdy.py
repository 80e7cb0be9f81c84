"""Writes what a port-forward's client sends: SPDY frames, by themselves or in WebSocket frames."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

from k8s_mcp_server.gateway.portforward.dictionary import HEADER_DICTIONARY

FIN = 1


@dataclass
class SpdyClient:
    """Makes frames of one connection; headers are compressed over all of them."""

    compressor: Any = field(default_factory=lambda: zlib.compressobj(zdict=HEADER_DICTIONARY))
    stream: int = -1

    def opened(self, **headers: str) -> bytes:
        """A new stream with these headers."""
        self.stream += 2
        return self.syn(self.stream, header_block(headers))

    def syn(self, stream: int, block: bytes, *, flags: int = 0, associated: int = 0) -> bytes:
        """A SYN_STREAM with any block."""
        packed = self.compressor.compress(block) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
        payload = stream.to_bytes(4, "big") + associated.to_bytes(4, "big") + b"\0\0" + packed
        return control(1, payload, flags=flags)

    def pair(self, port: int, *, request: str = "0") -> bytes:
        """An error stream that is closed, and a data stream, as client-go opens them."""
        error = self.opened(streamtype="error", port=str(port), requestid=request)
        closed = data(self.stream, b"", flags=FIN)
        return error + closed + self.opened(streamtype="data", port=str(port), requestid=request)


def header_block(headers: dict[str, str]) -> bytes:
    """Name-value pairs, not compressed."""
    texts = [text for item in headers.items() for text in item]
    return len(headers).to_bytes(4, "big") + b"".join(len(text).to_bytes(4, "big") + text.encode() for text in texts)


def control(kind: int, payload: bytes, *, flags: int = 0, version: int = 3) -> bytes:
    """A control frame."""
    first = 0x80000000 | version << 16 | kind
    return first.to_bytes(4, "big") + (flags << 24 | len(payload)).to_bytes(4, "big") + payload


def data(stream: int, content: bytes, *, flags: int = 0) -> bytes:
    """A data frame."""
    return stream.to_bytes(4, "big") + (flags << 24 | len(content)).to_bytes(4, "big") + content


def websocket(content: bytes, *, first: int = 0x82, mask: bytes = b"\x01\x02\x03\x04", masked: bool = True) -> bytes:
    """A client's frame: binary and final, unless ``first`` says otherwise."""
    size = len(content)
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes([first, bit | size])
    elif size < 1 << 16:
        head = bytes([first, bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, bit | 127]) + size.to_bytes(8, "big")
    if not masked:
        return head + content
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))
