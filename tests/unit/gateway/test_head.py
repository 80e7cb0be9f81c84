"""Heads that are made to be slow to read are read as fast as any other.

They are read before the token is known. The tests need no clock: an expression that backtracks takes hours for them.
"""

from __future__ import annotations

import pytest

from k8s_mcp_server.gateway.head import LONGEST_HEAD, HeadRefused, parse_head
from k8s_mcp_server.gateway.recorded import recorded_target
from k8s_mcp_server.gateway.requestinfo import request_info
from k8s_mcp_server.gateway.target import LONGEST_TARGET, TargetRefused, parse_target

pytestmark = [pytest.mark.unit, pytest.mark.timeout(20)]

FILL = LONGEST_HEAD - 200


def head(*lines: bytes, target: bytes = b"/") -> bytes:
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: x", *lines, b"", b""])


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"X-A:" + b" " * FILL + b"\xe9", id="blanks before the value"),
        pytest.param(b"X-A: a" + b" " * FILL + b"\xe9", id="blanks inside of the value"),
        pytest.param(b"X-A: " + b"a " * (FILL // 2) + b"\x00", id="blanks between words"),
        pytest.param(b"X-A: " + b"\t " * (FILL // 2) + b"\x7f", id="tabs and blanks"),
        pytest.param(b"X-A" * (FILL // 3), id="a name without a colon"),
        pytest.param(b"X-A" * (FILL // 3) + b"\x00: x", id="a long bad name"),
        pytest.param(b":" * FILL, id="colons"),
        pytest.param(b"Content-Length: " + b"0" * FILL, id="a long number"),
        pytest.param(b"Connection: " + b"," * FILL, id="empty options"),
    ],
)
def test_a_slow_looking_head_is_refused(line: bytes) -> None:
    with pytest.raises(HeadRefused):
        parse_head(head(line))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        pytest.param(b"X-A:" + b" " * FILL, "", id="only blanks"),
        pytest.param(b"X-A:" + b" \t" * (FILL // 2) + b"b", "b", id="blanks before"),
        pytest.param(b"X-A:b" + b"\t " * (FILL // 2), "b", id="blanks behind"),
        pytest.param(b"X-A: a" + b" " * FILL + b"b ", "a" + " " * FILL + "b", id="blanks inside"),
        pytest.param(b"X-A:" + b" a" * (FILL // 2), ("a " * (FILL // 2)).strip(), id="words"),
        pytest.param(b"X-A:b:c", "b:c", id="a colon in the value"),
    ],
)
def test_a_value_is_what_stands_between_the_blanks(line: bytes, value: str) -> None:
    assert parse_head(head(line)).headers.get("x-a") == value


@pytest.mark.parametrize("line", [b"X-A", b":x", b" X-A: x", b"X-A : x", b"X-A: \x0b", b"X-A: \r", b"X-A: \xa0", b""])
def test_a_header_line_that_is_none_is_refused(line: bytes) -> None:
    with pytest.raises(HeadRefused):
        parse_head(head(line))


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"GET " * (FILL // 4), id="blanks"),
        pytest.param(b"GET /" + b"a" * FILL + b" HTTP/1.x", id="a bad version"),
        pytest.param(b"G" * FILL, id="a long method"),
        pytest.param(b"GET " + b"/" * FILL + b"\x00 HTTP/1.1", id="a bad target"),
    ],
)
def test_a_slow_looking_request_line_is_refused(lines: bytes) -> None:
    with pytest.raises(HeadRefused):
        parse_head(lines + b"\r\nHost: x\r\n\r\n")


LONG = LONGEST_TARGET - 100


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("labelSelector=" + "+" * LONG, id="blanks"),
        pytest.param("labelSelector=a" + "+" * LONG + "!", id="blanks behind a name"),
        pytest.param("labelSelector=" + "a-" * (LONG // 2), id="a long name"),
        pytest.param("labelSelector=" + "a." * (LONG // 2) + "-/a", id="a long prefix"),
        pytest.param("labelSelector=" + "!" * LONG, id="operators"),
        pytest.param("labelSelector=a+in+(" + "," * LONG, id="an endless set"),
        pytest.param("fieldSelector=" + "," * LONG, id="empty terms"),
        pytest.param("fieldSelector=a=" + "%5C" * (LONG // 3), id="backslashes"),
        pytest.param("fieldSelector=" + "=" * LONG, id="equals signs"),
        pytest.param("fieldSelector=" + "a=b," * (LONG // 4), id="terms"),
        pytest.param("limit=" + "9" * LONG, id="a long number"),
        pytest.param("limit=" + "+-" * (LONG // 2), id="signs"),
        pytest.param("&" * LONG, id="empty pairs"),
        pytest.param("a=" * (LONG // 2), id="one pair of equals signs"),
        pytest.param("a&" * (LONG // 2), id="pairs"),
        pytest.param("%2" * (LONG // 2), id="bad escapes"),
    ],
)
def test_a_slow_looking_target_is_read_or_refused(query: str) -> None:
    raw = f"/api/v1/pods?{query}"
    recorded_target(raw)
    recorded_target("/" + query)
    try:
        target = parse_target(raw)
    except TargetRefused:
        return
    assert request_info("GET", target.path, target.query).verb == "list"
    assert target.encode()
