"""The name that a TLS client asks for, read from its first message without being a party to the connection.

Shapes: TLSPlaintext, Handshake, ClientHello (RFC 8446, 4 and 5.1) and server_name (RFC 6066, 3).
"""

from __future__ import annotations

from typing import Final

LONGEST_HELLO: Final = 16 * 1024
_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
_RECORD_HEAD, _MESSAGE_HEAD = 5, 4


class NoHello(ValueError):
    """What was sent first is no ClientHello."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise NoHello("a length in the ClientHello is wrong")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> _Reader:
        return _Reader(self.take(self.number(size)))


def server_name(data: bytes) -> str | None:
    """The name asked for, in lower case; empty when none is; None while the message is not complete.

    Raises:
        NoHello: these bytes do not begin a TLS connection, or name several hosts.
    """
    message = _message(data)
    if message is None:
        return None
    hello = _Reader(message)
    hello.take(2 + 32)  # version, random
    hello.vector(1)  # session id
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compression methods
    if not hello.left:
        return ""
    extensions, found = hello.vector(2), list[str]()
    while extensions.left:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            found += _names(content)
    if len(found) > 1:
        raise NoHello("the ClientHello names several hosts")
    return found[0] if found else ""


def _message(data: bytes) -> bytes | None:
    """The body of the first handshake message, put together from its records."""
    parts, at = b"", 0
    while len(data) - at >= _RECORD_HEAD:
        if data[at] != _HANDSHAKE or data[at + 1] != 3:  # noqa: PLR2004 - the major version of every TLS
            raise NoHello("it does not begin with a TLS handshake")
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        parts += data[at + _RECORD_HEAD : at + _RECORD_HEAD + size]
        if len(parts) >= _MESSAGE_HEAD:
            if parts[0] != _CLIENT_HELLO:
                raise NoHello("it does not begin with a ClientHello")
            length = int.from_bytes(parts[1:_MESSAGE_HEAD], "big")
            if length > LONGEST_HELLO:
                raise NoHello("the ClientHello is too long")
            if len(parts) >= _MESSAGE_HEAD + length:
                return parts[_MESSAGE_HEAD : _MESSAGE_HEAD + length]
        at += _RECORD_HEAD + size
    if data and data[0] != _HANDSHAKE:
        raise NoHello("it does not begin with a TLS handshake")
    return None


def _names(content: _Reader) -> list[str]:
    names, found = content.vector(2), list[str]()
    while names.left:
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            found.append(name.take(name.left).decode("ascii", errors="replace").lower())
    return found
