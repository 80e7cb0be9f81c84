"""A list or Table, cut to what the client may see while it comes in.

Its fields come in any order: Go writes those of a struct as declared, those of custom resources sorted, so that
``items`` comes before ``kind`` and ``metadata``. Shapes: ListMeta, PartialObjectMetadataList, Table
(k8s.io/apimachinery/pkg/apis/meta/v1/types.go).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

import msgspec

from k8s_mcp_server.gateway.filters.errors import Unfilterable
from k8s_mcp_server.gateway.filters.objects import allows_object, allows_row
from k8s_mcp_server.gateway.filters.scan import end_of_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_mcp_server.policy.decision import ListCut

_T = TypeVar("_T")
Edit: TypeAlias = "Callable[[bytes], bytes | None]"

LONGEST_VALUE: Final = 16 * 1024 * 1024
_SEARCHED: Final = 256 * 1024  # of an element, for the beginning of the next, before its end is found the slow way
_LONGEST_KEY: Final = 256
_PLAIN: Final = frozenset({"kind", "apiVersion", "metadata", "columnDefinitions"})
_ELEMENTS: Final = frozenset({"items", "rows"})
_BLANK: Final = re.compile(rb"[ \t\r\n]*")
_KEY: Final = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n]*:[ \t\r\n]*(?=[^ \t\r\n])', re.DOTALL)
_BEGINNING: Final = re.compile(rb'\{"[^"\\]{1,64}":')
_STRING: Final = msgspec.json.Decoder(str)
_ANYTHING: Final = msgspec.json.Decoder(msgspec.Raw)


class _ListMeta(
    msgspec.Struct, omit_defaults=True, rename={"resource_version": "resourceVersion", "continue_": "continue"}
):
    """``metav1.ListMeta`` without ``remainingItemCount``, which counts what the client must not see."""

    resource_version: str = ""
    continue_: str = ""


_LIST_META: Final = msgspec.json.Decoder(_ListMeta)


class ListFilter:
    """Takes a JSON list (``items``) or Table (``rows``) in, and gives it out with only the objects that may be seen.

    The elements of a list begin alike, so the end of one is looked for at the beginning of the next. That is a guess,
    and decoding proves it: no JSON object is the beginning of another one.

    Args:
        cut: which objects may be seen.
        edit: in the place of a cut, what is to be seen of each item of a list; None for nothing.
    """

    def __init__(self, cut: ListCut | None = None, *, edit: Edit | None = None) -> None:
        self._cut = cut
        self._edit = edit
        self._data = b""
        self._at = 0
        self._wanted = 0  # bytes that must be there before it is worth looking again
        self._searched = 0  # bytes of the current element in which the next one does not begin
        self._next: bytes | None = None  # the end of an element and the beginning of another
        self._ended = False
        self._step: Callable[[], bool] = self._begin
        self._out: list[bytes] = []
        self._separator = b""
        self._key = ""
        self._seen: set[str] = set()
        self._kind: str | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes in; returns those that may pass now.

        Raises:
            Unfilterable: the list is not understood. What was given out before holds nothing that may not be seen.
        """
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0
        return self._run() if len(self._data) >= self._wanted else b""

    def finish(self) -> bytes:
        """Say that the list is complete; returns the rest of it.

        Raises:
            Unfilterable: it is not complete, or was not understood.
        """
        self._ended = True
        rest = self._run()
        if self._step != self._end:
            raise Unfilterable("the list is incomplete")
        if _ELEMENTS.isdisjoint(self._seen):
            raise Unfilterable("the answer is neither a list nor a Table")
        self._check_kind()
        return rest

    def _run(self) -> bytes:
        self._wanted = 0
        while self._step():
            pass
        out = b"".join(self._out)
        self._out.clear()
        return out

    # The steps: each goes on in the data and says so, or returns False to wait for more

    def _begin(self) -> bool:
        return self._take({b"{": self._first_field})

    def _first_field(self) -> bool:
        self._out.append(b"{")
        self._step = self._field
        return True

    def _field(self) -> bool:
        if not self._skip_blank():
            return False
        match = _KEY.match(self._data, self._at)
        if match is None:
            if self._ended or len(self._data) - self._at > _LONGEST_KEY:
                raise Unfilterable("the answer is no JSON object")
            return False
        self._key = _decoded(_STRING, match[1], "the answer is no JSON object")
        self._at = match.end()
        self._check_key()
        self._seen.add(self._key)
        self._out.append(self._separator + msgspec.json.encode(self._key) + b":")
        self._separator = b","
        is_array = self._key in _ELEMENTS and self._data[self._at : self._at + 1] == b"["
        self._step = self._begin_array if is_array else self._value
        return True

    def _value(self) -> bool:
        end = self._find_end()
        if end is None:
            return False
        self._out.append(self._read(self._data[self._at : end]))
        self._at, self._step = end, self._behind_value
        return True

    def _behind_value(self) -> bool:
        return self._take({b",": self._field, b"}": self._close})

    def _begin_array(self) -> bool:
        self._at += 1
        self._out.append(b"[")
        self._separator = b""
        self._step = self._first_element
        return True

    def _first_element(self) -> bool:
        if not self._skip_blank():
            return False
        self._step = self._behind_element if self._data[self._at : self._at + 1] == b"]" else self._element
        return True

    def _element(self) -> bool:
        if not self._skip_blank():
            return False
        if self._data[self._at : self._at + 1] != b"{":
            raise Unfilterable("an element is no object")
        return self._guess_element() or self._find_element()

    def _behind_element(self) -> bool:
        return self._take({b",": self._element, b"]": self._end_array})

    def _end_array(self) -> bool:
        self._out.append(b"]")
        self._separator = b","
        self._step = self._behind_value
        return True

    def _close(self) -> bool:
        self._out.append(b"}")
        self._step = self._end
        return True

    def _end(self) -> bool:
        if self._skip_blank():
            raise Unfilterable("there is something behind the list")
        return False

    # Elements

    def _guess_element(self) -> bool:
        """Take the element that ends where the next one seems to begin."""
        if self._next is None and (beginning := _BEGINNING.match(self._data, self._at)):
            self._next = b"}," + beginning[0]
        if self._next is None:
            return False
        found = self._data.find(self._next, self._at + self._searched)
        if found < 0:
            self._searched = max(0, len(self._data) - self._at - len(self._next))
            return False
        self._searched = 0
        try:
            return self._take_element(found + 1)
        except Unfilterable:  # the guess was wrong, or the element is
            self._searched = _SEARCHED
            return False

    def _find_element(self) -> bool:
        """Take the element whose end is found by counting brackets, once it is not worth waiting for a guess."""
        if self._next is not None and self._searched < _SEARCHED and not self._ended:
            return False
        end = self._find_end()
        return end is not None and self._take_element(end)

    def _take_element(self, end: int) -> bool:
        element = self._seen_of(self._data[self._at : end])
        if element is not None:
            self._out += (self._separator, element)
            self._separator = b","
        self._at, self._searched, self._step = end, 0, self._behind_element
        return True

    def _seen_of(self, element: bytes) -> bytes | None:
        if self._edit is not None and self._key == "items":
            return self._edit(element)
        if self._cut is None:
            raise Unfilterable("rows are not edited")
        allows = allows_object if self._key == "items" else allows_row
        return element if allows(element, self._cut) else None

    # Fields

    def _check_key(self) -> None:
        if self._key not in _PLAIN | _ELEMENTS:
            raise Unfilterable("the list has unknown fields")
        if self._key in self._seen:
            raise Unfilterable("the list has a field twice")
        if self._key in _ELEMENTS and not _ELEMENTS.isdisjoint(self._seen):
            raise Unfilterable("the answer is neither a list nor a Table")
        if self._key == "rows" and self._kind is not None:
            self._check_kind(rows=True)

    def _check_kind(self, *, rows: bool = False) -> None:
        if (rows or "rows" in self._seen) and self._kind != "Table":
            raise Unfilterable("rows outside of a Table")

    def _read(self, value: bytes) -> bytes:
        if self._key in _ELEMENTS and value != b"null":
            raise Unfilterable(f"{self._key} are no array")
        if self._key == "metadata":
            return self._metadata(value)
        if self._key == "kind":
            self._kind = _decoded(_STRING, value, "the field kind is no string")
        else:
            _decoded(_ANYTHING, value, "a field cannot be read")
        return value

    def _metadata(self, value: bytes) -> bytes:
        metadata = _decoded(_LIST_META, value, "the list's metadata cannot be read")
        if metadata.continue_:
            raise Unfilterable("the list is one page of several, although it was asked for whole")
        return msgspec.json.encode(metadata)

    # The data

    def _skip_blank(self) -> bool:
        """Go to the next byte that is not blank; whether there is one."""
        blank = _BLANK.match(self._data, self._at)
        self._at = blank.end() if blank else self._at
        return self._at < len(self._data)

    def _take(self, steps: dict[bytes, Callable[[], bool]]) -> bool:
        """Take one of these characters, and go on with its step."""
        if not self._skip_blank():
            return False
        step = steps.get(self._data[self._at : self._at + 1])
        if step is None:
            raise Unfilterable("the answer is no JSON list")
        self._at, self._step = self._at + 1, step
        return True

    def _find_end(self) -> int | None:
        """Where the value ends that begins here. When it does not yet: not looked for again before twice is there."""
        end = end_of_value(self._data, self._at)
        if end is None:
            length = len(self._data) - self._at
            if self._ended or length > LONGEST_VALUE:
                raise Unfilterable("a value is incomplete or too large")
            self._wanted = 2 * length
        return end


def _decoded(decoder: msgspec.json.Decoder[_T], value: bytes, complaint: str) -> _T:
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unfilterable(complaint) from error
