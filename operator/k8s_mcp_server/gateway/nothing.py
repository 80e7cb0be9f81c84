"""Answers with nothing in them, for lists and watches that a command can do without but would wait for.

A client that watches with ``sendInitialEvents`` waits for the bookmark that ends the initial events
(k8s.io/client-go/tools/cache/reflector.go); one that lists takes the empty list and then watches. A watch stays open
and silent until its client goes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import msgspec

from k8s_mcp_server.gateway.head import Headers
from k8s_mcp_server.gateway.requestinfo import first

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.response import ResponseWriter
    from k8s_mcp_server.gateway.target import Target
    from k8s_mcp_server.policy.request import RequestInfo

_VERSION: Final = "1"
_OK: Final = 200
_PARTIAL: Final = "as=PartialObjectMetadata"
_INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
_JSON: Final = Headers((("content-type", "application/json"), ("cache-control", "no-store")))


async def answer_nothing(
    info: RequestInfo, *, target: Target, accept: str, kind: str, writer: ResponseWriter, audit_id: str
) -> None:
    """Answer a list with no items, or a watch with no objects. The latter returns only by cancellation.

    Args:
        info: the list or watch.
        target: its target, for the watch's options.
        accept: what the client takes; metadata alone has a kind of its own.
        kind: of the resource's objects.
        writer: gets the answer.
        audit_id: of the request.

    Raises:
        ConnectionResetError: the client is gone.
    """
    api_version = f"{info.api_group}/{info.api_version}" if info.api_group else info.api_version
    if _PARTIAL in accept:
        kind, api_version = "PartialObjectMetadata", "meta.k8s.io/v1"
    if info.verb == "list":
        body = {"kind": f"{kind}List", "apiVersion": api_version, "metadata": _metadata(), "items": []}
        writer.answer(_OK, msgspec.json.encode(body), audit_id=audit_id)
        return
    writer.start(_OK, _JSON, length=None)
    writer.flush()
    if (first(target.query, "sendInitialEvents") or "") in {"true", "1"}:
        metadata = _metadata(annotations={_INITIAL_EVENTS_END: "true"})
        event = {"type": "BOOKMARK", "object": {"kind": kind, "apiVersion": api_version, "metadata": metadata}}
        await writer.write(msgspec.json.encode(event) + b"\n")
    await asyncio.get_running_loop().create_future()


def _metadata(**more: Any) -> dict[str, Any]:
    return {"resourceVersion": _VERSION, **more}
