"""The client's side of a WebSocket (RFC 6455), as far as finding the bytes that it carries takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.portforward.errors import ForwardRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

_FINAL: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_OPCODE: Final = 0x0F
_LENGTH: Final = 0x7F
_CONTINUATION, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x2, 0x8, 0x9, 0xA
_CONTROL: Final = frozenset({_CLOSE, _PING, _PONG})
_LONGEST_CONTROL: Final = 125
_LENGTH_BYTES: Final = {126: 2, 127: 8}
_MASK_BYTES: Final = 4
_LONGEST_PAYLOAD: Final = 1 << 32


class ClientFrames:
    """Takes bytes as they come, and gives the content of binary messages piece by piece.

    Extensions are never negotiated (their header is not forwarded), so a frame with a reserved bit is refused, and
    so is every kind of frame that a port-forward does not have.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._mask = b""
        self._left = 0
        self._position = 0
        self._is_control = False
        self._in_message = False
        self._is_closed = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The content that these bytes bring.

        Raises:
            ForwardRefused: they are no frames of a client.
        """
        self._buffer += data
        while self._buffer and (self._left or self._begin()):
            piece = self._unmask(bytes(self._buffer[: self._left]))
            del self._buffer[: self._left]
            self._left -= len(piece)
            if piece and not self._is_control:
                yield piece

    def _begin(self) -> bool:
        """Take a frame's head off the buffer; False when it is not complete yet."""
        head = self._buffer
        if len(head) < 2:  # noqa: PLR2004  the two bytes that every head has
            return False
        extended = _LENGTH_BYTES.get(head[1] & _LENGTH, 0)
        size = 2 + extended + _MASK_BYTES
        self._check(head[0], head[1])
        if len(head) < size:
            return False
        self._left = int.from_bytes(head[2 : 2 + extended], "big") if extended else head[1] & _LENGTH
        if self._left > _LONGEST_PAYLOAD:
            raise ForwardRefused("a WebSocket frame is too long")
        self._mask, self._position = bytes(head[size - _MASK_BYTES : size]), 0
        self._is_control = head[0] & _OPCODE in _CONTROL
        if not self._is_control:
            self._in_message = not head[0] & _FINAL
        self._is_closed = head[0] & _OPCODE == _CLOSE
        del self._buffer[:size]
        return True

    def _check(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        if self._is_closed:
            raise ForwardRefused("a WebSocket frame follows the last one")
        if first & _RESERVED or not second & _MASKED:
            raise ForwardRefused("a WebSocket frame that no client sends")
        if opcode in _CONTROL:
            if not first & _FINAL or second & _LENGTH > _LONGEST_CONTROL:
                raise ForwardRefused("a malformed WebSocket control frame")
        elif opcode != (_CONTINUATION if self._in_message else _BINARY):
            raise ForwardRefused("a WebSocket frame that a port-forward does not have")

    def _unmask(self, piece: bytes) -> bytes:
        if not piece:
            return b""
        at = self._position % _MASK_BYTES
        mask = (self._mask[at:] + self._mask[:at]) * (len(piece) // _MASK_BYTES + 1)
        self._position += len(piece)
        number = int.from_bytes(piece, "big") ^ int.from_bytes(mask[: len(piece)], "big")
        return number.to_bytes(len(piece), "big")
