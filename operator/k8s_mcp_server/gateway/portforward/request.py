"""HTTP requests inside of a port-forward, held to those that were planned.

Nothing here is parsed with tolerance: the bytes must be those of a planned request line, then a few harmless header
fields and the end, and then of the next. Anything else is refused before it is passed on, so that no reader on the
other side, however lenient, gets to see the beginning of another request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.portforward.errors import ForwardRefused

if TYPE_CHECKING:
    from collections.abc import Collection

MOST_REQUESTS: Final = 4  # through one connection: a redirect takes two
_LONGEST_FIELD: Final = 512
_LOOPBACK: Final = rb"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?"
# What Go's client says of its own accord (net/http/request.go, transport.go; client.go for redirects). No body.
_FIELD: Final = re.compile(
    rb"Host: (?P<host>%b)|User-Agent: Go-http-client/1\.1|Content-Length: 0|Accept-Encoding: gzip"
    rb"|Referer: http://(?P<referer>%b)(?:/[!-~]*)?" % (_LOOPBACK, _LOOPBACK)
)
_UNFINISHED_FIELD: Final = re.compile(rb"[ -~]*\r?")
_END: Final = b"\r\n"


class PlannedRequests:
    """The client's bytes of one stream.

    Args:
        planned: the requests that may be made, as method and target: ``GET /config_dump``.
    """

    def __init__(self, planned: Collection[str]) -> None:
        self._lines = tuple(f"{line} HTTP/1.1\r\n".encode() for line in planned)
        self._text = b""  # of the request line, or of the header field, as far as it has come
        self._is_in_fields = False
        self._count = 0
        self._authority = b""  # the local address that the command knows this connection by

    def feed(self, data: bytes) -> None:
        """Check the next bytes.

        Raises:
            ForwardRefused: they belong to no planned request.
        """
        self._text += data
        while self._text and (self._read_fields() if self._is_in_fields else self._read_line()):
            pass

    def _read_line(self) -> bool:
        """Whether there is a whole request line; it is taken off."""
        for line in self._lines:
            if self._text.startswith(line):
                self._count += 1
                if self._count > MOST_REQUESTS:
                    raise ForwardRefused("too many HTTP requests through one connection")
                self._text, self._is_in_fields = self._text[len(line) :], True
                return True
        if not any(line.startswith(self._text) for line in self._lines):
            shown = self._text.partition(_END)[0][:100].decode("ascii", errors="replace")
            raise ForwardRefused(f"the HTTP request was not planned: {shown}")
        return False

    def _read_fields(self) -> bool:
        """Whether the head has ended; the fields that have come are taken off."""
        while _END in self._text:
            field, _, self._text = self._text.partition(_END)
            if not field:
                self._is_in_fields = False
                return True
            self._check_field(field)
        if len(self._text) > _LONGEST_FIELD or not _UNFINISHED_FIELD.fullmatch(self._text):
            raise ForwardRefused("a malformed HTTP header field")
        return False

    def _check_field(self, field: bytes) -> None:
        """A proxy may redirect a command to what another one serves on this host; its ``Referer`` tells them apart."""
        match = _FIELD.fullmatch(field)
        if match is None:
            raise ForwardRefused("an HTTP header field was not planned")
        authority = match["host"] or match["referer"]
        if authority is None:
            return
        if self._authority not in (b"", authority):
            raise ForwardRefused("an HTTP request was redirected from elsewhere")
        self._authority = authority
