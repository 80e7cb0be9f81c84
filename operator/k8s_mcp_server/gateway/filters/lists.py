"""A list or Table, cut to what the client may see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from k8s_mcp_server.gateway.filters.errors import Unfilterable
from k8s_mcp_server.gateway.filters.objects import (
    keep_items,
    keep_rows,
    read_fields,
    read_string,
    write_fields,
)

if TYPE_CHECKING:
    from k8s_mcp_server.policy.decision import ListCut

_KNOWN: Final = frozenset({"kind", "apiVersion", "metadata", "items", "rows", "columnDefinitions"})


class _ListMeta(
    msgspec.Struct, omit_defaults=True, rename={"resource_version": "resourceVersion", "continue_": "continue"}
):
    """``metav1.ListMeta`` without ``remainingItemCount``, which counts what the client must not see."""

    resource_version: str = ""
    continue_: str = ""


_LIST_META: Final = msgspec.json.Decoder(_ListMeta)


def filter_list(body: bytes, cut: ListCut) -> bytes:
    """The same list with only the objects that the cut lets pass.

    Args:
        body: a JSON list (``items``) or Table (``rows``), complete.
        cut: which objects may be seen.

    Raises:
        Unfilterable: the body is neither, is one page of several, or has fields whose meaning is not known here.
    """
    fields = read_fields(body)
    if not fields.keys() <= _KNOWN:
        raise Unfilterable("the list has unknown fields")
    if ("items" in fields) == ("rows" in fields):
        raise Unfilterable("the answer is neither a list nor a Table")
    if "rows" in fields and read_string(fields, "kind") != "Table":
        raise Unfilterable("rows outside of a Table")
    out = {key: bytes(value) for key, value in fields.items()}
    if "items" in fields:
        out["items"] = keep_items(fields["items"], cut)
    else:
        out["rows"] = keep_rows(fields["rows"], cut)
    if "metadata" in fields:
        out["metadata"] = _metadata(fields["metadata"])
    return write_fields(out)


def _metadata(raw: msgspec.Raw) -> bytes:
    try:
        metadata = _LIST_META.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unfilterable("the list's metadata cannot be read") from error
    if metadata.continue_:
        raise Unfilterable("the list is one page of several, although it was asked for whole")
    return msgspec.json.encode(metadata)
