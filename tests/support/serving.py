"""The serving layers on a real loopback socket, with the layers below replaced by what a test needs."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx2
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

from k8s_mcp_server.authoring.resources import Served
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.execution.pipeline import Pipeline
from k8s_mcp_server.execution.result import ApiAccess, Result
from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.gateway.session import CommandSession
from k8s_mcp_server.policy.catalog import Catalog
from k8s_mcp_server.policy.compile import read_policy
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.limits import Limits
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.admission import Admission
from k8s_mcp_server.serving.checking import AccessChecker
from k8s_mcp_server.serving.connections import ConnectionLimits
from k8s_mcp_server.serving.grants import Grants
from k8s_mcp_server.serving.help import HelpReader
from k8s_mcp_server.serving.http_app import allowed_hosts, mcp_app
from k8s_mcp_server.serving.http_server import HttpServer
from k8s_mcp_server.serving.mcp_server import AgentServer
from k8s_mcp_server.serving.prompts import Prompts
from k8s_mcp_server.serving.recorder import CommandRecorder
from k8s_mcp_server.serving.runner import CommandRunner
from k8s_mcp_server.serving.tools.check_access import CheckAccessTool
from k8s_mcp_server.serving.tools.describe import DescribeTool
from k8s_mcp_server.serving.tools.execute import ExecuteTool
from k8s_mcp_server.telemetry.audit import AuditLog
from k8s_mcp_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from k8s_mcp_server.serving.tools.base import AgentTool

ALICE = Client(username="system:serviceaccount:team-a-agents:alice")
BOB = Client(username="system:serviceaccount:team-a-agents:bob")
MAX_BODY = 4 * 2**20
WAIT_SECONDS = 10.0

_versions = itertools.count(1)


def policy(name: str, *accounts: str, **spec: Any) -> dict[str, Any]:
    """An McpAccessPolicy that names ServiceAccounts of ``team-a-agents`` and lets them read pods of ``team-a``."""
    rules = [{"namespaces": ["team-a"], "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    return {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": str(next(_versions)),
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "subjects": [
                {"kind": "ServiceAccount", "namespace": "team-a-agents", "name": account} for account in accounts
            ],
            "rules": rules,
        }
        | spec,
    }


@dataclass(slots=True)
class FakeStore:
    """Policies and namespaces as a test sets them."""

    snapshot: Snapshot = field(default_factory=Snapshot.empty)
    seconds_old: float = 0.0

    def age(self) -> float:
        return self.seconds_old

    def set(self, *bodies: dict[str, Any]) -> None:
        namespaces = [Namespace(name="team-a", labels={})]
        self.snapshot = Snapshot.build([read_policy(body) for body in bodies], namespaces)


@dataclass(slots=True)
class FakeDiscovery:
    """A catalog as a test sets it."""

    catalog: Catalog = field(default_factory=Catalog)

    async def refresh(self) -> None:
        """Nothing new is served."""


class NoRights:
    """No client has rights of its own."""

    async def review(self, client: Client, request: RequestInfo) -> bool:
        del client, request
        return False

    def last_known(self, client: Client, request: RequestInfo) -> bool | None:
        del client, request
        return False


@dataclass(slots=True)
class FakeTokens:
    """Authenticates the tokens it was given; ``down`` stands for an API server that does not answer."""

    clients: dict[str, Client] = field(default_factory=dict)
    down: bool = False
    seen: list[str] = field(default_factory=list)

    async def authenticate(self, token: str) -> Client | None:
        self.seen.append(token)
        if self.down:
            raise Unavailable("the API server does not answer")
        return self.clients.get(token)


@dataclass(slots=True)
class FakeGateway:
    """Gives out tokens and remembers which are still valid."""

    port: int = 1
    ca_pem: str = "PEM"
    open_sessions: list[CommandSession] = field(default_factory=list)
    closed: int = 0

    def open(self, *, client: Client, tool: Tool, command_id: str) -> CommandSession:
        session = CommandSession(command_id=command_id, client=client, tool=tool)
        self.open_sessions.append(session)
        return session

    async def close_session(self, session: CommandSession) -> None:
        await asyncio.sleep(0)  # a cleanup that a cancelled caller must not cut short
        self.open_sessions.remove(session)
        self.closed += 1


Work = Callable[[Pipeline, CommandSession], Awaitable[Result]]
DONE = Result(exit_code=0, stage_exit_codes=(0,), stdout=b"done\n", stderr=b"", duration_seconds=0.1)


@dataclass(slots=True)
class FakeExecutor:
    """Runs ``work`` in place of processes."""

    gateway: FakeGateway
    result: Result = DONE
    work: Work | None = None
    limits: list[Limits] = field(default_factory=list)
    access: list[ApiAccess | None] = field(default_factory=list)
    stdin: list[bytes] = field(default_factory=list)
    files: list[Mapping[str, bytes]] = field(default_factory=list)
    pipelines: list[Pipeline] = field(default_factory=list)
    ended: list[asyncio.Event] = field(default_factory=list)
    running: int = 0
    cancelled: int = 0

    async def run(
        self,
        pipeline: Pipeline,
        *,
        access: ApiAccess | None,
        stdin: bytes,
        files: Mapping[str, bytes],
        limits: Limits,
        ended: asyncio.Event,
    ) -> Result:
        self.pipelines.append(pipeline)
        self.ended.append(ended)
        self.limits.append(limits)
        self.access.append(access)
        self.stdin.append(stdin)
        self.files.append(files)
        self.running += 1
        try:
            if self.work is None:
                return self.result
            return await self.work(pipeline, self.gateway.open_sessions[-1])
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


@dataclass(slots=True, kw_only=True)
class Service:
    """A running MCP endpoint and everything that a test looks at behind it."""

    url: str
    store: FakeStore
    tokens: FakeTokens
    gateway: FakeGateway
    executor: FakeExecutor
    admission: Admission
    metrics: Metrics
    audit_stream: io.StringIO
    not_ready: list[str]
    clock: FakeClock

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.audit_stream.getvalue().splitlines()]

    @contextlib.asynccontextmanager
    async def client(self, *, as_: str = "alice", mode: str = "auto", query: str = "") -> AsyncIterator[McpClient]:
        headers = {"Authorization": f"Bearer {as_}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=WAIT_SECONDS) as http,
            McpClient(streamable_http_client(self.url + query, http_client=http), mode=mode) as client,
        ):
            yield client


@dataclass(slots=True)
class FakeClock:
    """Seconds that pass only when told to."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@contextlib.asynccontextmanager
async def serving(
    *,
    defaults: Limits | None = None,
    max_running: int = 4,
    max_queued: int = 4,
    queue_seconds: float = WAIT_SECONDS,
    progress_seconds: float = 60.0,
    max_timeout: int = 600,
    origins: tuple[str, ...] = (),
    public_url: str = "",
    limits: ConnectionLimits | None = None,
    clis: tuple[Tool, ...] = (Tool.KUBECTL,),
) -> AsyncIterator[Service]:
    """Serve on a free loopback port; ``alice`` and ``bob`` are tokens of the clients of those names."""
    metrics, clock, store, gateway, stream = Metrics(), FakeClock(), FakeStore(), FakeGateway(), io.StringIO()
    tokens = FakeTokens({"alice": ALICE, "bob": BOB})
    executor = FakeExecutor(gateway)
    store.set(policy("readers", "alice"))
    not_ready: list[str] = []
    discovery = FakeDiscovery(Served.built_in().catalog)
    grants = Grants(
        store=store,
        discovery=discovery,
        environment=Environment(),
        defaults=defaults or replace(Limits(), commands_per_minute=1000),
        max_timeout=max_timeout,
        now=lambda: datetime(2026, 6, 1, tzinfo=UTC),
    )
    admission = Admission(
        max_running=max_running, max_queued=max_queued, queue_seconds=queue_seconds, metrics=metrics, clock=clock
    )
    runner = CommandRunner(
        executor=executor,
        gateway=gateway,
        grants=grants,
        admission=admission,
        recorder=CommandRecorder(audit=AuditLog(stream, cluster="test"), metrics=metrics, clock=clock),
        not_ready=lambda: tuple(not_ready),
        cluster="test",
        clock=clock,
        progress_seconds=progress_seconds,
    )
    authorizer = Authorizer(
        store=store,
        discovery=discovery,
        access=NoRights(),
        environment=Environment(),
        clock=lambda: datetime(2026, 6, 1, tzinfo=UTC),
    )
    checker = AccessChecker(
        grants=grants,
        authorizer=authorizer,
        forgiving=authorizer,
        executor=lambda: None,
        admission=admission,
        clis=clis,
    )
    tools: list[AgentTool] = [
        *(ExecuteTool(tool, runner=runner, grants=grants, cluster="test") for tool in clis),
        *(DescribeTool(tool, reader=HelpReader(executor), grants=grants) for tool in clis),
        CheckAccessTool(grants=grants, checker=checker, cluster="test"),
    ]
    app = mcp_app(
        AgentServer(tools, prompts=Prompts(grants=grants, served=clis), grants=grants, cluster="test", version="1"),
        authenticator=tokens,
        hosts=allowed_hosts(service="k8s-mcp-server", namespace="k8s-mcp-system", cluster_domain="cluster.local"),
        origins=origins,
        public_url=public_url,
        audience="k8s-mcp-server",
        max_body=MAX_BODY,
    )
    server = HttpServer(app, host="127.0.0.1", port=0, limits=limits)
    await server.start()
    try:
        yield Service(
            url=f"http://127.0.0.1:{server.port}/mcp",
            store=store,
            tokens=tokens,
            gateway=gateway,
            executor=executor,
            admission=admission,
            metrics=metrics,
            audit_stream=stream,
            not_ready=not_ready,
            clock=clock,
        )
    finally:
        await server.stop(grace_seconds=1)
