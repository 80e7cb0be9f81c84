"""A decided request's way to the API server and back, and honest words when that fails."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.gateway.answer import relay, relay_list, relay_watch
from k8s_mcp_server.gateway.filters.errors import Unfilterable
from k8s_mcp_server.gateway.filters.negotiation import filterable, json_only
from k8s_mcp_server.gateway.filters.watches import WatchFilter
from k8s_mcp_server.gateway.forward import CredentialsRefused, Outgoing, UpstreamSlow, send
from k8s_mcp_server.gateway.outgoing import Attribution, encode_head
from k8s_mcp_server.gateway.permissions import is_long_running
from k8s_mcp_server.gateway.requestinfo import first
from k8s_mcp_server.gateway.splice import splice
from k8s_mcp_server.gateway.status import Refusal
from k8s_mcp_server.gateway.upstream import ResponseHead, UpstreamBroken, UpstreamConnection

if TYPE_CHECKING:
    from k8s_mcp_server.cluster.connection import ApiServer
    from k8s_mcp_server.gateway.filters.lists import Edit
    from k8s_mcp_server.gateway.front import FrontConnection
    from k8s_mcp_server.gateway.head import RequestHead
    from k8s_mcp_server.gateway.pool import UpstreamPool
    from k8s_mcp_server.gateway.portforward.inspector import ForwardInspector
    from k8s_mcp_server.gateway.response import ResponseWriter
    from k8s_mcp_server.gateway.stream import ByteStream
    from k8s_mcp_server.gateway.target import Target
    from k8s_mcp_server.policy.decision import ListCut
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.telemetry.metrics import Metrics

_SWITCHING_PROTOCOLS: Final = HTTPStatus.SWITCHING_PROTOCOLS
_JSON: Final = "application/json"
_LARGEST_ANSWER: Final = 8 * 1024 * 1024
FAILURES: Final = (Unavailable, UpstreamBroken, UpstreamSlow, CredentialsRefused, Unfilterable)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedRequest:
    """A request that may be forwarded.

    Args:
        head: as received.
        target: as understood.
        info: what was decided on.
        body: the client's body; None without one.
        attribution: who asks.
        cut: which objects of the answer may be seen; None for all.
        edit: of a list, what is to be seen of each item.
        inspector: reads what the client says over an upgraded connection.
        is_dispensable: a refusal by the API server is told to the caller and not to the client.
    """

    head: RequestHead
    target: Target
    info: RequestInfo
    body: ByteStream | None
    attribution: Attribution
    cut: ListCut | None
    edit: Edit | None = None
    inspector: ForwardInspector | None = None
    is_dispensable: bool = False

    @property
    def is_filtered(self) -> bool:
        """Whether the answer is read on its way, so that it must be one that can be read."""
        return self.cut is not None or self.edit is not None


class ForbiddenUpstream(Exception):
    """The API server refuses a dispensable request: the service itself may not make it. Nothing was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeAnswer:
    """An answer that was read to its end."""

    status: int
    body: bytes


class Forwarder:
    """Forwards decided requests to one API server.

    Args:
        api_server: where it is and our token.
        pool: connections to it.
        metrics: counts what was sent.
    """

    def __init__(self, *, api_server: ApiServer, pool: UpstreamPool, metrics: Metrics) -> None:
        self._api_server = api_server
        self._pool = pool
        self._metrics = metrics

    async def forward(self, request: DecidedRequest, *, writer: ResponseWriter, connection: FrontConnection) -> None:
        """Forward the request and pass the answer on.

        A failure becomes a ``Status``, or a broken connection once an answer has begun.

        Raises:
            HeadRefused: the client's body turned out to be malformed; nothing was answered.
            ForbiddenUpstream: see there.
            ForwardRefused: the client said something over an upgraded connection that the inspector refuses.
            ConnectionResetError: the client is gone.
        """
        if request.is_filtered and first(request.target.query, "continue"):
            writer.refuse(_EXPIRED, audit_id=request.attribution.audit_id)
            return
        try:
            await self._forward(request, writer=writer, connection=connection)
        except FAILURES as error:
            if writer.started:
                connection.abort()
            else:
                writer.refuse(
                    failure(error, is_read=request.head.method == "GET"), audit_id=request.attribution.audit_id
                )

    async def ask(
        self, head: RequestHead, *, target: Target, body: bytes, attribution: Attribution, changes: bool = False
    ) -> WholeAnswer:
        """Send a JSON body of our own in the place of the client's, and read the answer.

        Args:
            changes: it may change something, so it is never sent twice.

        Raises:
            Exception: one of ``FAILURES``.
        """
        encode = partial(
            encode_head,
            head,
            target=target,
            overrides={**json_only(head.headers), "accept": _JSON, "content-type": _JSON},
            content_length=len(body),
            attribution=attribution,
            api_server=self._api_server,
        )
        outgoing = Outgoing(
            head=lambda: encode() + body,
            body=None,
            chunked=False,
            replayable=not changes,
            may_take_long=False,
            own_401=True,
        )
        upstream, response = await self._send(outgoing, method=head.method)
        try:
            answer = await _read_whole(upstream)
        except BaseException:
            upstream.abort()
            raise
        self._pool.release(upstream)
        return WholeAnswer(status=response.status, body=answer)

    async def _forward(self, request: DecidedRequest, *, writer: ResponseWriter, connection: FrontConnection) -> None:
        target, overrides = request.target, dict[str, str]()
        if request.is_filtered:
            overrides = json_only(request.head.headers)
            target = filterable(target)
        content_length = (
            None
            if request.body is not None and request.head.content_length is None
            else (request.head.content_length or 0)
        )
        encode = partial(
            encode_head,
            request.head,
            target=target,
            overrides=overrides,
            content_length=content_length,
            attribution=request.attribution,
            api_server=self._api_server,
        )
        if request.head.expects_continue and request.body is not None and not request.body.finished:
            connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        outgoing = Outgoing(
            head=encode,
            body=request.body,
            chunked=content_length is None,
            replayable=request.head.method == "GET" and not request.head.upgrade,
            may_take_long=is_long_running(request.info),
            own_401=request.info.subresource != "proxy",
        )
        upstream, response = await self._send(outgoing, method=request.head.method)
        try:
            await self._answer(request, upstream, response, writer=writer, connection=connection)
        except BaseException:
            upstream.abort()
            raise
        self._pool.release(upstream)

    async def _send(self, outgoing: Outgoing, *, method: str) -> tuple[UpstreamConnection, ResponseHead]:
        started, code = time.monotonic(), 0
        try:
            upstream, response = await send(outgoing, self._pool)
            code = response.status
        finally:
            self._metrics.upstream_request(method=method, code=code, seconds=time.monotonic() - started)
        return upstream, response

    async def _answer(
        self,
        request: DecidedRequest,
        upstream: UpstreamConnection,
        response: ResponseHead,
        *,
        writer: ResponseWriter,
        connection: FrontConnection,
    ) -> None:
        if response.status == HTTPStatus.FORBIDDEN and request.is_dispensable:
            raise ForbiddenUpstream
        if response.status == _SWITCHING_PROTOCOLS:
            if not request.head.upgrade:
                raise UpstreamBroken("the API server switched protocols unasked")
            writer.start_upgrade(response.headers)
            await splice(connection, upstream, inspector=request.inspector)
        elif not request.is_filtered:
            await relay(upstream, response, writer)
        elif request.info.verb == "watch" and request.cut is not None:
            await relay_watch(upstream, response, writer, events=WatchFilter(request.cut))
        else:
            await relay_list(upstream, response, writer, cut=request.cut, edit=request.edit)


async def _read_whole(upstream: UpstreamConnection) -> bytes:
    parts, size = [], 0
    while data := await upstream.body.read():
        parts.append(data)
        size += len(data)
        if size > _LARGEST_ANSWER:
            raise UpstreamBroken("the API server's answer is too large")
    return b"".join(parts)


_NOT_KNOWN: Final = "Whether the change was made is not known: look before you repeat it."
_EXPIRED: Final = Refusal(
    code=410,
    message="The list is cut to what you may see and comes whole, so it cannot be continued. Start it again without a "
    "continue token.",
)


def failure(error: Exception, *, is_read: bool) -> Refusal:
    """What the client is told about one of ``FAILURES``.

    Args:
        is_read: the request changes nothing, so that it may be repeated.
    """
    text = str(error)
    if isinstance(error, Unavailable):
        return Refusal(code=503, message=f"Nothing was done: {text}. Try again in a moment.")
    if isinstance(error, CredentialsRefused):
        return Refusal(code=503, message=f"Nothing was done: {text}. The operator of this service must look.")
    if isinstance(error, Unfilterable):
        return Refusal(
            code=502,
            message=f"The answer cannot be cut to what you may see ({text}), so it is withheld. Narrow it: ask for one "
            "namespace, or add a label or field selector.",
        )
    what = text[:1].upper() + text[1:]
    advice = "Nothing was changed; try again." if is_read else _NOT_KNOWN
    return Refusal(code=504 if isinstance(error, UpstreamSlow) else 502, message=f"{what}. {advice}")
