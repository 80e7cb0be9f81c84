"""One request's way through the gateway: whose is it, what does it ask, may it, and what became of it."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.dryrun import UnreadableBody, dry_run_body, dry_run_target
from k8s_mcp_server.gateway.forwarding import DecidedRequest, ForbiddenUpstream, Forwarder
from k8s_mcp_server.gateway.head import HeadRefused, RequestHead
from k8s_mcp_server.gateway.nothing import answer_nothing
from k8s_mcp_server.gateway.outgoing import Attribution
from k8s_mcp_server.gateway.permissions import is_connect, required_requests
from k8s_mcp_server.gateway.planned import (
    NOTHING_FOR_ANYBODY,
    LeftOut,
    as_whole,
    is_left_out,
    misused,
    reader_of,
    resource_name,
)
from k8s_mcp_server.gateway.portforward.errors import ForwardRefused
from k8s_mcp_server.gateway.portforward.inspector import without_extensions
from k8s_mcp_server.gateway.recorded import recorded_target
from k8s_mcp_server.gateway.requestinfo import UnresolvableRequest, first, request_info
from k8s_mcp_server.gateway.response import ResponseWriter
from k8s_mcp_server.gateway.reviews.answer import Review, SelfReviews
from k8s_mcp_server.gateway.status import Refusal, Refused, forbidden
from k8s_mcp_server.gateway.target import Target, TargetRefused, parse_target
from k8s_mcp_server.gateway.tokenrequest import is_token_request, read_audiences
from k8s_mcp_server.policy.decision import Decision, ListCut, Reason, Verdict
from k8s_mcp_server.policy.dry_run import may_change
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.sensitive import is_review_about_oneself
from k8s_mcp_server.telemetry.audit import AuditLog, RequestRecord

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.gateway.front import FrontConnection
    from k8s_mcp_server.gateway.plan import Opening
    from k8s_mcp_server.gateway.portforward.inspector import ForwardInspector
    from k8s_mcp_server.gateway.session import CommandSession, Sessions
    from k8s_mcp_server.gateway.stream import ByteStream
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.telemetry.metrics import Metrics

MOST_CONNECTIONS_OF_A_COMMAND: Final = 64
MOST_REQUESTS_OF_A_CLIENT: Final = 256  # at once, watches included; istioctl analyze alone opens some forty
_RETRY_SECONDS: Final = 1
_NOBODY: Final = Client(username="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What every exchange uses.

    Args:
        service_account: our own username, which forwarded requests act as.
    """

    sessions: Sessions
    authorizer: Authorizer
    forwarder: Forwarder
    reviews: SelfReviews
    metrics: Metrics
    audit: AuditLog
    service_account: str


@dataclass(slots=True, kw_only=True)
class _CurrentCut:
    """The cut as the newest decision has it."""

    newest: ListCut

    def allows(self, *, namespace: str, name: str) -> bool:
        return self.newest.allows(namespace=namespace, name=name)


class Exchange:
    """One request and its answer.

    Args:
        services: what it uses.
        connection: the client's.
        head: of the request.
        body: of the request, still arriving.
    """

    def __init__(self, services: Services, *, connection: FrontConnection, head: RequestHead, body: ByteStream) -> None:
        self._services = services
        self._connection = connection
        self._head = head
        self._body = body
        self._session: CommandSession | None = None
        self._info: RequestInfo | None = None
        self._required: tuple[RequestInfo, ...] = ()
        self._made: tuple[RequestInfo, ...] = ()
        self._opening: Opening | None = None
        self._decision = malformed("The request was not understood.")
        self._cut: _CurrentCut | None = None
        self._audit_id = str(uuid.uuid4())
        self._started = time.monotonic()
        self._writer = ResponseWriter(connection, keep_alive=head.keep_alive)

    async def serve(self) -> None:
        """Answer the request and record it.

        Raises:
            ConnectionResetError: the client is gone.
        """
        try:
            session = self._authenticate()
            target, info = self._understand()
            info = await self._decide(session, info)
            if is_review_about_oneself(info):
                await self._answer_review(session, target, info)
            else:
                await self._forward(session, target, info)
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
            self._end()

    def revalidate(self) -> None:
        """Decide again; end the request, in the middle of its answer if need be, when it may not go on as it is."""
        session = self._session
        if session is None or not self._required or not self._decision.allowed:
            return
        authorizer = self._services.authorizer
        decision = authorizer.withheld(self._made, client=session.client, tool=session.tool) or authorizer.decide(
            self._required, client=session.client, tool=session.tool
        )
        if self._opening is not None:
            decision = as_whole(decision)
        if _kind(decision) != _kind(self._decision):
            self._deny(_ended(decision) if decision.allowed else decision)
            session.requests_revoked += 1
            self._connection.abort()
        elif self._cut is not None and decision.cut is not None:
            self._cut.newest = decision.cut

    def _authenticate(self) -> CommandSession:
        session = self._services.sessions.find(self._head.bearer_token)
        bound = self._connection.session
        if session is None or (bound is not None and bound is not session):
            self._connection.close_after_response = True
            self._decision = malformed("The token is not that of a running command.")
            raise Refused(Refusal(code=401, message=self._decision.message))
        if bound is None and len(session.connections) >= MOST_CONNECTIONS_OF_A_COMMAND:
            self._connection.close_after_response = True
            raise self._too_many("The command has too many connections open.")
        self._connection.session = session
        session.connections.add(self._connection)
        self._session = session
        if self._services.sessions.in_flight_of(session.client) >= MOST_REQUESTS_OF_A_CLIENT:
            raise self._too_many("Your commands have too many requests under way.")
        session.in_flight.add(self)
        return session

    def _too_many(self, message: str) -> Refused:
        """client-go waits as long as the answer says, and tries again (k8s.io/client-go/rest/with_retry.go)."""
        self._decision = Decision(verdict=Verdict.DENY, reason=Reason.TOO_MANY_REQUESTS, message=message)
        return Refused(Refusal(code=429, message=message, retry_after=_RETRY_SECONDS))

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
        required = required_requests(info, method=self._head.method, content_type=content_type)
        made: tuple[RequestInfo, ...] = ()
        self._opening = opening = session.plan.find(info)
        if opening is not None:
            right = opening.right_for(info)
            if right is None:
                self._decision = NOTHING_FOR_ANYBODY
                raise LeftOut
            required, made = (right,), required
        authorizer, client, tool = self._services.authorizer, session.client, session.tool
        decision = await authorizer.find_withheld(made, client=client, tool=tool)
        decision = decision or await authorizer.authorize(required, client=client, tool=tool)
        if opening is not None:
            decision = as_whole(decision)
        if not decision.allowed:
            if is_left_out(decision, info, plan=session.plan):
                self._decision = decision
                raise LeftOut
            self._deny(decision)
            raise Refused(forbidden(decision, info))
        self._required, self._made, self._decision = required, made, decision
        session.count(decision)
        return info

    async def _forward(self, session: CommandSession, target: Target, info: RequestInfo) -> None:
        if self._decision.cut is not None:
            self._cut = _CurrentCut(newest=self._decision.cut)
        elif self._decision.verdict is Verdict.FILTERED:
            raise Refused(Refusal(code=502, message="The answer cannot be cut to what you may see."))
        head, inspector = self._head, self._inspector(info)
        if inspector is not None:
            head = without_extensions(head)
        if self._decision.dry_run:
            head, target = await self._dry_run_head(), dry_run_target(target)
            session.dry_runs += 1
        elif self._changes_something(info) and not first(target.query, "dryRun"):
            session.writes += 1
        request = DecidedRequest(
            head=head,
            target=target,
            info=info,
            body=self._body if self._head.has_body else None,
            attribution=self._attribution(session),
            cut=self._cut,
            inspector=inspector,
            is_dispensable=session.plan.leaves_out(info),
        )
        await self._services.forwarder.forward(request, writer=self._writer, connection=self._connection)

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

    def _inspector(self, info: RequestInfo) -> ForwardInspector | None:
        """What reads the client's side of a planned port-forward."""
        if self._opening is None or not is_connect(info):
            return None
        reader = reader_of(self._opening, self._head)
        if reader is None:
            self._deny(malformed("A planned port-forward is asked for in a way that cannot be read."))
            raise Refused(Refusal(code=400, message=self._decision.message))
        return reader

    def _changes_something(self, info: RequestInfo) -> bool:
        return may_change(self._required[0] if self._opening is not None else info)

    async def _answer_nothing(self) -> None:
        session, info = self._session, self._info
        if session is None or info is None:
            raise RuntimeError("nothing is left out before a request is understood")
        session.left_out[resource_name(info)] = None
        await answer_nothing(
            info,
            target=parse_target(self._head.target),
            accept=self._head.headers.get("accept"),
            kind=self._services.authorizer.kind_of(group=info.api_group, resource=info.resource),
            writer=self._writer,
            audit_id=self._audit_id,
        )

    def _attribution(self, session: CommandSession) -> Attribution:
        return Attribution(
            service_account=self._services.service_account,
            client=session.client.username,
            command_id=session.command_id,
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

    async def _whole_body(self) -> bytes:
        """The body, read ahead of its forwarding; the front limits its size."""
        if self._head.expects_continue and not self._body.finished:
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        parts = []
        while data := await self._body.read():
            parts.append(data)
        body = b"".join(parts)
        self._body.unread(body)
        return body

    def _deny(self, decision: Decision) -> None:
        self._decision = decision
        if self._session is not None:
            self._session.count(decision)

    def _refuse(self, refusal: Refusal) -> None:
        if self._writer.started:
            self._connection.abort()
            return
        if self._head.expects_continue and not self._body.finished:
            self._connection.close_after_response = True  # whether the client still sends the body is its choice
        self._writer.refuse(refusal, audit_id=self._audit_id)

    def _end(self) -> None:
        if self._session is not None:
            self._session.in_flight.discard(self)
        services, decision = self._services, self._decision
        services.metrics.decision(verdict=decision.verdict.value, reason=decision.reason.value)
        services.audit.request(
            RequestRecord(
                command_id=self._session.command_id if self._session else "",
                audit_id=self._audit_id,
                client=self._session.client if self._session else _NOBODY,
                tool=self._session.tool.value if self._session else "",
                method=self._head.method,
                request=self._info,
                target=recorded_target(self._head.target),
                decision=decision,
                status=self._writer.status,
                duration_seconds=time.monotonic() - self._started,
            )
        )


def _ended(decision: Decision) -> Decision:
    """The denial of a request that may not go on as it runs, though a new one would be allowed in another way."""
    return Decision(
        verdict=Verdict.DENY,
        reason=Reason.NOT_ALLOWED,
        message="A policy changed while the request ran, so it was ended. Run the command again.",
        matched=decision.matched,
    )


def _kind(decision: Decision) -> tuple[Verdict, bool, bool]:
    """What of a decision cannot change while its request runs."""
    return decision.verdict, decision.dry_run, decision.cut is None


def malformed(message: str) -> Decision:
    """The decision about what is no request that could be decided."""
    return Decision(verdict=Verdict.DENY, reason=Reason.MALFORMED_REQUEST, message=message)
