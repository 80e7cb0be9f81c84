"""The API server's answer on its way to the client: as it is, or cut to the policy."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.filters.errors import Unfilterable
from k8s_mcp_server.gateway.filters.lists import filter_list

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.filters.watches import WatchFilter
    from k8s_mcp_server.gateway.response import ResponseWriter
    from k8s_mcp_server.gateway.upstream import ResponseHead, UpstreamConnection
    from k8s_mcp_server.policy.decision import ListCut

_MIB: Final = 1024 * 1024
LARGEST_FILTERED_LIST: Final = 64 * _MIB


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
    cut: ListCut,
) -> None:
    """Pass on what is left of a list.

    Raises:
        Unfilterable: the answer is no list that can be cut; nothing was passed on.
    """
    if response.status >= HTTPStatus.BAD_REQUEST:
        await relay(upstream, response, writer)
        return
    _check_is_plain_json(response)
    parts, size = [], 0
    while data := await upstream.body.read():
        parts.append(data)
        size += len(data)
        if size > LARGEST_FILTERED_LIST:
            raise Unfilterable(f"the list is larger than {LARGEST_FILTERED_LIST // _MIB} MiB")
    body = filter_list(b"".join(parts), cut)
    writer.start(response.status, response.headers.without("etag"), length=len(body))
    await writer.write(body)
    writer.end()


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
