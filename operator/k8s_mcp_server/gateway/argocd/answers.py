"""An instance's answer on its way to the client: as it is, or cut to the policy, and never held as a whole stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway import protobuf
from k8s_mcp_server.gateway.argocd.frames import CONTENT_TYPE, Code, Frames, frame, framed_trailer, trailer
from k8s_mcp_server.gateway.argocd.instance import LONGEST_ANSWER
from k8s_mcp_server.gateway.argocd.objects import event_application
from k8s_mcp_server.gateway.argocd.plan import Answer
from k8s_mcp_server.gateway.protobuf import LENGTH_DELIMITED, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_mcp_server.gateway.argocd.plan import Plan
    from k8s_mcp_server.gateway.response import ResponseWriter
    from k8s_mcp_server.gateway.upstream import UpstreamConnection

FIELDS: Final = [("content-type", CONTENT_TYPE), ("cache-control", "no-store")]
_ITEMS: Final = 2  # of every list
_AT_ONCE: Final = 50


class NotVisible(Exception):
    """The one object of the answer is none that the client may see."""


async def relay(
    upstream: UpstreamConnection, writer: ResponseWriter, *, plan: Plan, see: Callable[[str], bool]
) -> None:
    """Pass an answer on, at the client's pace, message by message.

    Args:
        see: whether the client may see the object of that name (`Plan.name_of`).

    Raises:
        NotVisible: nothing was passed on.
        Unreadable: the answer cannot be read as far as it must be; what was passed on before may be seen.
        UpstreamBroken: it ended too early.
        ConnectionResetError: the client is gone.
    """
    if plan.answer is not Answer.OBJECT:
        _start(writer)  # a watch sends its head long before its first event
    if plan.answer is Answer.WHOLE and not plan.without:
        await _relay_whole(upstream, writer)
    else:
        await _relay_messages(upstream, writer, plan=plan, see=see)
    writer.end()


async def answer_own(message: bytes, writer: ResponseWriter) -> None:
    """Give an answer of our own.

    Raises:
        ConnectionResetError: the client is gone.
    """
    body = frame(message) + trailer(Code.OK)
    writer.begin(200, [*FIELDS], length=len(body))
    await writer.write(body)
    writer.end()


async def _relay_whole(upstream: UpstreamConnection, writer: ResponseWriter) -> None:
    is_empty = True
    while data := await upstream.body.read():
        is_empty = False
        await writer.write(data)
    if is_empty:  # a stream of nothing has its status in the head, where argocd does not look for its end
        await writer.write(trailer(Code.OK))


async def _relay_messages(
    upstream: UpstreamConnection, writer: ResponseWriter, *, plan: Plan, see: Callable[[str], bool]
) -> None:
    frames = Frames(longest=LONGEST_ANSWER)
    while data := await upstream.body.read():
        for is_trailer, content in frames.feed(data):
            passed = framed_trailer(content) if is_trailer else await _cut(content, plan=plan, see=see)
            if not writer.started:
                _start(writer)
            await writer.write(passed)
    frames.finish()


def _start(writer: ResponseWriter) -> None:
    writer.begin(200, [*FIELDS], length=None)
    writer.flush()


async def _cut(message: bytes, *, plan: Plan, see: Callable[[str], bool]) -> bytes:
    """What is left of a message, as a frame; empty when nothing is."""
    name_of = plan.name_of
    if plan.answer is Answer.WHOLE or name_of is None:
        kept = (field.raw for field in protobuf.fields(message) if field.number not in plan.without)
        return frame(b"".join(kept))
    if plan.answer is Answer.ITEMS:
        return frame(await _cut_list(message, lambda item: _is_seen(item, name_of, see)))
    if plan.answer is Answer.EVENTS:
        return frame(message) if _is_seen(event_application(message), name_of, see) else b""
    if not _is_seen(message, name_of, see):
        raise NotVisible
    return frame(message)


async def _cut_list(message: bytes, keep: Callable[[bytes], bool]) -> bytes:
    kept = bytearray()
    for number, field in enumerate(protobuf.fields(message)):
        if field.number == _ITEMS and field.wire_type != LENGTH_DELIMITED:
            raise Unreadable("a list whose items are none")
        if field.number != _ITEMS or keep(field.value):
            kept += field.raw
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)  # others get the event loop in between
    return bytes(kept)


def _is_seen(item: bytes, name_of: Callable[[bytes], str], see: Callable[[str], bool]) -> bool:
    """Whether an object may be seen; one whose name cannot be told is none that a rule could give."""
    try:
        return see(name_of(item))
    except Unreadable:
        return False
