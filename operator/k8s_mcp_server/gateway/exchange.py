"""One request to the API server on its way through the gateway: whose is it, what does it ask, may it?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from k8s_mcp_server.gateway.dryrun import UnreadableBody, dry_run_body, dry_run_target
from k8s_mcp_server.gateway.forwarding import DecidedRequest, ForbiddenUpstream, Forwarder
from k8s_mcp_server.gateway.head import HeadRefused, RequestHead
from k8s_mcp_server.gateway.nothing import answer_nothing
from k8s_mcp_server.gateway.permissions import is_connect, required_requests
from k8s_mcp_server.gateway.planned import (
    NOTHING_FOR_ANYBODY,
    OUTSIDE,
    LeftOut,
    as_whole,
    is_left_out,
    misused,
    reader_of,
    resource_name,
)
from k8s_mcp_server.gateway.portforward.errors import ForwardRefused
from k8s_mcp_server.gateway.portforward.inspector import without_extensions
from k8s_mcp_server.gateway.requestinfo import UnresolvableRequest, first, request_info
from k8s_mcp_server.gateway.reviews.answer import Review, SelfReviews
from k8s_mcp_server.gateway.served import Accounting, CurrentCut, ServedRequest, malformed
from k8s_mcp_server.gateway.status import Refusal, Refused, forbidden
from k8s_mcp_server.gateway.target import Target, TargetRefused, parse_target
from k8s_mcp_server.gateway.tokenrequest import is_token_request, read_audiences
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.dry_run import may_change
from k8s_mcp_server.policy.sensitive import is_review_about_oneself

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.front import FrontConnection
    from k8s_mcp_server.gateway.helm.releases import Releases
    from k8s_mcp_server.gateway.plan import Opening
    from k8s_mcp_server.gateway.portforward.inspector import ForwardInspector
    from k8s_mcp_server.gateway.session import CommandSession
    from k8s_mcp_server.gateway.stream import ByteStream
    from k8s_mcp_server.policy.request import RequestInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Services(Accounting):
    """What every exchange uses."""

    forwarder: Forwarder
    reviews: SelfReviews
    releases: Releases


class Exchange(ServedRequest):
    """One request and its answer.

    Args:
        services: what it uses.
        connection: the client's.
        head: of the request.
        body: of the request, still arriving.
    """

    def __init__(self, services: Services, *, connection: FrontConnection, head: RequestHead, body: ByteStream) -> None:
        super().__init__(services, connection=connection, head=head, body=body)
        self._services = services
        self._made: tuple[RequestInfo, ...] = ()
        self._opening: Opening | None = None

    async def serve(self) -> None:
        """Answer the request and record it.

        Raises:
            ConnectionResetError: the client is gone.
        """
        try:
            session = self._authenticate(self._head.bearer_token)
            target, info = self._understand()
            await self._serve(session, target, info)
        except (LeftOut, ForbiddenUpstream):
            await self._answer_nothing()
        except Refused as refused:
            self._refuse(refused.refusal)
        except ForwardRefused as error:
            self._deny(misused(error))
            self._connection.abort()
        except HeadRefused as error:  # the body, read while the request was being served
            self._decision = malformed(error.message)
            self._refuse(Refusal(code=error.status, message=error.message))
        finally:
            self._end(status=self._writer.status)

    async def _serve(self, session: CommandSession, target: Target, info: RequestInfo) -> None:
        """Answer a request that was understood."""
        info = await self._decide(session, info)
        if is_review_about_oneself(info):
            await self._answer_review(session, target, info)
        else:
            await self._forward(session, target, info)

    def _understand(self) -> tuple[Target, RequestInfo]:
        try:
            target = parse_target(self._head.target)
            info = request_info(self._head.method, target.path, target.query)
        except (TargetRefused, UnresolvableRequest) as error:
            self._deny(malformed(f"The request is refused: {error}."))
            raise Refused(Refusal(code=400, message=self._decision.message)) from error
        info = replace(info, upgrade=bool(self._head.upgrade))
        self._info = info
        if info.upgrade and not info.subresource:
            self._deny(malformed("Only a subresource's connection can be upgraded."))
            raise Refused(Refusal(code=400, message=self._decision.message))
        return target, info

    async def _decide(self, session: CommandSession, info: RequestInfo) -> RequestInfo:
        content_type = self._head.headers.get("content-type")
        if is_token_request(info):
            audiences = read_audiences(await self._whole_body(), content_type=content_type)
            self._info = info = replace(info, audiences=audiences)
        session.about(info.namespace)
        required = required_requests(info, method=self._head.method, content_type=content_type)
        decision = await self._decide_as_planned(session, info, required)
        if not decision.allowed:
            if is_left_out(decision, info, plan=session.plan):
                self._decision = decision
                raise LeftOut
            self._deny(decision)
            raise Refused(forbidden(decision, info))
        self._decision = decision
        session.count(decision)
        if session.plan.may_see_less and decision.verdict is Verdict.FILTERED:
            session.left_out[OUTSIDE] = None
        return info

    async def _decide_as_planned(
        self, session: CommandSession, info: RequestInfo, required: tuple[RequestInfo, ...]
    ) -> Decision:
        """By the right that the command's plan names for the request; by what it requires where the plan says nothing.

        Raises:
            LeftOut: the plan has nothing for it, whoever asks.
        """
        authorizer, client, tool = self._services.authorizer, session.client, session.tool
        self._opening = opening = session.plan.find(info)
        if opening is None:
            self._required = required
            return await authorizer.authorize(required, client=client, tool=tool)
        right = opening.right_for(info)
        if right is None:
            self._decision = NOTHING_FOR_ANYBODY
            raise LeftOut
        self._required, self._made = (right,), required
        await authorizer.find_withheld(self._made, client=client, tool=tool)  # looks up what is not known yet
        decision = as_whole(await authorizer.authorize(self._required, client=client, tool=tool))
        return authorizer.withheld(self._made, client=client, tool=tool) or decision

    def _decide_again(self, session: CommandSession) -> Decision:
        withheld = self._services.authorizer.withheld(self._made, client=session.client, tool=session.tool)
        decision = withheld or super()._decide_again(session)
        return as_whole(decision) if self._opening is not None else decision

    async def _forward(self, session: CommandSession, target: Target, info: RequestInfo) -> None:
        if self._decision.cut is not None:
            self._cut = CurrentCut(newest=self._decision.cut)
        elif self._decision.verdict is Verdict.FILTERED:
            raise Refused(Refusal(code=502, message="The answer cannot be cut to what you may see."))
        head, reader = self._head, self._reader(info)
        if reader is not None:
            head = without_extensions(head)
        if self._decision.dry_run:
            head, target = await self._dry_run_head(), dry_run_target(target)
        self._count_write(session, target, info)
        request = DecidedRequest(
            head=head,
            target=target,
            info=info,
            body=self._body if self._head.has_body else None,
            attribution=self._attribution(session),
            cut=self._cut,
            inspector=reader,
            is_dispensable=session.plan.leaves_out(info),
        )
        await self._services.forwarder.forward(request, writer=self._writer, connection=self._connection)

    def _count_write(self, session: CommandSession, target: Target, info: RequestInfo) -> None:
        if self._decision.dry_run:
            session.dry_runs += 1
        elif may_change(info if self._opening is None else self._required[0]) and not self._asks_for_dry_run(target):
            session.writes += 1

    def _asks_for_dry_run(self, target: Target) -> bool:
        """Whether the client does so itself, where the API server looks (dryrun.py)."""
        has_options = self._head.method == "DELETE" and self._head.has_body
        return not has_options and bool(first(target.query, "dryRun"))

    async def _answer_review(self, session: CommandSession, target: Target, info: RequestInfo) -> None:
        review = Review(
            head=self._head,
            target=target,
            info=info,
            body=await self._whole_body(),
            client=session.client,
            tool=session.tool,
            attribution=self._attribution(session),
        )
        await self._services.reviews.answer(review, self._writer)

    def _reader(self, info: RequestInfo) -> ForwardInspector | None:
        """What reads the client's side of a planned port-forward."""
        if self._opening is None or not is_connect(info):
            return None
        reader = reader_of(self._opening, self._head)
        if reader is None:
            self._deny(malformed("A planned port-forward is asked for in a way that cannot be read."))
            raise Refused(Refusal(code=400, message=self._decision.message))
        return reader

    async def _answer_nothing(self) -> None:
        session, info = self._session, self._info
        if session is None or info is None:
            raise RuntimeError("nothing is left out before a request is understood")
        named = self._opening.unseen if self._opening is not None else ""
        session.left_out[named or resource_name(info)] = None
        await answer_nothing(
            info,
            target=parse_target(self._head.target),
            accept=self._head.headers.get("accept"),
            kind=self._services.authorizer.kind_of(group=info.api_group, resource=info.resource),
            writer=self._writer,
            audit_id=self._audit_id,
        )

    async def _dry_run_head(self) -> RequestHead:
        """Make the body that of a dry run, where the API server would look for it there; the head that goes with it."""
        head = self._head
        if head.method != "DELETE" or not head.has_body:
            return head
        body = await self._whole_body()
        if not body:
            return head
        try:
            rewritten = dry_run_body(body, content_type=head.headers.get("content-type"))
        except UnreadableBody as error:
            refused = malformed(f"The request is refused: it would be a dry run, and {error}.")
            self._deny(replace(refused, reason=Reason.NO_DRY_RUN))
            raise Refused(Refusal(code=400, message=self._decision.message)) from error
        self._body.take()
        self._body.unread(rewritten)
        return replace(head, content_length=len(rewritten))

    def _refuse(self, refusal: Refusal) -> None:
        if self._writer.started:
            self._connection.abort()
            return
        if self._head.expects_continue and not self._body.finished:
            self._connection.close_after_response = True  # whether the client still sends the body is its choice
        self._writer.refuse(refusal, audit_id=self._audit_id)
