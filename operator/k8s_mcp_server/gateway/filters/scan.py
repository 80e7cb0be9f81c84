"""Where a JSON value ends (RFC 8259), found without reading what is in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPENING: Final = frozenset(b"{[")
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
# The next bracket outside of strings; or the quotation mark of a string that does not end in the data.
_BRACKET: Final = re.compile(rb'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+([{}\[\]"])', re.DOTALL)
_BEHIND_SCALAR: Final = re.compile(rb"[,\]} \t\r\n]")
_SEPARATOR: Final = re.compile(rb"[ \t\r\n,:]*")
_QUOTE: Final = ord('"')


def end_of_value(data: bytes, start: int) -> int | None:
    """The position behind the value that begins at ``start``; None when the data ends before it does.

    Right for every value that is well-formed, which is for a decoder to say.
    """
    if data[start] == _QUOTE:
        string = _STRING.match(data, start)
        return string.end() if string else None
    if data[start] not in _OPENING:
        behind = _BEHIND_SCALAR.search(data, start)
        return behind.start() if behind else None
    depth, position = 0, start
    while (bracket := _BRACKET.match(data, position)) is not None:
        position = bracket.end()
        char = data[position - 1]
        if char == _QUOTE:
            return None
        depth += 1 if char in _OPENING else -1
        if depth == 0:
            return position
    return None


def parts(data: bytes) -> Iterator[bytes]:
    """The elements of an array, or the names and values of an object by turns, as they are written.

    For what is nested too deep for a decoder: nothing here recurses. Right for what is well-formed, as above.

    Raises:
        ValueError: it is neither, or there is something behind it.
    """
    if not data or data[0] not in _OPENING or end_of_value(data, 0) != len(data):
        raise ValueError("neither an object nor an array")
    at = _behind_separator(data, 1)
    while at < len(data) - 1:
        end = end_of_value(data, at)
        if end is None:
            raise ValueError("a value without an end")
        yield data[at:end]
        at = _behind_separator(data, end)


def _behind_separator(data: bytes, at: int) -> int:
    separator = _SEPARATOR.match(data, at)
    return separator.end() if separator else at
