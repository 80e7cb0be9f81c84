"""One HTTP request inside of a port-forward, held to the requests that were planned.

Nothing here is parsed with tolerance: the bytes must be those of a planned request line, then a few harmless header
fields and the end. Anything else is refused before it is passed on, so that no reader on the other side, however
lenient, gets to see the beginning of another request.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.portforward.errors import ForwardRefused

if TYPE_CHECKING:
    from collections.abc import Collection

_LONGEST_FIELD: Final = 256
# What Go's client says of its own accord (net/http/request.go, transport.go).
_FIELD: Final = re.compile(
    rb"Host: (localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?|User-Agent: Go-http-client/1\.1|Content-Length: 0"
    rb"|Accept-Encoding: gzip"
)
_UNFINISHED_FIELD: Final = re.compile(rb"[ -~]*\r?")
_END: Final = b"\r\n"


class PlannedRequest:
    """The client's bytes of one stream.

    Args:
        planned: the requests that may be made, as method and target: ``GET /config_dump``.
    """

    def __init__(self, planned: Collection[str]) -> None:
        self._lines = tuple(f"{line} HTTP/1.1\r\n".encode() for line in planned)
        self._text = b""  # the request line so far; then the header field so far
        self._is_in_fields = False
        self._is_over = False

    def feed(self, data: bytes) -> None:
        """Check the next bytes.

        Raises:
            ForwardRefused: they belong to no planned request.
        """
        self._text += data
        if not self._is_in_fields:
            self._read_line()
        if self._is_in_fields:
            self._read_fields()

    def _read_line(self) -> None:
        for line in self._lines:
            if self._text.startswith(line):
                self._text, self._is_in_fields = self._text[len(line) :], True
                return
        if not any(line.startswith(self._text) for line in self._lines):
            shown = self._text.partition(_END)[0][:100].decode("ascii", errors="replace")
            raise ForwardRefused(f"the HTTP request was not planned: {shown}")

    def _read_fields(self) -> None:
        while not self._is_over and _END in self._text:
            field, _, self._text = self._text.partition(_END)
            if field and not _FIELD.fullmatch(field):
                raise ForwardRefused("an HTTP header field was not planned")
            self._is_over = not field
        if self._is_over and self._text:
            raise ForwardRefused("more than one HTTP request")
        if len(self._text) > _LONGEST_FIELD or not _UNFINISHED_FIELD.fullmatch(self._text):
            raise ForwardRefused("a malformed HTTP header field")
