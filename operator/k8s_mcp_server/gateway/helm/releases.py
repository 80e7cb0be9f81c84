"""Requests of Helm's storage on their way to the API server and back: only releases pass, as much of each as may be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from k8s_mcp_server.gateway.dryrun import dry_run_target
from k8s_mcp_server.gateway.forwarding import FAILURES, DecidedRequest, WholeAnswer, failure
from k8s_mcp_server.gateway.head import Headers, RequestHead
from k8s_mcp_server.gateway.helm.access import ReleaseAccess, Shown
from k8s_mcp_server.gateway.helm.records import UnreadableRecord
from k8s_mcp_server.gateway.helm.requests import Operation, ReleaseRequest, only_releases
from k8s_mcp_server.gateway.helm.secrets import StoredRelease, read_stored
from k8s_mcp_server.gateway.status import Refusal, Refused
from k8s_mcp_server.gateway.target import Target

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.forwarding import Forwarder
    from k8s_mcp_server.gateway.front import FrontConnection
    from k8s_mcp_server.gateway.helm.secrets import ReleaseSecret
    from k8s_mcp_server.gateway.helm.unfinished import Begun, Unfinished
    from k8s_mcp_server.gateway.outgoing import Attribution
    from k8s_mcp_server.gateway.response import ResponseWriter

_DELETED: Final = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
_NO_BODY: Final = b""


@dataclass(slots=True, kw_only=True)
class ReleaseCall:
    """One decided request about releases.

    Args:
        access: what may be seen and done; may be replaced by a newer decision while a list is read.
        unfinished: the operations that the command has begun, which are told of writes.
    """

    request: ReleaseRequest
    access: ReleaseAccess
    head: RequestHead
    target: Target
    attribution: Attribution
    unfinished: Unfinished

    def edit(self, element: bytes) -> bytes | None:
        """One Secret of a list, as it may be seen; None when it may not, or holds no release."""
        stored = read_stored(element)
        return None if stored is None else self.seen(stored)

    def seen(self, stored: StoredRelease) -> bytes | None:
        """A stored release as it may be seen, None when it may not, or when its metadata cannot be told apart."""
        shown = self.access.shown(stored.release.key, namespace=stored.release.namespace)
        try:
            return None if shown is Shown.NOTHING else stored.body(whole=shown is Shown.WHOLE)
        except UnreadableRecord:
            return None


class Releases:
    """Forwards them.

    Args:
        forwarder: to the API server.
    """

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    async def forward(self, call: ReleaseCall, *, writer: ResponseWriter, connection: FrontConnection) -> None:
        """Forward the request and answer it.

        Raises:
            Refused: it was not done, or nobody knows; nothing was answered.
            ConnectionResetError: the client is gone.
        """
        if call.request.operation is Operation.LIST:
            await self._list(call, writer=writer, connection=connection)
            return
        try:
            answer = await self._answer(call)
        except FAILURES as error:
            raise Refused(failure(error, is_read=call.request.operation.is_read)) from error
        writer.answer(answer.status, answer.body, audit_id=call.attribution.audit_id)

    async def _list(self, call: ReleaseCall, *, writer: ResponseWriter, connection: FrontConnection) -> None:
        request = DecidedRequest(
            head=call.head,
            target=only_releases(call.target),
            info=call.request.info,
            body=None,
            attribution=call.attribution,
            cut=None,
            edit=call.edit,
        )
        await self._forwarder.forward(request, writer=writer, connection=connection)

    async def _answer(self, call: ReleaseCall) -> WholeAnswer:
        if call.request.operation is Operation.GET:
            return self._shown(call, await self._get(call))
        if call.request.operation is Operation.DELETE:
            return await self._delete(call)
        return await self._write(call)

    async def _get(self, call: ReleaseCall) -> WholeAnswer:
        head = replace(call.head, method="GET", content_length=0)
        return await self._forwarder.ask(
            head, target=replace(call.target, query=()), body=_NO_BODY, attribution=call.attribution
        )

    def _shown(self, call: ReleaseCall, answer: WholeAnswer) -> WholeAnswer:
        if answer.status != HTTPStatus.OK:
            return answer
        body = call.edit(answer.body)
        return _not_found(call.request) if body is None else WholeAnswer(status=answer.status, body=body)

    async def _delete(self, call: ReleaseCall) -> WholeAnswer:
        """Delete what was looked at a moment ago and is a release, and nothing that took its place."""
        found = await self._get(call)
        if found.status != HTTPStatus.OK:
            return found
        stored = read_stored(found.body)
        if stored is None:
            return _not_found(call.request)
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        options["preconditions"] = {"uid": stored.uid, "resourceVersion": stored.resource_version}
        if call.access.decision.dry_run:
            options["dryRun"] = ["All"]
        answer = await self._forwarder.ask(
            call.head,
            target=self._target(call),
            body=msgspec.json.encode(options),
            attribution=call.attribution,
            changes=True,
        )
        if answer.status >= HTTPStatus.BAD_REQUEST:
            return answer
        if not call.access.decision.dry_run:
            call.unfinished.deleted(stored.release)
        return WholeAnswer(status=answer.status, body=msgspec.json.encode(_DELETED))

    async def _write(self, call: ReleaseCall) -> WholeAnswer:
        secret = call.request.secret
        if secret is None:
            raise Refused(Refusal(code=400, message=call.request.problem))
        body = await asyncio.to_thread(secret.body)
        if call.access.decision.dry_run:
            return await self._send(call, body)
        call.unfinished.writing(secret, decision=call.access.decision, info=call.access.info)
        sending = asyncio.create_task(self._send_for_good(call, secret, body))
        call.unfinished.follow(sending)
        return await asyncio.shield(sending)  # a client that leaves now must not leave us without the answer

    async def _send_for_good(self, call: ReleaseCall, secret: ReleaseSecret, body: bytes) -> WholeAnswer:
        answer = await self._send(call, body)
        call.unfinished.wrote(secret, accepted=answer.status < HTTPStatus.BAD_REQUEST)
        return answer

    async def _send(self, call: ReleaseCall, body: bytes) -> WholeAnswer:
        answer = await self._forwarder.ask(
            call.head, target=self._target(call), body=body, attribution=call.attribution, changes=True
        )
        accepted = answer.status < HTTPStatus.BAD_REQUEST
        return WholeAnswer(status=answer.status, body=body) if accepted else answer

    async def end(self, begun: Begun, *, attribution: Attribution) -> int:
        """Mark a revision failed that a command has left pending, unless it is not there or not as it was left.

        Returns:
            The status of the write, 0 when there was nothing to write.

        Raises:
            Exception: one of ``FAILURES``.
        """
        target = Target(path=begun.path)
        head = _own_head("GET", target)
        found = await self._forwarder.ask(head, target=target, body=_NO_BODY, attribution=attribution)
        stored = read_stored(found.body) if found.status == HTTPStatus.OK else None
        if stored is None or not begun.is_unchanged(stored):
            return 0
        body = await asyncio.to_thread(begun.ended, stored)
        answer = await self._forwarder.ask(
            _own_head("PUT", target), target=target, body=body, attribution=attribution, changes=True
        )
        return answer.status

    def _target(self, call: ReleaseCall) -> Target:
        return dry_run_target(call.target) if call.access.decision.dry_run else call.target


def _own_head(method: str, target: Target) -> RequestHead:
    return RequestHead(
        method=method,
        target=target.encode(),
        headers=Headers(()),
        content_length=0,
        upgrade="",
        expects_continue=False,
        keep_alive=True,
    )


def _not_found(request: ReleaseRequest) -> WholeAnswer:
    """Of a Secret that holds no release: the API server's own words for what is not there."""
    name = request.info.name
    refusal = Refusal(
        code=HTTPStatus.NOT_FOUND, message=f'secrets "{name}" not found', details=(("name", name), ("kind", "secrets"))
    )
    return WholeAnswer(status=refusal.code, body=refusal.body())
