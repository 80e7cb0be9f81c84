"""The gateway as the rest of the service sees it: a port, a certificate, and a token for each command."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.argocd.exchange import AUTHENTICATION_HEADER, ArgoCDExchange
from k8s_mcp_server.gateway.connect.addresses import Addresses, Resolve, resolve
from k8s_mcp_server.gateway.connect.exchange import ConnectExchange
from k8s_mcp_server.gateway.exchange import Exchange, Services
from k8s_mcp_server.gateway.forwarding import FAILURES, Forwarder
from k8s_mcp_server.gateway.front import FrontConnection, FrontLimits
from k8s_mcp_server.gateway.head import CONNECT
from k8s_mcp_server.gateway.helm.exchange import HelmExchange
from k8s_mcp_server.gateway.helm.releases import Releases
from k8s_mcp_server.gateway.outgoing import Attribution
from k8s_mcp_server.gateway.pool import UpstreamLimits, UpstreamPool
from k8s_mcp_server.gateway.response import ResponseWriter
from k8s_mcp_server.gateway.reviews.answer import SelfReviews
from k8s_mcp_server.gateway.served import malformed
from k8s_mcp_server.gateway.session import CommandSession, Sessions
from k8s_mcp_server.gateway.status import Refusal
from k8s_mcp_server.gateway.tls import LOOPBACK, server_context
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.telemetry.audit import AuditLog, RequestRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k8s_mcp_server.cluster.connection import ApiServer
    from k8s_mcp_server.gateway.argocd.instance import ArgoCD
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.gateway.head import HeadRefused, RequestHead
    from k8s_mcp_server.gateway.helm.unfinished import Begun
    from k8s_mcp_server.gateway.stream import ByteStream
    from k8s_mcp_server.telemetry.metrics import Metrics

MOST_CONNECTIONS: Final = 1024
MOST_UNAUTHENTICATED: Final = 128
_EXCHANGES: Final = {Tool.HELM: HelmExchange}  # of CLIs whose requests mean more than they say
_END_SECONDS: Final = 5.0
_log = logging.getLogger(__name__)


class Gateway:
    """The loopback listener through which every command reaches the API server.

    Args:
        api_server: what is behind it.
        authorizer: decides each request.
        metrics: counts decisions and forwarded requests.
        audit: gets a record of each request.
        service_account: our own username (``system:serviceaccount:<namespace>:<name>``), which requests act as.
        argocd: instances of Argo CD, by name, the first being meant where a command names none.
        look_up: finds the addresses of chart hosts.
        front_limits: of the commands' connections.
        upstream_limits: of the API server's.
    """

    def __init__(
        self,
        *,
        api_server: ApiServer,
        authorizer: Authorizer,
        metrics: Metrics,
        audit: AuditLog,
        service_account: str,
        argocd: Mapping[str, ArgoCD] | None = None,
        look_up: Resolve = resolve,
        front_limits: FrontLimits | None = None,
        upstream_limits: UpstreamLimits | None = None,
    ) -> None:
        self._pool = UpstreamPool(api_server, limits=upstream_limits or UpstreamLimits())
        self._sessions = Sessions()
        forwarder = Forwarder(api_server=api_server, pool=self._pool, metrics=metrics)
        self._services = Services(
            sessions=self._sessions,
            authorizer=authorizer,
            forwarder=forwarder,
            reviews=SelfReviews(authorizer=authorizer, forwarder=forwarder),
            releases=Releases(forwarder),
            metrics=metrics,
            audit=audit,
            service_account=service_account,
        )
        self._argocd: Mapping[str, ArgoCD] = argocd or {}
        self._addresses = Addresses(
            never=lambda: ((api_server.host, api_server.port), (LOOPBACK, self._port)), look_up=look_up
        )
        self._limits = front_limits or FrontLimits()
        self._connections: set[FrontConnection] = set()
        self._newest: deque[FrontConnection] = deque()  # among them all that have not shown a token yet
        self._server: asyncio.Server | None = None
        self._port = 0
        self._ca_pem = ""

    @property
    def port(self) -> int:
        """The port on 127.0.0.1; the same for the life of the process."""
        return self._port

    @property
    def ca_pem(self) -> str:
        """The certificate that the gateway's own is verified with."""
        return self._ca_pem

    @property
    def clients(self) -> frozenset[str]:
        """The usernames of those whose commands run now."""
        return frozenset(session.client.username for session in self._sessions)

    async def start(self) -> None:
        """Listen, with a new certificate.

        Raises:
            OSError: the loopback address cannot be bound.
        """
        context, self._ca_pem = server_context()
        self._server = await asyncio.get_running_loop().create_server(
            self._connection,
            LOOPBACK,
            0,
            ssl=context,
            ssl_handshake_timeout=self._limits.head_seconds,
            ssl_shutdown_timeout=1,
            backlog=256,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End every connection and stop listening."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            await connection.end()
        self._pool.close()
        for instance in self._argocd.values():
            instance.close()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def open(self, *, client: Client, tool: Tool, command_id: str) -> CommandSession:
        """A token for one command, valid until its session is closed."""
        session = CommandSession(client=client, tool=tool, command_id=command_id)
        self._sessions.add(session)
        return session

    async def close_session(self, session: CommandSession) -> None:
        """Make the command's token invalid and break its connections, whatever they are doing.

        Operations on releases that helm has begun and not ended are then marked as failed, by the decision on their
        beginning.
        """
        self._sessions.remove(session)
        for begun in await session.unfinished.left():
            await self._end_operation(begun, session)

    async def _end_operation(self, begun: Begun, session: CommandSession) -> None:
        services, started, status = self._services, time.monotonic(), 0
        attribution = Attribution(
            service_account=services.service_account,
            client=session.client.username,
            command_id=session.command_id,
            audit_id=str(uuid.uuid4()),
        )
        try:
            async with asyncio.timeout(_END_SECONDS):
                status = await services.releases.end(begun, attribution=attribution)
        except (*FAILURES, TimeoutError) as error:
            _log.warning("command %s left a release pending, and it could not be ended: %s", session.command_id, error)
        services.audit.request(
            RequestRecord(
                command_id=session.command_id,
                audit_id=attribution.audit_id,
                client=session.client,
                tool=session.tool.value,
                method="PUT",
                request=begun.info,
                target=begun.path,
                decision=begun.decision,
                status=status,
                duration_seconds=time.monotonic() - started,
            )
        )

    def revalidate(self) -> None:
        """Decide every request again that is being served; call it when the policies may have changed.

        A command whose request is taken back is ended, and so is one whose client has nothing left, whatever it does.
        """
        for session in self._sessions:
            for exchange in tuple(session.in_flight):
                exchange.revalidate()
            lost = self._services.authorizer.lost_standing(client=session.client, tool=session.tool)
            if lost is not None:
                session.end(lost)

    # The handler of the connections (front.py)

    async def handle(self, head: RequestHead, body: ByteStream, connection: FrontConnection) -> None:
        """Serve one request."""
        if head.method == CONNECT:
            await ConnectExchange(
                self._services, addresses=self._addresses, connection=connection, head=head, body=body
            ).serve()
            return
        session = self._sessions.find(head.headers.get(AUTHENTICATION_HEADER) or head.bearer_token)
        if session is not None and session.tool is Tool.ARGOCD:
            await ArgoCDExchange(
                self._services, instances=self._argocd, connection=connection, head=head, body=body
            ).serve()
            return
        kind = _EXCHANGES.get(session.tool, Exchange) if session is not None else Exchange
        await kind(self._services, connection=connection, head=head, body=body).serve()

    async def refuse(self, error: HeadRefused, connection: FrontConnection) -> None:
        """Answer what is no request with a 4xx, and record it."""
        decision = malformed(error.message)
        writer = ResponseWriter(connection, keep_alive=False)
        writer.refuse(Refusal(code=error.status, message=f"The request is refused: {error.message}."))
        session = connection.session
        if session is not None:
            session.count(decision)
        self._services.metrics.decision(verdict=decision.verdict.value, reason=decision.reason.value)
        self._services.audit.request(
            RequestRecord(
                command_id=session.command_id if session else "",
                audit_id=str(uuid.uuid4()),
                client=session.client if session else Client(username=""),
                tool=session.tool.value if session else "",
                method="",
                request=None,
                target="",
                decision=decision,
                status=writer.status,
                duration_seconds=0.0,
            )
        )

    def _connection(self) -> FrontConnection:
        return FrontConnection(handler=self, limits=self._limits, accept=self._opened, closed=self._closed)

    def _opened(self, connection: FrontConnection) -> bool:
        self._connections.add(connection)
        self._newest.append(connection)
        while len(self._newest) > MOST_UNAUTHENTICATED:
            oldest = self._newest.popleft()
            if oldest.session is None:  # a command shows its token at once
                oldest.abort()
        return len(self._connections) <= MOST_CONNECTIONS

    def _closed(self, connection: FrontConnection) -> None:
        self._connections.discard(connection)
        with contextlib.suppress(ValueError):  # not among the newest any more
            self._newest.remove(connection)
        if connection.session is not None:
            connection.session.connections.discard(connection)
