"""gRPC-web framing: messages and trailers in an HTTP/1.1 body.

Source: PROTOCOL-WEB.md in github.com/grpc/grpc/doc, and what argocd itself reads and writes
(pkg/apiclient/grpcproxy.go of argo-cd v3): one uncompressed message in a request, messages and a trailer in an answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from k8s_mcp_server.gateway.protobuf import Unreadable

CONTENT_TYPE: Final = "application/grpc-web+proto"
_HEADER: Final = struct.Struct(">BI")
_MESSAGE: Final = 0x00
_TRAILER: Final = 0x80
_LONGEST_MESSAGE: Final = 1500


class Code(IntEnum):
    """gRPC's status codes that are given here (google.golang.org/grpc/codes)."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


_HTTP_STATUS: Final = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}


def http_status(code: int) -> int:
    """A status in the terms of HTTP, for records (runtime/errors.go of grpc-gateway)."""
    return next((status for known, status in _HTTP_STATUS.items() if known == code), 500)


def frame(message: bytes) -> bytes:
    """A message as it stands in a body."""
    return _HEADER.pack(_MESSAGE, len(message)) + message


def trailer(code: Code) -> bytes:
    """The end of an answer."""
    return framed_trailer(f"grpc-status: {int(code)}\r\n".encode())


def framed_trailer(content: bytes) -> bytes:
    """The content of a trailer as it stands in a body."""
    return _HEADER.pack(_TRAILER, len(content)) + content


def only_message(body: bytes) -> bytes:
    """The one message of a request.

    Raises:
        Unreadable: it is not exactly one uncompressed message.
    """
    if len(body) < _HEADER.size:
        raise Unreadable("no message")
    flag, length = _HEADER.unpack_from(body)
    if flag != _MESSAGE:
        raise Unreadable("a message that is compressed, or none")
    if length != len(body) - _HEADER.size:
        raise Unreadable("not exactly one message")
    return body[_HEADER.size :]


class Frames:
    """Takes an answer apart as it comes in.

    Args:
        longest: bytes of one message that are held at most.
    """

    def __init__(self, *, longest: int) -> None:
        self._longest = longest
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bool, bytes]]:
        """Each complete frame: whether it is the trailer, and its content.

        Raises:
            Unreadable: a frame is compressed, or longer than may be held.
        """
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            flag, length = _HEADER.unpack_from(self._buffer)
            if flag not in (_MESSAGE, _TRAILER):
                raise Unreadable("a frame of another kind")
            if length > self._longest:
                raise Unreadable(f"a message of more than {self._longest // 2**20} MiB")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            content = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield flag == _TRAILER, content

    def finish(self) -> None:
        """The answer is over.

        Raises:
            Unreadable: in the middle of a frame.
        """
        if self._buffer:
            raise Unreadable("an answer that ends in the middle of a message")


def header_text(text: str) -> str:
    """A message for people, fit for the header ``grpc-message``: one line of printable ASCII, of bounded length.

    argocd prints the header as it is, without decoding percent escapes.
    """
    line = " ".join(text.split())
    return "".join(c if " " <= c <= "~" else "?" for c in line)[:_LONGEST_MESSAGE]


def status_of(value: str) -> int:
    """The number in a ``grpc-status`` header; that of "unknown" where there is none."""
    return int(value) if value.isascii() and value.isdigit() and len(value) <= len("16") else 2
