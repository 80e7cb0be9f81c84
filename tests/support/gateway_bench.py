"""A gateway in front of a fake API server, decided by what a test says: the parts that tests name."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.gateway.gateway import Gateway
from k8s_mcp_server.gateway.session import CommandSession
from k8s_mcp_server.policy.catalog import Catalog, Scope
from k8s_mcp_server.policy.decide import DecisionContext
from k8s_mcp_server.policy.decision import Decision, ListCut, Reason, RuleRef, Verdict
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.snapshot import Snapshot
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.telemetry.audit import AuditLog, RequestAudit, RequestRecord
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.fake_upstream import FakeUpstream
from tests.support.raw_http import RawClient, RawResponse, request
from tests.support.waiting import eventually

AGENT = Client(username="system:serviceaccount:team-a-agents:deployer")
OURSELVES = "system:serviceaccount:k8s-mcp-system:k8s-mcp-server"
RULE = RuleRef(policy="team-a", uid="uid-1", resource_version="7", rule="read")


def allow() -> Decision:
    return Decision(verdict=Verdict.EXACT, reason=Reason.ALLOWED_BY_RULE, matched=RULE)


def deny(message: str = "No rule allows it.", *, nearest: tuple[str, ...] = ()) -> Decision:
    return Decision(verdict=Verdict.DENY, reason=Reason.NOT_ALLOWED, message=message, nearest=nearest)


@dataclass(frozen=True)
class Namespaces:
    """A cut to whole namespaces."""

    names: frozenset[str]

    def allows(self, *, namespace: str, name: str) -> bool:
        return (namespace or name) in self.names


def cut_to(*namespaces: str) -> Decision:
    cut: ListCut = Namespaces(frozenset(namespaces))
    return Decision(verdict=Verdict.FILTERED, reason=Reason.ALLOWED_BY_RULE, matched=RULE, cut=cut)


class FakeAuthorizer(Authorizer):
    """Decides as the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.environment = Environment()
        self.rule: Callable[[RequestInfo], Decision] = lambda _: allow()
        self.denies: Callable[[RequestInfo], Decision] = lambda _: allow()
        self.withholding: Callable[[RequestInfo], Decision | None] = lambda _: None
        self.asked: list[tuple[RequestInfo, ...]] = []
        self.lost: Decision | None = None
        self.catalog = Catalog()
        self.snapshot = Snapshot.empty()

    async def scope_of(self, *, group: str, resource: str) -> Scope | None:
        return self.catalog.scope_of(group=group, resource=resource)

    def context(self, *, client: Client, tool: Tool) -> DecisionContext:
        return DecisionContext(
            client=client,
            tool=tool,
            snapshot=self.snapshot,
            catalog=self.catalog,
            environment=self.environment,
            now=datetime.now(UTC),
            snapshot_age=0.0,
        )

    def kind_of(self, *, group: str, resource: str) -> str:
        found = self.catalog.find(group=group, resource=resource)
        return found.kind if found is not None else ""

    def withheld(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision | None:
        return next((decision for item in requests if (decision := self.withholding(item)) is not None), None)

    async def authorize(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision:
        self.asked.append(tuple(requests))
        return self.decide(requests, client=client, tool=tool)

    def decide(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision:
        decisions = [self.rule(item) for item in requests]
        return next((decision for decision in decisions if not decision.allowed), decisions[0])

    def decide_denies(self, request: RequestInfo, *, client: Client, tool: Tool) -> Decision:
        return self.denies(request)

    def lost_standing(self, *, client: Client, tool: Tool) -> Decision | None:
        return self.lost


class RecordingAudit(AuditLog):
    """Keeps the records."""

    def __init__(self) -> None:
        super().__init__(io.StringIO(), cluster="test", requests=RequestAudit.ALL, now=lambda: datetime.now(UTC))
        self.records: list[RequestRecord] = []

    def request(self, record: RequestRecord) -> None:
        self.records.append(record)


@dataclass
class Bench:
    """Everything that a test of the gateway touches."""

    gateway: Gateway
    upstream: FakeUpstream
    authorizer: FakeAuthorizer
    audit: RecordingAudit
    metrics: Metrics
    session: CommandSession
    clients: list[RawClient] = field(default_factory=list)

    async def connect(self) -> RawClient:
        """A new connection of the command."""
        client = await RawClient.connect(self.gateway.port, self.gateway.ca_pem)
        self.clients.append(client)
        return client

    async def ask(self, method: str, target: str, **arguments: Any) -> RawResponse:
        """One request with the command's token over a connection of its own."""
        client = await self.connect()
        await client.send(request(method, target, token=arguments.pop("token", self.session.token), **arguments))
        return await client.response()

    async def recorded(self, count: int) -> list[RequestRecord]:
        """The audit records, once there are that many."""
        await eventually(lambda: len(self.audit.records) >= count)
        return self.audit.records
