"""Requests as strict protobuf messages: every field known, none of the single ones twice.

Go's decoders take the last of a repeated scalar, merge repeated messages, and skip what they do not know. What was
decided and what Argo CD reads must be the same, so a request that leaves room for a difference is refused; no client
writes one. Field numbers are those of server/*/*.proto of argo-cd v3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8s_mcp_server.gateway import protobuf
from k8s_mcp_server.gateway.protobuf import LENGTH_DELIMITED, VARINT, Field, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Which fields a message may have.

    Args:
        texts: length-delimited ones: texts, bytes and messages.
        numbers: integers and booleans.
        repeated: those of them that may come more than once; repeated numbers may be packed.
    """

    texts: frozenset[int] = frozenset()
    numbers: frozenset[int] = frozenset()
    repeated: frozenset[int] = frozenset()


def shape(texts: Iterable[int] = (), numbers: Iterable[int] = (), repeated: Iterable[int] = ()) -> Shape:
    """A shape in few words."""
    return Shape(texts=frozenset(texts), numbers=frozenset(numbers), repeated=frozenset(repeated))


class Message:
    """A message that was read strictly.

    Args:
        data: its bytes.
        shape: the fields that it may have.

    Raises:
        Unreadable: it has others, has one twice, or in another encoding.
    """

    def __init__(self, data: bytes, shape: Shape) -> None:
        self._fields: tuple[Field, ...] = tuple(protobuf.fields(data))
        seen: set[int] = set()
        for field in self._fields:
            if field.number in seen and field.number not in shape.repeated:
                raise Unreadable(f"field {field.number} is there twice")
            seen.add(field.number)
            if not _fits(field, shape):
                raise Unreadable(f"field {field.number} is not known, or of another type")

    def text(self, number: int) -> str:
        """The text of a field; empty when it is not there.

        Raises:
            Unreadable: it is not UTF-8.
        """
        return decoded(self.data(number))

    def texts(self, number: int) -> tuple[str, ...]:
        """Every text of a repeated field.

        Raises:
            Unreadable: one is not UTF-8.
        """
        return tuple(decoded(field.value) for field in self._fields if field.number == number)

    def values(self, number: int) -> tuple[bytes, ...]:
        """The bytes of every occurrence of a repeated field."""
        return tuple(field.value for field in self._fields if field.number == number)

    def data(self, number: int) -> bytes:
        """The bytes of a field; empty when it is not there."""
        return next((field.value for field in self._fields if field.number == number), b"")

    def is_true(self, number: int) -> bool:
        """Whether a boolean is there and true."""
        return any(field.integer for field in self._fields if field.number == number)

    def has(self, number: int) -> bool:
        """Whether the field is there, whatever it holds."""
        return any(field.number == number for field in self._fields)

    def encode(self, *, without: Iterable[int] = (), added: bytes = b"") -> bytes:
        """The message again, without some fields and with others at its end."""
        dropped = frozenset(without)
        return b"".join(field.raw for field in self._fields if field.number not in dropped) + added


def decoded(value: bytes) -> str:
    """A text.

    Raises:
        Unreadable: it is not UTF-8.
    """
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("a text that is not UTF-8") from error


def _fits(field: Field, shape: Shape) -> bool:
    if field.wire_type == LENGTH_DELIMITED:
        return field.number in shape.texts or (field.number in shape.numbers & shape.repeated)
    return field.wire_type == VARINT and field.number in shape.numbers
