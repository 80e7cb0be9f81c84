"""What cannot be seen is spelled out."""

from __future__ import annotations

import json

import pytest

from k8s_mcp_server.serving.text import escape_hidden, safe_text

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("hidden", "shown"),
    [
        pytest.param("\x1b[31m", "\\u001b[31m", id="an escape sequence"),
        pytest.param("a\rb", "a\\u000db", id="a carriage return"),
        pytest.param("\x00", "\\u0000", id="a null"),
        pytest.param("\x9b", "\\u009b", id="a C1 control"),
        pytest.param("\u202ereversed", "\\u202ereversed", id="a right-to-left override"),
        pytest.param("\u2066", "\\u2066", id="a bidi isolate"),
        pytest.param("in\u200bvisible", "in\\u200bvisible", id="a zero-width space"),
        pytest.param("\ufeff", "\\ufeff", id="a byte order mark"),
        pytest.param("\u2028", "\\u2028", id="a line separator"),
        pytest.param("\u00ad", "\\u00ad", id="a soft hyphen"),
        pytest.param("\u3164", "\\u3164", id="a Hangul filler"),
        pytest.param("\U000e0041", "\\udb40\\udc41", id="a tag character"),
        pytest.param("\U000e0100", "\\udb40\\udd00", id="a variation selector"),
        pytest.param("\ufe01", "\\ufe01", id="an early variation selector"),
        pytest.param("\ue000", "\\ue000", id="a private-use character"),
    ],
)
def test_hidden_characters_are_spelled_out(hidden: str, shown: str) -> None:
    assert escape_hidden(hidden) == shown


@pytest.mark.parametrize("text", ["NAME   READY\nweb-0  1/1\n", "a\tb", "größe 名前 имя", "✓ 👍 ❤\ufe0f", ""])
def test_what_can_be_seen_stays(text: str) -> None:
    assert escape_hidden(text) == text


def test_json_stays_the_same_json() -> None:
    document = {"name": "a\u202eb\U000e0041c"}

    assert json.loads(escape_hidden(json.dumps(document, ensure_ascii=False))) == document


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert safe_text(b"a\xffb", max_bytes=100, max_json_bytes=100).text == "a\ufffdb"


@pytest.mark.parametrize("limit", range(1, 9))
def test_a_cut_falls_between_characters(limit: int) -> None:
    safe = safe_text("äöü€".encode(), max_bytes=limit, max_json_bytes=100)

    assert safe.truncated
    assert "äöü€".startswith(safe.text)
    assert len(safe.text.encode()) <= limit


def test_the_limit_holds_after_escaping() -> None:
    safe = safe_text(b"\x1b" * 1000, max_bytes=100, max_json_bytes=1000)

    assert safe.truncated
    assert len(safe.text) <= 100


@pytest.mark.parametrize("piece", ["\n", '"', "\\", "a", "ä", "\x1b", 'a"\n'])
def test_the_limit_of_the_json_string_holds(piece: str) -> None:
    safe = safe_text((piece * 1000).encode(), max_bytes=10_000, max_json_bytes=500)

    assert safe.truncated
    assert 480 <= len(json.dumps(safe.text, ensure_ascii=False).encode()) - 2 <= 500
