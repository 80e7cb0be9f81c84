"""As much of the protobuf wire format as reading, replacing and adding fields of a message takes.

Sources: protobuf.dev/programming-guides/encoding, and how the generated decoders of the API server read it
(``Unmarshal`` and ``skipGenerated`` in k8s.io/apimachinery/pkg/runtime/generated.pb.go). Those drop the high bits of
numbers that are too large, so that a field beyond the last number is read as a known one. What no encoder writes is
therefore refused, and so are groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VARINT: Final = 0
LENGTH_DELIMITED: Final = 2
_FIXED64: Final = 1
_FIXED32: Final = 5
_LONGEST_VARINT: Final = 10
_LARGEST_VARINT: Final = (1 << 64) - 1
_LARGEST_TAG: Final = (1 << 32) - 1
_MORE: Final = 0x80
KUBERNETES_MAGIC: Final = b"k8s\0"
_UNKNOWN_TYPE_META: Final = 1
_TYPE_KIND: Final = 2
_UNKNOWN_RAW: Final = 2
_UNKNOWN_CONTENT_ENCODING: Final = 3
_UNKNOWN_CONTENT_TYPE: Final = 4
# What each field of the envelope may hold; None for anything.
_ENVELOPE: Final[dict[int, frozenset[bytes] | None]] = {
    _UNKNOWN_TYPE_META: None,
    _UNKNOWN_RAW: None,
    _UNKNOWN_CONTENT_ENCODING: frozenset({b""}),
    _UNKNOWN_CONTENT_TYPE: frozenset({b"", b"application/vnd.kubernetes.protobuf"}),
}


class Unreadable(ValueError):
    """The bytes are no message that this reader knows."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field as it stands in a message.

    Args:
        number: of the field.
        wire_type: how it is encoded.
        value: the bytes of a text or message; empty for a number.
        integer: of a field with wire type `VARINT`; 0 for others.
        raw: the whole field, tag included.
    """

    number: int
    wire_type: int
    value: bytes
    integer: int
    raw: bytes


def fields(data: bytes) -> Iterator[Field]:
    """Each field of a message, in order.

    Raises:
        Unreadable: the bytes are no message that this reader knows.
    """
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if tag > _LARGEST_TAG or number == 0:
            raise Unreadable("a field number out of range")
        value, integer, position = _read(data, position, wire_type)
        yield Field(number, wire_type, value, integer, data[start:position])


def messages(data: bytes, field: int) -> Iterator[bytes]:
    """The length-delimited values of a field, every occurrence.

    Raises:
        Unreadable: the bytes are no message, or the field has another wire type.
    """
    for found in fields(data):
        if found.number == field:
            if found.wire_type != LENGTH_DELIMITED:
                raise Unreadable("a field has an unexpected type")
            yield found.value


def without(data: bytes, field: int) -> bytes:
    """The message without any occurrence of a field.

    Raises:
        Unreadable: the bytes are no message.
    """
    return b"".join(found.raw for found in fields(data) if found.number != field)


def text_field(field: int, text: str) -> bytes:
    """A text as a field of a message."""
    return bytes_field(field, text.encode())


def number_field(field: int, number: int) -> bytes:
    """A number, or 1 for true, as a field of a message."""
    return _encoded(field << 3 | VARINT) + _encoded(number)


def rewrap(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The envelope of `unwrap`, with its object changed and everything else as it was.

    Raises:
        Unreadable: it is no envelope, or holds an object that is not there exactly once or is encoded in another way.
    """
    raw = unwrap(data)
    envelope = _content(data)
    return KUBERNETES_MAGIC + without(envelope, _UNKNOWN_RAW) + bytes_field(_UNKNOWN_RAW, change(raw))


def unwrap(data: bytes) -> bytes:
    """The object inside of the ``runtime.Unknown`` envelope of Kubernetes' protobuf encoding.

    Source: k8s.io/apimachinery/pkg/runtime/serializer/protobuf/doc.go.

    Raises:
        Unreadable: it is no envelope, has unknown fields, or holds not exactly one object, or one in another encoding.
    """
    raw = []
    for found in fields(_content(data)):
        if found.wire_type != LENGTH_DELIMITED or found.number not in _ENVELOPE:
            raise Unreadable("an unknown field in the envelope")
        allowed = _ENVELOPE[found.number]
        if allowed is not None and found.value not in allowed:
            raise Unreadable("the object in the envelope is of another encoding")
        if found.number == _UNKNOWN_RAW:
            raw.append(found.value)
    if len(raw) != 1:
        raise Unreadable("an envelope holds exactly one object")
    return raw[0]


def bytes_field(field: int, value: bytes) -> bytes:
    """The bytes of a text or message as a field of a message."""
    return _encoded(field << 3 | LENGTH_DELIMITED) + _encoded(len(value)) + value


def _encoded(number: int) -> bytes:
    parts = bytearray()
    while number >= _MORE:
        parts.append(number & ~_MORE & 0xFF | _MORE)
        number >>= 7
    return bytes([*parts, number])


def kind(data: bytes) -> str:
    """The kind that the envelope names; empty when it names none.

    Raises:
        Unreadable: it is no envelope.
    """
    types = list(messages(_content(data), _UNKNOWN_TYPE_META))
    kinds = [kind for item in types for kind in messages(item, _TYPE_KIND)]
    return kinds[-1].decode() if kinds else ""


def _content(data: bytes) -> bytes:
    if not data.startswith(KUBERNETES_MAGIC):
        raise Unreadable("no Kubernetes protobuf envelope")
    return data[len(KUBERNETES_MAGIC) :]


def _read(data: bytes, position: int, wire_type: int) -> tuple[bytes, int, int]:
    """Bytes, number and end of the value at ``position``."""
    if wire_type == VARINT:
        integer, end = _varint(data, position)
        return b"", integer, end
    if wire_type == LENGTH_DELIMITED:
        length, position = _varint(data, position)
    elif wire_type in {_FIXED64, _FIXED32}:
        length = 8 if wire_type == _FIXED64 else 4
    else:
        raise Unreadable("an unknown wire type")
    end = position + length
    if end > len(data):
        raise Unreadable("a field is longer than its message")
    return data[position:end], 0, end


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(data[position : position + _LONGEST_VARINT]):
        value |= (byte & ~_MORE) << (7 * index)
        if byte & _MORE:
            continue
        if value > _LARGEST_VARINT or (index and not byte):
            raise Unreadable("a number that is too large, or longer than it must be")
        return value, position + index + 1
    raise Unreadable("an unfinished number")
