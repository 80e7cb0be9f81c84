"""SPDY/3.1 frames of a port-forward's client, as far as knowing its streams and their content takes.

How frames are read is what the other side does: github.com/moby/spdystream (spdy/read.go) of kubelets and
containerd. What that reader would pass over, or read in two ways, is refused here.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.portforward.dictionary import HEADER_DICTIONARY
from k8s_mcp_server.gateway.portforward.errors import ForwardRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_HEAD: Final = 8
_CONTROL: Final = 0x80000000
_VERSION: Final = 3
_SYN_STREAM, _RST_STREAM, _PING, _GOAWAY = 1, 3, 6, 7
_FIXED: Final = {_RST_STREAM: 8, _PING: 4, _GOAWAY: 8}  # payloads that have one length
_STREAM_HEAD: Final = 10  # stream, associated stream, priority and slot
_FIN: Final = 1
_LONGEST_CONTROL: Final = 16 * 1024
_LONGEST_HEADERS: Final = 4 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A stream was opened, with these headers."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """A piece of what a stream carries; a frame may come in several."""

    stream: int
    content: bytes


class ClientFrames:
    """Takes bytes as they come, and gives what they mean. Frames that concern no content give nothing."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._headers = zlib.decompressobj(zdict=HEADER_DICTIONARY)
        self._newest = 0
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> Iterator[Opened | Data]:
        """What these bytes bring.

        Raises:
            ForwardRefused: they are no frames that a port-forward's client sends.
        """
        self._buffer += data
        while self._buffer:
            if self._left:
                content = bytes(self._buffer[: self._left])
                del self._buffer[: self._left]
                self._left -= len(content)
                yield Data(stream=self._stream, content=content)
                continue
            if len(self._buffer) < _HEAD:
                return
            first, second = (int.from_bytes(self._buffer[at : at + 4], "big") for at in (0, 4))
            flags, length = second >> 24, second & 0xFFFFFF
            if first & _CONTROL:
                if len(self._buffer) < _HEAD + _checked(first, flags=flags, length=length):
                    return
                payload = bytes(self._buffer[_HEAD : _HEAD + length])
                del self._buffer[: _HEAD + length]
                if first & 0xFFFF == _SYN_STREAM:
                    yield self._opened(payload)
                continue
            if flags & ~_FIN or not first:
                raise ForwardRefused("a malformed SPDY data frame")
            del self._buffer[:_HEAD]
            self._stream, self._left = first, length

    def _opened(self, payload: bytes) -> Opened:
        stream, associated = (int.from_bytes(payload[at : at + 4], "big") for at in (0, 4))
        if stream & _CONTROL or not stream % 2 or stream <= self._newest or associated:
            raise ForwardRefused("a SPDY stream that no client opens")
        self._newest = stream
        try:
            block = self._headers.decompress(payload[_STREAM_HEAD:], _LONGEST_HEADERS)
        except zlib.error as error:
            raise ForwardRefused("SPDY headers cannot be read") from error
        if self._headers.unconsumed_tail or self._headers.unused_data:
            raise ForwardRefused("SPDY headers are too long")
        return Opened(stream=stream, headers=_read_headers(block))


def _checked(first: int, *, flags: int, length: int) -> int:
    """The length of a control frame that may be read."""
    version, kind = (first & ~_CONTROL) >> 16, first & 0xFFFF
    if version != _VERSION or flags or length > _LONGEST_CONTROL:
        raise ForwardRefused("a malformed SPDY control frame")
    if kind == _SYN_STREAM:
        if length < _STREAM_HEAD:
            raise ForwardRefused("a malformed SPDY control frame")
    elif _FIXED.get(kind) != length:
        raise ForwardRefused("a SPDY frame that a port-forward's client does not send")
    return length


def _read_headers(block: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    count, rest = _number(block)
    for _ in range(count):
        name, rest = _text(rest)
        value, rest = _text(rest)
        if name in found:
            raise ForwardRefused("a SPDY header is repeated")
        found[name] = value
    if rest:
        raise ForwardRefused("bytes follow the SPDY headers")
    return found


def _text(data: bytes) -> tuple[str, bytes]:
    size, rest = _number(data)
    text = rest[:size]
    if len(text) != size or not text.isascii() or not text.decode("ascii").isprintable():
        raise ForwardRefused("SPDY headers cannot be read")
    return text.decode("ascii"), rest[size:]


def _number(data: bytes) -> tuple[int, bytes]:
    if len(data) < 4:  # noqa: PLR2004  a number has four bytes
        raise ForwardRefused("SPDY headers cannot be read")
    return int.from_bytes(data[:4], "big"), data[4:]
