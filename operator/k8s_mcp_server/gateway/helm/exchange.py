"""One request of helm on its way through the gateway: those of its storage are about releases, not about Secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8s_mcp_server.gateway.exchange import Exchange, Services
from k8s_mcp_server.gateway.helm.access import authorize, decide_again
from k8s_mcp_server.gateway.helm.releases import ReleaseCall
from k8s_mcp_server.gateway.helm.requests import (
    Operation,
    ReleaseRequest,
    is_about_secrets,
    read_request,
    read_write,
)
from k8s_mcp_server.gateway.permissions import required_requests
from k8s_mcp_server.gateway.status import Refused, forbidden

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.front import FrontConnection
    from k8s_mcp_server.gateway.head import RequestHead
    from k8s_mcp_server.gateway.session import CommandSession
    from k8s_mcp_server.gateway.stream import ByteStream
    from k8s_mcp_server.gateway.target import Target
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.request import RequestInfo


class HelmExchange(Exchange):
    """A request of a helm command."""

    def __init__(self, services: Services, *, connection: FrontConnection, head: RequestHead, body: ByteStream) -> None:
        super().__init__(services, connection=connection, head=head, body=body)
        self._call: ReleaseCall | None = None

    async def _serve(self, session: CommandSession, target: Target, info: RequestInfo) -> None:
        if not is_about_secrets(info):
            await super()._serve(session, target, info)
        elif info.verb in {Operation.CREATE, Operation.UPDATE}:
            body, content_type = await self._whole_body(), self._head.headers.get("content-type")
            async with session.writes_release:  # a small record may unpack to a large one, held until it is written
                release = read_write(info, body=body, content_type=content_type)
                await self._serve_secret(session, target, info, release)
        else:
            await self._serve_secret(session, target, info, read_request(info, target=target))

    async def _serve_secret(
        self, session: CommandSession, target: Target, info: RequestInfo, release: ReleaseRequest | None
    ) -> None:
        if release is None:
            await super()._serve(session, target, info)
        else:
            await self._serve_release(session, target, release)

    async def _serve_release(self, session: CommandSession, target: Target, release: ReleaseRequest) -> None:
        content_type = self._head.headers.get("content-type")
        required = required_requests(release.info, method=self._head.method, content_type=content_type)
        access = await authorize(
            release, stored=required, authorizer=self._services.authorizer, client=session.client, tool=session.tool
        )
        self._info = access.info
        if not access.decision.allowed:
            self._deny(access.decision)
            raise Refused(forbidden(access.decision, access.info))
        self._required, self._decision = required, access.decision
        session.count(access.decision)
        self._count_write(session, target, release.info)
        self._call = ReleaseCall(
            request=release,
            access=access,
            head=self._head,
            target=target,
            attribution=self._attribution(session),
            unfinished=session.unfinished,
        )
        await self._services.releases.forward(self._call, writer=self._writer, connection=self._connection)

    def _decide_again(self, session: CommandSession) -> Decision:
        if self._call is None:
            return super()._decide_again(session)
        self._call.access = decide_again(
            self._call.request,
            stored=self._required,
            authorizer=self._services.authorizer,
            client=session.client,
            tool=session.tool,
        )
        return self._call.access.decision
