"""Calls that argocd itself would never make, sent to a gateway in front of the real Argo CD."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from devtools.cluster.ports import free_ports
from devtools.fixed import FixedSources
from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.gateway.argocd.frames import CONTENT_TYPE, Code, Frames, frame
from k8s_mcp_server.gateway.argocd.instance import ArgoCD, Call
from k8s_mcp_server.gateway.argocd.objects import event_application, read_application
from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.gateway.gateway import Gateway
from k8s_mcp_server.gateway.protobuf import bytes_field, number_field, text_field
from k8s_mcp_server.policy.catalog import Catalog
from k8s_mcp_server.policy.compile import read_policy
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.snapshot import Snapshot
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.telemetry.audit import AuditLog, RequestAudit
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.e2e.argocd.conftest import applications
from tests.support.gateway_site import AGENT
from tests.support.raw_http import RawClient, RawResponse
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_mcp_server.gateway.outgoing import Attribution
    from k8s_mcp_server.gateway.session import CommandSession
    from k8s_mcp_server.gateway.upstream import ResponseHead, UpstreamConnection
    from tests.e2e.argocd.conftest import Site

pytestmark = [pytest.mark.e2e, pytest.mark.anyio, pytest.mark.timeout(180)]

SERVICE = "/application.ApplicationService/"
NAME, NAMESPACE, PROJECT = 1, 7, 8  # of a ResourcesQuery


class Recorded(ArgoCD):
    """Argo CD, with a note of each call that really goes there, and something to happen before one of them."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.made: list[str] = []
        self.before: dict[str, Callable[[], None]] = {}

    async def open(self, call: Call, *, attribution: Attribution) -> tuple[UpstreamConnection, ResponseHead]:
        """Make the call."""
        self.made.append(call.path.removeprefix(SERVICE))
        if (first := self.before.pop(call.path, None)) is not None:
            await asyncio.to_thread(first)
        return await super().open(call, attribution=attribution)


@dataclass(slots=True)
class Rig:
    """A gateway, a session of an argocd command in it, and the instance behind."""

    gateway: Gateway
    session: CommandSession
    instance: Recorded
    policies: FixedSources
    audit: io.StringIO
    clients: list[RawClient] = field(default_factory=list)

    async def send(
        self,
        method: str,
        body: bytes,
        *,
        token: str | None = None,
        verb: str = "POST",
        content_type: str = CONTENT_TYPE,
    ) -> RawResponse:
        """Send a body as it is, and give the answer."""
        return await (await self.begin(method, body, token=token, verb=verb, content_type=content_type)).response()

    async def begin(
        self,
        method: str,
        body: bytes,
        *,
        token: str | None = None,
        verb: str = "POST",
        content_type: str = CONTENT_TYPE,
    ) -> RawClient:
        """Send a body as it is."""
        client = await RawClient.connect(self.gateway.port, self.gateway.ca_pem)
        self.clients.append(client)
        target = method if method.startswith("/") else SERVICE + method
        lines = [
            f"{verb} {target} HTTP/1.1", "Host: 127.0.0.1", f"Token: {self.session.token if token is None else token}",
            f"Content-Type: {content_type}", f"Content-Length: {len(body)}",
        ]  # fmt: skip
        await client.send("\r\n".join([*lines, "", ""]).encode() + body)
        return client

    def requests(self) -> list[dict[str, Any]]:
        """The audit lines so far."""
        return [json.loads(line) for line in self.audit.getvalue().splitlines()]


def snapshot(*rules: dict[str, Any]) -> Snapshot:
    policy = {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {"name": "team", "uid": "5c6f", "resourceVersion": "41", "generation": 1},
        "spec": {
            "subjects": [{"kind": "ServiceAccount", "namespace": "agents", "name": "deployer"}],
            "tools": ["argocd", "kubectl"],
            "rules": list(rules),
        },
    }
    return Snapshot.build([read_policy(policy)], [])


@pytest.fixture
async def rig(site: Site, tmp_path: Path) -> AsyncIterator[Rig]:
    token_file = tmp_path / "token"
    token_file.write_text(await asyncio.to_thread(site.argocd.token), encoding="ascii")
    instance = Recorded(name="main", server=server(site, token_file), metrics=Metrics())
    policies = FixedSources(snapshot(applications("*", "team-a/*")), Catalog())
    audit = io.StringIO()
    gateway = Gateway(
        api_server=ApiServer(host="127.0.0.1", port=1, ca_file=site.argocd.ca_file, token_file=token_file),
        authorizer=Authorizer(
            store=policies,
            discovery=policies,
            access=policies,
            environment=Environment(),
            clock=lambda: datetime.now(UTC),
        ),
        metrics=Metrics(),
        audit=AuditLog(audit, cluster="test", requests=RequestAudit.ALL),
        service_account="system:serviceaccount:k8s-mcp-system:k8s-mcp-server",
        argocd={"main": instance},
    )
    await gateway.start()
    session = gateway.open(client=AGENT, tool=Tool.ARGOCD, command_id="cmd-1")
    rig = Rig(gateway, session, instance, policies, audit)
    yield rig
    for client in rig.clients:
        client.writer.transport.abort()
    await gateway.close()
    await asyncio.sleep(0)


def server(site: Site, token_file: Path, *, port: int | None = None) -> ApiServer:
    url = urlsplit(site.argocd.url)
    return ApiServer(host="127.0.0.1", port=port or url.port or 0, ca_file=site.argocd.ca_file, token_file=token_file)


def query(name: str, *more: bytes) -> bytes:
    """A ResourcesQuery."""
    return frame(text_field(NAME, name) + b"".join(more))


def code(answer: RawResponse) -> int:
    """gRPC's status."""
    return int(answer.headers.get("grpc-status", "0"))


async def test_a_well_formed_call_is_answered(rig: Rig) -> None:
    answer = await rig.send("ResourceTree", query("team-a-app"))
    assert (answer.status, code(answer)) == (200, Code.OK)
    assert rig.instance.made == ["List", "ResourceTree"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00\x00\x00\x00", id="half a header"),
        pytest.param(b"\x01" + query("team-a-app")[1:], id="compressed"),
        pytest.param(b"\x80" + query("team-a-app")[1:], id="a trailer"),
        pytest.param(query("team-a-app") + query("payments-app"), id="two messages"),
        pytest.param(query("team-a-app") + b"\x00", id="trailing bytes"),
        pytest.param(query("team-a-app")[:-1], id="a message cut short"),
        pytest.param(query("team-a-app", text_field(NAME, "payments-app")), id="the name twice"),
        pytest.param(query("team-a-app", text_field(NAME + (1 << 29), "payments-app")), id="a number that wraps"),
        pytest.param(query("team-a-app", text_field(99, "x")), id="an unknown field"),
        pytest.param(query("team-a-app", number_field(NAMESPACE, 1)), id="a number for a text"),
        pytest.param(query("team-a-app", b"\x0b\x0c"), id="a group"),
        pytest.param(frame(bytes_field(NAME, b"team-a-app\xff")), id="a name that is not UTF-8"),
        pytest.param(query("team-a-app/../payments-app"), id="a name with slashes"),
        pytest.param(query("team-a-app\x00"), id="a name with a NUL"),
        pytest.param(query(""), id="no name"),
        pytest.param(query("team-a-app", text_field(NAMESPACE, "argocd/x")), id="a namespace with a slash"),
    ],
)
async def test_what_could_be_read_in_two_ways_is_refused(rig: Rig, body: bytes) -> None:
    answer = await rig.send("ResourceTree", body)
    assert (answer.status, code(answer), answer.body) == (200, Code.INVALID_ARGUMENT, b"")
    assert rig.instance.made == []
    assert rig.requests()[0]["reason"] == "MalformedRequest"


@pytest.mark.parametrize(
    ("method", "verb", "content_type"),
    [
        pytest.param("/api/v1/applications", "GET", "application/json", id="the REST API"),
        pytest.param("/api/v1/session", "POST", "application/json", id="a session over REST"),
        pytest.param("/api/v1/applications", "POST", CONTENT_TYPE, id="REST as a call"),
        pytest.param(f"{SERVICE}Get?name=payments-app", "POST", CONTENT_TYPE, id="a query"),
        pytest.param(f"{SERVICE}Get/", "POST", CONTENT_TYPE, id="a slash at the end"),
        pytest.param("/application.applicationservice/get", "POST", CONTENT_TYPE, id="in lower case"),
        pytest.param(f"/x{SERVICE}Get", "POST", CONTENT_TYPE, id="below another path"),
        pytest.param(f"{SERVICE}Get", "GET", CONTENT_TYPE, id="another HTTP method"),
        pytest.param(f"{SERVICE}Get", "POST", "application/grpc", id="native gRPC"),
        pytest.param(f"{SERVICE}Get", "POST", "application/grpc-web-text", id="as base64"),
        pytest.param("/account.AccountService/CreateToken", "POST", CONTENT_TYPE, id="a token of an account"),
        pytest.param("/project.ProjectService/CreateToken", "POST", CONTENT_TYPE, id="a token of a project"),
        pytest.param("/session.SessionService/Create", "POST", CONTENT_TYPE, id="a session"),
        pytest.param("/account.AccountService/UpdatePassword", "POST", CONTENT_TYPE, id="a password"),
        pytest.param("/cluster.ClusterService/Create", "POST", CONTENT_TYPE, id="a cluster"),
        pytest.param("/repository.RepositoryService/CreateRepository", "POST", CONTENT_TYPE, id="a repository"),
        pytest.param("/repository.RepositoryService/ValidateAccess", "POST", CONTENT_TYPE, id="a look at any address"),
        pytest.param("/applicationset.ApplicationSetService/Create", "POST", CONTENT_TYPE, id="an ApplicationSet"),
        pytest.param(f"{SERVICE}ServerSideDiff", "POST", CONTENT_TYPE, id="manifests of one's own"),
        pytest.param(f"{SERVICE}RunResourceAction", "POST", CONTENT_TYPE, id="the older form of a method"),
        pytest.param("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "POST", CONTENT_TYPE, id="more"),
    ],
)
async def test_no_other_call_gets_through(rig: Rig, method: str, verb: str, content_type: str) -> None:
    answer = await rig.send(method, query("team-a-app"), verb=verb, content_type=content_type)
    assert (answer.status, code(answer)) == (200, Code.PERMISSION_DENIED)
    assert answer.headers["grpc-message"]
    assert rig.instance.made == []


async def test_a_token_is_good_for_its_own_command_and_protocol(rig: Rig) -> None:
    kubectl = rig.gateway.open(client=AGENT, tool=Tool.KUBECTL, command_id="cmd-2")
    assert (
        code(await rig.send("ResourceTree", query("team-a-app"), token="nobody's")) == 0
    )  # not gRPC: nobody's command
    over_rest = await rig.send("ResourceTree", query("team-a-app"), token=kubectl.token)
    assert over_rest.status in {401, 404, 403, 503}
    assert rig.instance.made == []
    await rig.gateway.close_session(rig.session)
    gone = await rig.send("ResourceTree", query("team-a-app"))
    assert gone.status == 401
    assert rig.instance.made == []


async def test_an_application_that_moves_in_between_is_refused_by_argo_cd(rig: Rig, site: Site) -> None:
    site.add_application("moving", project="team-a")
    try:
        rig.instance.before[f"{SERVICE}Sync"] = lambda: site.add_application("moving", project="payments")
        answer = await rig.send("Sync", frame(text_field(1, "moving")))
        assert code(answer) == Code.NOT_FOUND
        assert rig.instance.made == ["List", "Sync"]
        assert "operation" not in site.application("moving")
    finally:
        site.remove_application("moving")


async def test_an_upsert_of_what_moves_in_between_is_refused_by_argo_cd(rig: Rig, site: Site) -> None:
    site.add_application("moving", project="team-a")
    try:
        rig.instance.before[f"{SERVICE}Update"] = lambda: site.add_application("moving", project="payments")
        answer = await rig.send("Create", frame(bytes_field(1, application(site, "moving")) + number_field(2, 1)))
        assert code(answer) != Code.OK
        assert rig.instance.made == ["List", "Update"]
        assert site.application("moving")["spec"]["project"] == "payments"
    finally:
        site.remove_application("moving")


async def test_a_creation_does_not_take_what_is_made_in_between(rig: Rig, site: Site) -> None:
    try:
        rig.instance.before[f"{SERVICE}Create"] = lambda: site.add_application("late", project="payments")
        answer = await rig.send("Create", frame(bytes_field(1, application(site, "late")) + number_field(2, 1)))
        assert code(answer) != Code.OK
        assert site.application("late")["spec"]["project"] == "payments"
    finally:
        site.remove_application("late")


async def test_an_update_is_about_the_application_that_it_names(rig: Rig, site: Site) -> None:
    others = site.application("payments-app")["spec"]
    answer = await rig.send("Update", frame(bytes_field(1, application(site, "payments-app"))))
    assert code(answer) == Code.PERMISSION_DENIED
    named = text_field(1, "team-a-app") + bytes_field(2, b"") + bytes_field(1, b"payments-app")
    assert code(await rig.send("UpdateSpec", frame(named))) == Code.INVALID_ARGUMENT
    assert site.application("payments-app")["spec"] == others


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(text_field(3, "team-a") + text_field(3, "payments"), id="two projects"),
        pytest.param(text_field(3, "payments"), id="another project"),
        pytest.param(text_field(3, "team-a/x"), id="a project with a slash"),
        pytest.param(b"", id="the project default"),
    ],
)
async def test_a_spec_moves_no_application_out_of_the_policy(rig: Rig, site: Site, spec: bytes) -> None:
    answer = await rig.send("UpdateSpec", frame(text_field(1, "team-a-app") + bytes_field(2, spec)))
    assert code(answer) in {Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT}
    assert "UpdateSpec" not in rig.instance.made
    assert site.application("team-a-app")["spec"]["project"] == "team-a"


async def test_a_watch_shows_an_application_only_while_it_is_in_the_policy(rig: Rig, site: Site) -> None:
    site.add_application("watched", project="team-a")
    try:
        client = await rig.begin("Watch", frame(text_field(1, "watched")))
        assert (await client.head())[0] == 200
        assert b"watched" in await client.chunk()
        await asyncio.to_thread(site.add_application, "watched", project="payments")
        await asyncio.to_thread(site.add_application, "watched", project="team-a", path="secret")
        frames, seen = Frames(longest=1 << 20), b""
        while b"secret" not in seen:
            for _, seen in frames.feed(await client.chunk()):
                assert read_application(event_application(seen)).project == "team-a"
    finally:
        site.remove_application("watched")


async def test_a_stream_ends_when_the_policy_does(rig: Rig) -> None:
    client = await rig.begin("Watch", frame(text_field(1, "team-a-app")))
    assert b"team-a-app" in (await client.head(), await client.chunk())[1]
    rig.policies.snapshot = snapshot(applications("get", "team-b/*", resources="projects"))
    rig.gateway.revalidate()
    assert b"0\r\n\r\n" not in await client.rest()
    await eventually(lambda: not rig.session.in_flight)
    assert rig.requests()[-1]["verdict"] == "deny"
    assert rig.session.requests_revoked == 1


async def test_a_stream_goes_on_when_the_policy_still_gives_it(rig: Rig, site: Site) -> None:
    client = await rig.begin("Watch", frame(b""))
    await client.head()
    await client.chunk()
    rig.policies.snapshot = snapshot(applications("get", "team-a/*"), applications("get", "team-b/*"))
    rig.gateway.revalidate()
    site.cluster.kubectl("label", "applications.argoproj.io", "team-b-app", "-n", "argocd", "seen=now", "--overwrite")
    seen = b""
    while b"team-b-app" not in seen:
        seen = await client.chunk()


async def test_argo_cd_that_is_away_is_named_as_such(rig: Rig, site: Site, tmp_path: Path) -> None:
    rig.instance._pool._api_server = server(site, tmp_path / "token", port=free_ports(1)[0])
    answer = await rig.send("ResourceTree", query("team-a-app"))
    assert code(answer) == Code.UNAVAILABLE
    assert answer.headers["grpc-message"] == "Nothing was done: Argo CD main cannot be reached. Try again."


async def test_a_token_that_argo_cd_does_not_take_is_no_affair_of_the_client(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("eyJhbGciOiJIUzI1NiJ9.e30.x", encoding="ascii")
    answer = await rig.send("ResourceTree", query("team-a-app"))
    assert code(answer) == Code.UNAVAILABLE
    assert "does not accept this service's token" in answer.headers["grpc-message"]


async def test_no_header_of_the_command_reaches_argo_cd(rig: Rig, site: Site) -> None:
    """A session of the administrator in a cookie or header of the command's own changes nothing."""
    session = site.argocd.post("/api/v1/session", {"username": "admin", "password": site.argocd.password})["token"]
    client = await RawClient.connect(rig.gateway.port, rig.gateway.ca_pem)
    rig.clients.append(client)
    body = frame(b"")
    lines = [
        "POST /session.SessionService/GetUserInfo HTTP/1.1", "Host: 127.0.0.1", f"Token: {rig.session.token}",
        f"Authorization: Bearer {session}", f"Cookie: argocd.token={session}", f"Content-Type: {CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
    ]  # fmt: skip
    await client.send("\r\n".join([*lines, "", ""]).encode() + body)
    answer = await client.response()
    assert AGENT.username.encode() in answer.body
    assert b"admin" not in answer.body


def application(site: Site, name: str) -> bytes:
    """An Application in team-a, as protobuf."""
    metadata = text_field(1, name)
    source = text_field(1, site.repository.url) + text_field(2, "web")
    destination = text_field(1, "https://kubernetes.default.svc") + text_field(2, "team-a")
    spec = bytes_field(1, source) + bytes_field(2, destination) + text_field(3, "team-a")
    return bytes_field(1, metadata) + bytes_field(2, spec)
