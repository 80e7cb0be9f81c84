"""A request's head: read strictly, before any of it has an effect.

RFC 9112 lets a recipient be lenient in many places (bare LF, folded lines, blanks before a colon, several lengths).
Each of them is a way to make two readers see two requests, and no CLI needs one, so all of them are refused here; what
passes is read a second time by llhttp (front.py), and both must agree. It is read before the token is known, so
nothing here may take more than linear time: no expression has two ways to match the same bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_HEAD: Final = 32 * 1024
MOST_HEADERS: Final = 100
CONNECT: Final = "CONNECT"
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", CONNECT})
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/([0-9])\.([0-9])")
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(rb"[\t -~]*")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")

# Repeating one of these is how a request is made to mean two things.
_SINGLE: Final = frozenset(
    {
        "authorization", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
        "if-match", "if-none-match", "proxy-authorization", "sec-websocket-key", "sec-websocket-version", "token",
        "transfer-encoding", "upgrade", "user-agent",
    }
)  # fmt: skip
_CONNECTION_OPTIONS: Final = frozenset({"keep-alive", "close", "upgrade"})


class HeadRefused(Exception):
    """The head is malformed, ambiguous or asks for something that is not offered.

    Args:
        status: the HTTP status to answer with.
        message: what is wrong, for the client.
    """

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Headers:
    """Header fields with lower-case names, in order."""

    __slots__ = ("_fields",)

    def __init__(self, fields: tuple[tuple[str, str], ...]) -> None:
        self._fields = fields

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._fields)

    def get(self, name: str) -> str:
        """The first value, or the empty string."""
        return next((value for field, value in self._fields if field == name), "")

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of the field, in order."""
        return tuple(value for field, value in self._fields if field == name)

    def without(self, *names: str) -> Headers:
        """The same fields but these."""
        return Headers(tuple(field for field in self._fields if field[0] not in names))

    def __contains__(self, name: str) -> bool:
        return any(field == name for field, _ in self._fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """A request head that has one meaning.

    Args:
        target: as received, not yet understood (target.py).
        content_length: bytes of the body; None when it is chunked; 0 without one.
        upgrade: the protocol asked for, empty when none is.
        expects_continue: the client waits for ``100 Continue`` before it sends the body.
        keep_alive: False when the client asked to close after the answer.
    """

    method: str
    target: str
    headers: Headers
    content_length: int | None
    upgrade: str
    expects_continue: bool
    keep_alive: bool

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return self.content_length != 0

    @property
    def bearer_token(self) -> str:
        """The token of the Authorization header, empty when there is none."""
        scheme, _, token = self.headers.get("authorization").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


def parse_head(data: bytes) -> RequestHead:
    """Read a head that ends in an empty line.

    Raises:
        HeadRefused: it is not exactly one well-formed HTTP/1.1 head of a method that is offered.
    """
    lines = data[:-4].split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise HeadRefused("malformed request line")
    if match[3] != b"1" or match[4] != b"1":
        raise HeadRefused("only HTTP/1.1 is spoken here", status=505)
    if len(lines) > MOST_HEADERS + 1:
        raise HeadRefused("too many header fields", status=431)
    method = match[1].decode()
    if method not in _METHODS:
        raise HeadRefused(f"the method {method[:20]} is not supported", status=405)
    headers = _headers(lines[1:])
    upgrade = _upgrade(headers)
    if method == CONNECT:  # what follows the head is not HTTP either
        if upgrade:
            raise HeadRefused("an upgrade of a CONNECT is not supported")
        upgrade = CONNECT.lower()
    content_length = _content_length(headers)
    if upgrade and content_length != 0:
        raise HeadRefused("an upgrade request with a body is not supported")
    return RequestHead(
        method=method,
        target=match[2].decode(),
        headers=headers,
        content_length=content_length,
        upgrade=upgrade,
        expects_continue=_expects_continue(headers),
        keep_alive="close" not in _connection(headers),
    )


def _headers(lines: list[bytes]) -> Headers:
    fields = []
    seen: set[str] = set()
    for line in lines:
        raw_name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(raw_name) or not _VALUE.fullmatch(value):
            raise HeadRefused("malformed header field")
        name = raw_name.decode().lower()
        if name in seen and name in _SINGLE:
            raise HeadRefused(f"the header field {name} is repeated")
        seen.add(name)
        fields.append((name, value.strip(b" \t").decode()))
    if "host" not in seen:
        raise HeadRefused("the header field host is missing")
    return Headers(tuple(fields))


def _content_length(headers: Headers) -> int | None:
    coding = headers.get("transfer-encoding")
    if "transfer-encoding" in headers:
        if "content-length" in headers:
            raise HeadRefused("Content-Length and Transfer-Encoding together are refused")
        if coding.lower() != "chunked":
            raise HeadRefused("the only transfer coding is chunked", status=501)
        return None
    if "content-length" not in headers:
        return 0
    length = headers.get("content-length")
    if not _LENGTH.fullmatch(length):
        raise HeadRefused("malformed Content-Length")
    return int(length)


def _connection(headers: Headers) -> set[str]:
    if "connection" not in headers:
        return set()
    options = {option.strip().lower() for option in headers.get("connection").split(",")}
    if not options <= _CONNECTION_OPTIONS:
        raise HeadRefused("a Connection option that is not supported")
    return options


def _upgrade(headers: Headers) -> str:
    asked = "upgrade" in _connection(headers)
    if asked != ("upgrade" in headers):
        raise HeadRefused("an upgrade needs both Connection: Upgrade and Upgrade")
    return headers.get("upgrade").lower() if asked else ""


def _expects_continue(headers: Headers) -> bool:
    if "expect" not in headers:
        return False
    if headers.get("expect").lower() != "100-continue":
        raise HeadRefused("an expectation that is not supported", status=417)
    return True
