"""A watch, cut event by event (k8s.io/apimachinery/pkg/apis/meta/v1/watch.go: one JSON object a line)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.filters.errors import Unfilterable
from k8s_mcp_server.gateway.filters.objects import (
    allows_object,
    keep_rows,
    read_fields,
    read_string,
    write_fields,
)

if TYPE_CHECKING:
    from k8s_mcp_server.policy.decision import ListCut

LONGEST_EVENT: Final = 16 * 1024 * 1024
_OBJECT_EVENTS: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})
_CONTROL_EVENTS: Final = frozenset({"BOOKMARK", "ERROR"})


class WatchFilter:
    """Lets pass the events of objects that the cut allows, and bookmarks and errors, which name no object.

    The API server sends a Table's ``columnDefinitions`` with the first event only; when that one is dropped, the next
    that passes gets them (k8s.io/apiserver/pkg/endpoints/handlers/response.go, ``watchEmbeddedEncoder``).

    Args:
        cut: which objects may be seen; may be replaced while the watch runs.
    """

    def __init__(self, cut: ListCut) -> None:
        self.cut = cut
        self._rest = b""
        self._columns: bytes | None = None

    def feed(self, data: bytes) -> bytes:
        """The events, of those that are complete now, that may pass.

        Raises:
            Unfilterable: an event is of an unknown shape or endless.
        """
        *lines, self._rest = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        if len(self._rest) > LONGEST_EVENT:
            raise Unfilterable("a watch event is too large")
        return b"".join(event for line in lines if line.strip() and (event := self._event(line)))

    def finish(self) -> bytes:
        """What is left at the end of the stream: one last event without a line end, or nothing."""
        rest, self._rest = self._rest, b""
        return self._event(rest) if rest.strip() else b""

    def _event(self, line: bytes) -> bytes:
        event = read_fields(line)
        if event.keys() != {"type", "object"}:
            raise Unfilterable("a watch event has unknown fields")
        kind = read_string(event, "type")
        if kind in _CONTROL_EVENTS:
            return line + b"\n"
        if kind not in _OBJECT_EVENTS:
            raise Unfilterable("a watch event has an unknown type")
        fields = read_fields(event["object"])
        if read_string(fields, "kind") != "Table":
            return line + b"\n" if allows_object(event["object"], self.cut) else b""
        out = {key: bytes(value) for key, value in fields.items()}
        if "rows" not in fields:
            raise Unfilterable("a Table without rows")
        out["rows"] = keep_rows(fields["rows"], self.cut)
        if out.get("columnDefinitions", b"null") not in {b"null", b"[]"}:
            self._columns = out["columnDefinitions"]
        if out["rows"] in {b"[]", b"null"}:
            return b""
        if self._columns is not None:
            out["columnDefinitions"], self._columns = self._columns, None
        return write_fields({"type": bytes(event["type"]), "object": write_fields(out)}) + b"\n"
