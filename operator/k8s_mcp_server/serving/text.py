"""Cluster output, made safe to read: what cannot be seen is spelled out, and the size is bounded.

Object names, labels, annotations and logs are written by others. Escape sequences, bidirectional overrides, zero-width
and tag characters in them can show a person one thing and a model another (threats 22). Escapes are JSON's, so that
JSON stays the same JSON.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Final

# Invisible, but not of category Cc, Cf, Cs, Co, Zl or Zp: fillers, joiners and variation selectors (Unicode 15,
# Default_Ignorable_Code_Point), which carry hidden data as well as tags do.
_INVISIBLE: Final = (
    (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800),
    (0x3164, 0x3164), (0xFE00, 0xFE0E), (0xFFA0, 0xFFA0), (0xE0000, 0xE0FFF),
)  # fmt: skip
_LAST_OF_BMP: Final = 0xFFFF
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_KEPT: Final = frozenset("\n\t")


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeText:
    """Text for people and models; ``truncated`` says that the end is missing."""

    text: str
    truncated: bool


def safe_text(output: bytes, *, max_bytes: int, max_json_bytes: int) -> SafeText:
    """``output`` as text with hidden characters escaped.

    Bytes that are not UTF-8 become U+FFFD. A cut falls between characters.

    Args:
        output: what a program wrote.
        max_bytes: of UTF-8, after the escaping.
        max_json_bytes: of the same as a JSON string, where quotes, backslashes and line ends take two.
    """
    whole = escape_hidden(output.decode(errors="replace"))
    text = whole.encode()[:max_bytes].decode(errors="ignore")
    while (size := json_size(text)) > max_json_bytes:
        text = text[: min(len(text) - 1, len(text) * max_json_bytes // size)]
    return SafeText(text=text, truncated=len(text) < len(whole))


def prepare() -> None:
    """Make ahead what the first escape needs; takes some 200 ms."""
    _hidden()


def escape_hidden(text: str) -> str:
    """``text`` with control, format, bidi, tag and other invisible characters as ``\\uXXXX``; newline and tab stay."""
    if text.isascii() and text.isprintable():
        return text
    return _hidden().sub(_escape, text)


def escape_name(name: str) -> str:
    """A name on one line, whatever is in it: it stands among words of the service's own."""
    return escape_hidden(name).replace("\n", "\\n").replace("\t", "\\t")


def json_size(text: str) -> int:
    """Bytes of ``text`` in a JSON string, hidden characters escaped already."""
    return len(text.encode()) + sum(map(text.count, '"\\\n\t'))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code <= _LAST_OF_BMP:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


@cache
def _hidden() -> re.Pattern[str]:
    """One character class, made once: a pass over every character in Python would cost 30 ms for 100 kB."""
    invisible = {code for first, last in _INVISIBLE for code in range(first, last + 1)}
    codes = sorted(
        code
        for code in range(sys.maxunicode + 1)
        if (code in invisible or unicodedata.category(chr(code)) in _HIDDEN_CATEGORIES) and chr(code) not in _KEPT
    )
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return re.compile("[" + "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges) + "]")
