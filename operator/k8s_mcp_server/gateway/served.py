"""One request of a command, whatever protocol it speaks: whose it is, what was decided about it, and its record."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.outgoing import Attribution
from k8s_mcp_server.gateway.recorded import recorded_target
from k8s_mcp_server.gateway.response import ResponseWriter
from k8s_mcp_server.gateway.status import Refusal, Refused
from k8s_mcp_server.policy.decision import Decision, ListCut, Reason, Verdict
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.telemetry.audit import AuditLog, RequestRecord

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.gateway.front import FrontConnection
    from k8s_mcp_server.gateway.head import RequestHead
    from k8s_mcp_server.gateway.session import CommandSession, Sessions
    from k8s_mcp_server.gateway.stream import ByteStream
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.telemetry.metrics import Metrics

MOST_CONNECTIONS_OF_A_COMMAND: Final = 64
MOST_REQUESTS_OF_A_CLIENT: Final = 256  # at once, watches included; istioctl analyze alone opens some forty
MOST_HELD_BYTES: Final = 8 * 1024 * 1024  # of a command's bodies that are read ahead of their forwarding
_RETRY_SECONDS: Final = 1
_NOBODY: Final = Client(username="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """What every request is served with.

    Args:
        service_account: our own username, which forwarded requests act as.
    """

    sessions: Sessions
    authorizer: Authorizer
    metrics: Metrics
    audit: AuditLog
    service_account: str


@dataclass(slots=True, kw_only=True)
class CurrentCut:
    """A cut of a list as the newest decision has it."""

    newest: ListCut

    def allows(self, *, namespace: str, name: str) -> bool:
        """Whether the object may reach the client."""
        return self.newest.allows(namespace=namespace, name=name)


class ServedRequest:
    """What the requests of all protocols have in common; one is served by a subclass, which must call `_end`.

    Args:
        accounting: what it is served with.
        connection: the client's.
        head: of the request.
        body: of the request, still arriving.
    """

    def __init__(
        self, accounting: Accounting, *, connection: FrontConnection, head: RequestHead, body: ByteStream
    ) -> None:
        self._accounting = accounting
        self._connection = connection
        self._head = head
        self._body = body
        self._session: CommandSession | None = None
        self._info: RequestInfo | None = None
        self._required: tuple[RequestInfo, ...] = ()
        self._decision = malformed("The request was not understood.")
        self._cut: CurrentCut | None = None
        self._held_bytes = 0
        self._audit_id = str(uuid.uuid4())
        self._started = time.monotonic()
        self._writer = ResponseWriter(connection, keep_alive=head.keep_alive)

    def revalidate(self) -> None:
        """Decide again; end the request, in the middle of its answer if need be, when it may not go on as it is."""
        session = self._session
        if session is None or not self._required or not self._decision.allowed:
            return
        decision = self._decide_again(session)
        if _kind(decision) != _kind(self._decision):
            self._deny(_ended(decision) if decision.allowed else decision)
            session.requests_revoked += 1
            session.end(self._decision)
            self._connection.abort()
        elif self._cut is not None and decision.cut is not None:
            self._cut.newest = decision.cut

    def _decide_again(self, session: CommandSession) -> Decision:
        """The decision about a request that was allowed, as it would be now."""
        return self._accounting.authorizer.decide(self._required, client=session.client, tool=session.tool)

    def _authenticate(self, token: str) -> CommandSession:
        """The session that the token belongs to.

        Raises:
            Refused: there is none, the connection is another's, or the client has too much under way.
        """
        session = self._accounting.sessions.find(token)
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
        if self._accounting.sessions.in_flight_of(session.client) >= MOST_REQUESTS_OF_A_CLIENT:
            raise self._too_many("Your commands have too many requests under way.")
        session.in_flight.add(self)
        return session

    def _too_many(self, message: str) -> Refused:
        """client-go waits as long as the answer says, and tries again (k8s.io/client-go/rest/with_retry.go)."""
        self._decision = Decision(verdict=Verdict.DENY, reason=Reason.TOO_MANY_REQUESTS, message=message)
        return Refused(Refusal(code=429, message=message, retry_after=_RETRY_SECONDS))

    def _attribution(self, session: CommandSession) -> Attribution:
        return Attribution(
            service_account=self._accounting.service_account,
            client=session.client.username,
            command_id=session.command_id,
            audit_id=self._audit_id,
        )

    async def _whole_body(self) -> bytes:
        """The body, read ahead of its forwarding; the front limits its size.

        Raises:
            Refused: the command's requests hold too much already.
        """
        if self._head.expects_continue and not self._body.finished:
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        parts = []
        while data := await self._body.read():
            self._hold(len(data))
            parts.append(data)
        body = b"".join(parts)
        self._body.unread(body)
        return body

    def _hold(self, size: int) -> None:
        """Count bytes that are held until the request has ended."""
        if self._session is None:
            raise RuntimeError("no body is read before it is known whose it is")
        if self._session.held_bytes + size > MOST_HELD_BYTES:
            self._connection.close_after_response = True
            raise self._too_many("The command's requests are too large to be served at the same time.")
        self._session.held_bytes += size
        self._held_bytes += size

    def _deny(self, decision: Decision) -> None:
        self._decision = decision
        if self._session is not None:
            self._session.count(decision)

    def _end(self, *, status: int) -> None:
        """Record what became of the request; ``status`` is what the client got, in the terms of HTTP."""
        if self._session is not None:
            self._session.in_flight.discard(self)
            self._session.held_bytes -= self._held_bytes
        accounting, decision = self._accounting, self._decision
        accounting.metrics.decision(verdict=decision.verdict.value, reason=decision.reason.value)
        accounting.audit.request(
            RequestRecord(
                command_id=self._session.command_id if self._session else "",
                audit_id=self._audit_id,
                client=self._session.client if self._session else _NOBODY,
                tool=self._session.tool.value if self._session else "",
                method=self._head.method,
                request=self._info,
                target=recorded_target(self._head.target),
                decision=decision,
                status=status,
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
