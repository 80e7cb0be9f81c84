"""The API server's answer on its way to the client: as it is, or cut to the policy."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.filters.errors import Unfilterable
from k8s_mcp_server.gateway.filters.lists import ListFilter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from k8s_mcp_server.gateway.filters.lists import Edit
    from k8s_mcp_server.gateway.filters.watches import WatchFilter
    from k8s_mcp_server.gateway.response import ResponseWriter
    from k8s_mcp_server.gateway.upstream import ResponseHead, UpstreamConnection
    from k8s_mcp_server.policy.decision import ListCut

_PART: Final = 64 * 1024  # of a list, cut at a time: less than a millisecond, some when no guess helps (lists.py)
_HELD: Final = 256 * 1024  # of the cut list, before its head leaves: what fails until then fails with a reason


async def relay(upstream: UpstreamConnection, response: ResponseHead, writer: ResponseWriter) -> None:
    """Pass an answer on as it comes in, at the client's pace.

    Raises:
        UpstreamBroken: the answer ended too early.
        ConnectionResetError: the client is gone.
    """
    writer.start(response.status, response.headers, length=response.content_length)
    if not upstream.body.has_data:
        writer.flush()  # a watch sends its head long before its first event
    while data := await upstream.body.read():
        await writer.write(data)
    writer.end()


async def relay_list(
    upstream: UpstreamConnection,
    response: ResponseHead,
    writer: ResponseWriter,
    *,
    cut: ListCut | None,
    edit: Edit | None = None,
) -> None:
    """Pass on what is left of a list, cut or edited, at the client's pace and without ever holding all of it.

    Raises:
        Unfilterable: the answer is no list that can be cut; what was passed on before may be seen.
    """
    if response.status >= HTTPStatus.BAD_REQUEST:
        await relay(upstream, response, writer)
        return
    _check_is_plain_json(response)
    headers = response.headers.without("etag")
    held = b""
    async for part in _cut_parts(upstream, ListFilter(cut, edit=edit)):
        held += part
        if len(held) >= _HELD:
            if not writer.started:
                writer.start(response.status, headers, length=None)
            await writer.write(held)
            held = b""
    if not writer.started:
        writer.start(response.status, headers, length=len(held))
    await writer.write(held)
    writer.end()


async def _cut_parts(upstream: UpstreamConnection, cutter: ListFilter) -> AsyncIterator[bytes]:
    """What is left of the list, part by part; others get the event loop in between."""
    while data := await upstream.body.read():
        for start in range(0, len(data), _PART):
            yield cutter.feed(data[start : start + _PART])
            await asyncio.sleep(0)
    yield cutter.finish()


async def relay_watch(
    upstream: UpstreamConnection, response: ResponseHead, writer: ResponseWriter, *, events: WatchFilter
) -> None:
    """Pass on the events that the filter lets pass; the head leaves at once, for clients wait for it.

    Raises:
        Unfilterable: an event could not be read; those before it were passed on.
    """
    if response.status >= HTTPStatus.BAD_REQUEST:
        await relay(upstream, response, writer)
        return
    _check_is_plain_json(response)
    writer.start(response.status, response.headers, length=None)
    writer.flush()
    while data := await upstream.body.read():
        await writer.write(events.feed(data))
    await writer.write(events.finish())
    writer.end()


def _check_is_plain_json(response: ResponseHead) -> None:
    media_type = response.headers.get("content-type").partition(";")[0].strip().lower()
    if response.status != HTTPStatus.OK or media_type != "application/json":
        raise Unfilterable("the answer is not plain JSON")
    if response.headers.get("content-encoding") not in {"", "identity"}:
        raise Unfilterable("the answer is compressed")
