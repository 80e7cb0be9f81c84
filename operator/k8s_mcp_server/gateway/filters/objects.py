"""The parts of lists, Tables and watch events that decide whether an object may pass. Everything else stays bytes.

Whoever may write an object may nest it deeper than a decoder goes (the API server takes 10,000 levels), and must not
spoil everybody's lists with it: what is too deep is taken apart by its brackets. Shapes: TypeMeta, ObjectMeta, TableRow
(k8s.io/apimachinery/pkg/apis/meta/v1/types.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from k8s_mcp_server.gateway.filters.errors import Unfilterable
from k8s_mcp_server.gateway.filters.scan import parts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8s_mcp_server.policy.decision import ListCut


class _Metadata(msgspec.Struct):
    name: str
    namespace: str = ""


class _Object(msgspec.Struct):
    metadata: _Metadata


class _Row(msgspec.Struct):
    object: _Object


Fields = dict[str, msgspec.Raw]
_FIELDS: Final = msgspec.json.Decoder(Fields)
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT: Final = msgspec.json.Decoder(_Object)
_ROW: Final = msgspec.json.Decoder(_Row)
_STRING: Final = msgspec.json.Decoder(str)


def read_fields(data: bytes | msgspec.Raw) -> Fields:
    """An object's fields, their values undecoded.

    Raises:
        Unfilterable: it is no JSON object.
    """
    try:
        return _FIELDS.decode(data)
    except RecursionError:
        return _deep_fields(bytes(data))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unfilterable("the answer is no JSON object") from error


def read_string(fields: Fields, key: str) -> str:
    """A field's text, empty when the field is missing.

    Raises:
        Unfilterable: it is no string.
    """
    try:
        return _STRING.decode(fields[key]) if key in fields else ""
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unfilterable(f"the field {key} is no string") from error


def keep_rows(rows: msgspec.Raw, cut: ListCut) -> bytes:
    """The JSON array with the rows of a Table whose objects the cut lets pass.

    Raises:
        Unfilterable: it is no array, or an object has no readable name.
    """
    if bytes(rows) == b"null":
        return b"null"
    try:
        kept = [row for row in _elements(rows) if allows_row(row, cut)]
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise Unfilterable("the rows are no array") from error
    return b"[" + b",".join(kept) + b"]"


def allows_object(data: bytes | msgspec.Raw, cut: ListCut) -> bool:
    """Whether one object may pass.

    Raises:
        Unfilterable: it has no readable name.
    """
    try:
        return _allows(cut, _OBJECT.decode(data).metadata)
    except RecursionError:
        return _allows(cut, _deep_metadata(data))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unfilterable("an object's metadata cannot be read") from error


def allows_row(data: bytes | msgspec.Raw, cut: ListCut) -> bool:
    """As ``allows_object``, for a row of a Table, which has the metadata in ``object``."""
    try:
        return _allows(cut, _ROW.decode(data).object.metadata)
    except RecursionError:
        return _allows(cut, _deep_metadata(_read(read_fields(data), "object")))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unfilterable("a row's metadata cannot be read") from error


def write_fields(fields: dict[str, bytes]) -> bytes:
    """The JSON object of these fields."""
    return b"{" + b",".join(msgspec.json.encode(key) + b":" + value for key, value in fields.items()) + b"}"


def _allows(cut: ListCut, metadata: _Metadata) -> bool:
    if not metadata.name:
        raise Unfilterable("an object has no name")
    return cut.allows(namespace=metadata.namespace, name=metadata.name)


def _elements(array: msgspec.Raw) -> Iterable[bytes | msgspec.Raw]:
    try:
        return _ARRAY.decode(array)
    except RecursionError:
        return parts(bytes(array))


def _deep_fields(data: bytes) -> Fields:
    try:
        written = parts(data)
        return {_STRING.decode(name): msgspec.Raw(value) for name, value in zip(written, written, strict=True)}
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise Unfilterable("the answer is no JSON object") from error


def _deep_metadata(data: bytes | msgspec.Raw) -> _Metadata:
    metadata = read_fields(_read(read_fields(data), "metadata"))
    return _Metadata(name=read_string(metadata, "name"), namespace=read_string(metadata, "namespace"))


def _read(fields: Fields, key: str) -> msgspec.Raw:
    if key not in fields:
        raise Unfilterable(f"an object has no {key}")
    return fields[key]
