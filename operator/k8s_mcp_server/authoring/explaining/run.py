"""Runs a command against the real gateway with the stand-in behind it, and writes down what the gateway decided."""

from __future__ import annotations

import io
import shutil
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.authoring.explaining.stand_in import StandIn
from k8s_mcp_server.authoring.explaining.virtual import decided, needs_of, tool_of
from k8s_mcp_server.commands.istioctl.parts import Surroundings
from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.errors import CommandRefused, Unavailable
from k8s_mcp_server.execution.binaries import Binaries, find_binaries, inspect_program
from k8s_mcp_server.execution.executor import Executor
from k8s_mcp_server.execution.result import ApiAccess, Result
from k8s_mcp_server.execution.sandbox.landlock import supported_abi
from k8s_mcp_server.execution.sandbox.spawn import Sandbox
from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.gateway.gateway import Gateway
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.limits import Limits
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.telemetry.audit import AuditLog, RequestRecord
from k8s_mcp_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.resources import Served
    from k8s_mcp_server.authoring.world import World
    from k8s_mcp_server.execution.pipeline import Pipeline
    from k8s_mcp_server.policy.catalog import Catalog
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.snapshot import Snapshot

SECONDS: Final = 15
_READ_WHERE_NONE_IS_STATED: Final = "default"
_PREFIX: Final = "k8s-mcp-explain-"
_ALLOWING: Final = frozenset(
    {Reason.ALLOWED_BY_RULE, Reason.ALWAYS_ALLOWED, Reason.NAMESPACE_VISIBLE, Reason.PROJECT_VISIBLE}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is to be explained.

    Args:
        line: the command line, as an agent would write it.
        namespace: the default one.
        stdin: what it reads with ``-f -``.
        files: what it finds in its folder.
        absent: whether its objects do not exist yet.
        past_denials: whether it goes on as if what was denied had been allowed.
    """

    line: str
    namespace: str = ""
    stdin: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    absent: bool = False
    past_denials: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a command asked for.

    Args:
        requests: in order, with their decisions; a denial's verdict is ``deny`` also where the command went on.
        refused: why the command is not run at all; None when it was.
        result: how it ended; None when it was not run.
        notes: what else only a run can tell.
    """

    requests: tuple[RequestRecord, ...] = ()
    refused: CommandRefused | None = None
    result: Result | None = None
    notes: tuple[str, ...] = ()

    @property
    def denied(self) -> bool:
        """Whether the command or a request of it is refused."""
        return self.refused is not None or any(not item.decision.allowed for item in self.requests)


async def explain(command: Command, *, client: Client, world: World, tools_dir: Path | None) -> Explanation:
    """Run a kubectl command as a client, in a cluster that is not there; of the other CLIs' read the words.

    Args:
        tools_dir: where kubectl is; None looks for it on ``PATH``.

    Raises:
        UnusableInput: there is no kubectl, or this system cannot confine it.
    """
    tool = tool_of(command.line, default=Tool.KUBECTL)
    try:
        pipeline = parse_command(command.line, cli=tool, files=command.files)
        if tool is not Tool.KUBECTL:
            return await _by_words(pipeline, command=command, client=client, world=world, tool=tool)
    except CommandRefused as error:
        return Explanation(refused=error)
    sandbox, binaries = _sandbox(), _binaries(tools_dir)
    example = command.namespace or next(iter(world.snapshot.namespaces), "default")
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        return await rehearse(
            pipeline,
            command=command,
            client=client,
            authorizer=_OfflineAuthorizer(world, past_denials=command.past_denials),
            served=world.served,
            example_namespace=example,
            executor=Executor(binaries=binaries, sandbox=sandbox, runtime_dir=Path(name)),
        )


async def _by_words(pipeline: Pipeline, *, command: Command, client: Client, world: World, tool: Tool) -> Explanation:
    authorizer = _OfflineAuthorizer(world, past_denials=False)
    around = Surroundings(
        namespace=command.namespace or _READ_WHERE_NONE_IS_STATED, istio_namespace=world.environment.istio_namespace
    )
    context = authorizer.context(client=client, tool=tool)
    needs = needs_of(pipeline, context=context, around=around, files=command.files)
    records = [
        RequestRecord(
            command_id="",
            audit_id="",
            client=client,
            tool=tool.value,
            method="",
            request=request,
            target="",
            decision=decision,
            status=0,
            duration_seconds=0.0,
        )
        for request, decision in await decided(needs, authorizer=authorizer, client=client, tool=tool)
    ]
    return Explanation(requests=tuple(records), notes=needs.notes)


async def rehearse(
    pipeline: Pipeline,
    *,
    command: Command,
    client: Client,
    authorizer: Authorizer,
    served: Served,
    example_namespace: str,
    executor: Executor,
) -> Explanation:
    """Run a pipeline of kubectl's against the real gateway, with nothing behind it but the stand-in.

    Args:
        authorizer: decides its requests.
        served: what the stand-in serves.
        example_namespace: where the one object of each list across namespaces lives.
        executor: runs it.

    Raises:
        Unavailable: its processes cannot be started.
    """
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name:
        stand_in = StandIn(served, folder=Path(name), example_namespace=example_namespace, absent=command.absent)
        await stand_in.start()
        recorder, own = _Recorder(), authorizer.environment
        gateway = Gateway(
            api_server=stand_in.api_server,
            authorizer=authorizer,
            metrics=Metrics(),
            audit=recorder,
            service_account=f"system:serviceaccount:{own.own_namespace}:{own.own_service_account}",
        )
        try:
            await gateway.start()
            session = gateway.open(client=client, tool=Tool.KUBECTL, command_id=str(uuid.uuid4()))
            result = await executor.run(
                pipeline,
                access=ApiAccess(
                    server_url=f"https://127.0.0.1:{gateway.port}",
                    ca_pem=gateway.ca_pem,
                    token=session.token,
                    namespace=command.namespace,
                ),
                limits=Limits(timeout_seconds=SECONDS),
                stdin=command.stdin,
                files=command.files,
            )
            await gateway.close_session(session)
        except CommandRefused as error:
            return Explanation(refused=error)
        finally:
            await gateway.close()
            await stand_in.close()
    return Explanation(requests=tuple(map(_as_decided, recorder.records)), result=result)


class ForgivingAuthorizer(Authorizer):
    """Allows what is denied, and leaves the reason as it is: a command goes on, and shows all that it needs."""

    async def authorize(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision:
        """As the authorizer, and then allowed."""
        return _forgiven(await super().authorize(requests, client=client, tool=tool))

    def decide(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision:
        """Likewise."""
        return _forgiven(super().decide(requests, client=client, tool=tool))


def _forgiven(decision: Decision) -> Decision:
    return decision if decision.allowed else replace(decision, verdict=Verdict.EXACT)


class _OfflineAuthorizer(ForgivingAuthorizer):
    """Decides in a world that does not change.

    Args:
        past_denials: allow what is denied, and leave the decision's reason as it is.
    """

    def __init__(self, world: World, *, past_denials: bool) -> None:
        source = _Unchanging(world=world, snapshot=world.snapshot, catalog=world.catalog)
        super().__init__(
            store=source, discovery=source, access=source, environment=world.environment, clock=lambda: world.now
        )
        self._past_denials = past_denials

    async def authorize(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision:
        if self._past_denials:
            return await super().authorize(requests, client=client, tool=tool)
        return await Authorizer.authorize(self, requests, client=client, tool=tool)

    def decide(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision:
        if self._past_denials:
            return super().decide(requests, client=client, tool=tool)
        return Authorizer.decide(self, requests, client=client, tool=tool)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unchanging:
    world: World
    snapshot: Snapshot
    catalog: Catalog

    def age(self) -> float:
        return 0.0

    async def refresh(self) -> None:
        """Nothing new is served."""

    async def review(self, client: Client, request: RequestInfo) -> bool:
        """What the files say about the client's own rights."""
        known = self.last_known(client, request)
        if known is None:
            raise Unavailable(f"no file says whether {client.username} may {request.verb} there")
        return known

    def last_known(self, client: Client, request: RequestInfo) -> bool | None:
        """Likewise."""
        return self.world.allowed_by_rbac(request, client=client)


class _Recorder(AuditLog):
    """Keeps what would have been written."""

    def __init__(self) -> None:
        super().__init__(io.StringIO(), cluster="")
        self.records: list[RequestRecord] = []

    def request(self, record: RequestRecord) -> None:
        self.records.append(record)


def _as_decided(record: RequestRecord) -> RequestRecord:
    if record.decision.reason in _ALLOWING:
        return record
    return replace(record, decision=replace(record.decision, verdict=Verdict.DENY))


def _binaries(tools_dir: Path | None) -> Binaries:
    path = tools_dir / "kubectl" if tools_dir else Path(shutil.which("kubectl") or "kubectl")
    try:
        return Binaries(
            clis={"kubectl": inspect_program("kubectl", path=path)}, filters=find_binaries(Path("/nonexistent")).filters
        )
    except OSError as error:
        raise UnusableInput(f"no kubectl to run ({error}): state --tools-dir") from error


def _sandbox() -> Sandbox:
    try:
        return Sandbox(abi=supported_abi())
    except OSError as error:
        message = f"the command cannot be confined on this system ({error}): use Linux 5.13 or newer, or the image"
        raise UnusableInput(message) from error


def as_dict(record: RequestRecord) -> dict[str, Any]:
    """A request and its decision as plain values."""
    decision, info = record.decision, record.request
    attributes = None
    if info is not None and info.is_resource_request:
        attributes = {
            "verb": info.verb,
            "apiGroup": info.api_group,
            "resource": info.full_resource,
            "namespace": info.namespace,
            "name": info.name,
        }
    return {
        "method": record.method,
        "target": record.target,
        "attributes": attributes,
        "verdict": {Verdict.EXACT: "allow"}.get(decision.verdict, decision.verdict.value),
        "reason": decision.reason.value,
        "policy": decision.matched.policy if decision.matched else "",
        "rule": decision.matched.rule if decision.matched else "",
        "message": decision.message,
    }
