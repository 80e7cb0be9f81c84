"""Real kubectl, through the gateway, to the real API server, under a policy for two namespaces."""

from __future__ import annotations

import asyncio
import io
import json
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from k8s_mcp_server.cluster.client import ApiClient
from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.cluster.discovery import DiscoveryReader
from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.gateway.exchange import Exchange
from k8s_mcp_server.gateway.gateway import Gateway
from k8s_mcp_server.policy.compile import read_policy
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.telemetry.audit import AuditLog, RequestAudit
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.raw_http import RawClient, request
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.cluster import TestCluster
    from k8s_mcp_server.gateway.session import CommandSession
    from k8s_mcp_server.policy.catalog import Catalog
    from k8s_mcp_server.policy.request import RequestInfo

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.timeout(120)]

AGENT = Client(username="system:serviceaccount:agents:deployer")
KUBECTL_SECONDS = 30.0
PRIVILEGES = {"allowPrivilegedWorkloads": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the tests of this module share in the cluster: three namespaces and the service's own account."""

    cluster: TestCluster
    own: str
    team: str
    second: str
    other: str
    token: str
    group: str

    @property
    def service_account(self) -> str:
        return f"system:serviceaccount:{self.own}:gateway"


@pytest.fixture(scope="module")
def site(cluster: TestCluster) -> Iterator[Site]:
    mark = uuid.uuid4().hex[:8]
    own, team, second, other = (f"gw-{role}-{mark}" for role in ("own", "team", "second", "other"))
    apply(cluster, *site_objects(mark, own=own, namespaces=(own, team, second, other)))
    for namespace in (team, second, other):
        cluster.kubectl("wait", "serviceaccount/default", "-n", namespace, "--for=create", "--timeout=30s")
        apply(cluster, pod("web", namespace), configmap("settings", namespace), secret("password", namespace))
    group = f"g{mark}.example.com"
    apply(cluster, widgets(group))
    cluster.kubectl("wait", f"crd/widgets.{group}", "--for=condition=Established", "--timeout=30s")
    apply(cluster, *(widget(name, namespace, group) for namespace in (team, second, other) for name in ("one", "two")))
    for namespace in (team, second, other):
        cluster.kubectl("wait", "pod/web", "-n", namespace, "--for=condition=Ready", "--timeout=30s")
    yield Site(
        cluster=cluster,
        own=own,
        team=team,
        second=second,
        other=other,
        token=cluster.service_account_token(own, "gateway"),
        group=group,
    )
    if os.environ.get("K8S_SKIP_CLEANUP") != "true":
        cluster.kubectl("delete", "namespace", own, team, second, other, "--wait=false")
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", f"gateway-{mark}")
        cluster.kubectl("delete", "crd", f"widgets.{group}", "--wait=false")


def apply(cluster: TestCluster, *objects: dict[str, Any]) -> None:
    cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def site_objects(mark: str, *, own: str, namespaces: tuple[str, ...]) -> list[dict[str, Any]]:
    """Namespaces, and the account with all rights but those to impersonate anyone else."""
    name = f"gateway-{mark}"
    verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
    return [
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": item}} for item in namespaces),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "gateway", "namespace": own}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [
                {"apiGroups": ["*"], "resources": ["*"], "verbs": verbs},
                {
                    "apiGroups": [""],
                    "resources": ["serviceaccounts"],
                    "resourceNames": ["gateway"],
                    "verbs": ["impersonate"],
                },
                {
                    "apiGroups": ["authentication.k8s.io"],
                    "resources": ["userextras/k8s-mcp.io/client"],
                    "verbs": ["impersonate"],
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "gateway", "namespace": own}],
        },
    ]


def pod(name: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "main", "image": "example.com/web:1"}]},
    }


def configmap(name: str, namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}


def secret(name: str, namespace: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a": "hidden"}}


def widgets(group: str) -> dict[str, Any]:
    """A custom resource without a schema of its own."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def widget(name: str, namespace: str, group: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": metadata, "spec": {"metadata": metadata}}


def deployer(site: Site) -> dict[str, Any]:
    """A policy for the two namespaces of a team: everything but what is sensitive, and exec by name."""
    namespaces = [site.team, site.second]
    return {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {"name": "team", "uid": "5c6f", "resourceVersion": "41", "generation": 1},
        "spec": {
            "subjects": [{"kind": "ServiceAccount", "namespace": "agents", "name": "deployer"}],
            "rules": [
                {
                    "name": "deploy",
                    "namespaces": namespaces,
                    "apiGroups": ["", "apps", site.group],
                    "resources": ["*"],
                    "verbs": ["*"],
                    **PRIVILEGES,
                },
                {
                    "name": "streams",
                    "namespaces": namespaces,
                    "apiGroups": [""],
                    "resources": ["pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token"],
                    "verbs": ["create"],
                },
            ],
        },
    }


class Policies:
    """The store and the discovery that the authorizer reads, as far as it needs them."""

    def __init__(self, snapshot: Snapshot, catalog: Catalog) -> None:
        self.snapshot = snapshot
        self.catalog = catalog

    def age(self) -> float:
        return 0.0

    async def refresh(self) -> None:
        """Nothing new."""

    async def review(self, client: Client, request: RequestInfo) -> bool:
        raise AssertionError(f"no rule here goes by RBAC: {client} {request}")

    def last_known(self, client: Client, request: RequestInfo) -> bool | None:
        raise AssertionError(f"no rule here goes by RBAC: {client} {request}")


@dataclass(slots=True, kw_only=True)
class Finished:
    """A kubectl that ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(slots=True, kw_only=True)
class Rig:
    """A running gateway and one command's session in it."""

    site: Site
    gateway: Gateway
    session: CommandSession
    policies: Policies
    audit: io.StringIO
    folder: Path
    kubectl_path: Path

    def kubeconfig(self) -> Path:
        """As the executor writes it."""
        path = self.folder / "kubeconfig"
        ca_file = self.folder / "gateway.pem"
        ca_file.write_text(self.gateway.ca_pem, encoding="ascii")
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "gateway",
                    "cluster": {
                        "server": f"https://127.0.0.1:{self.gateway.port}",
                        "certificate-authority": str(ca_file),
                    },
                }
            ],
            "users": [{"name": "command", "user": {"token": self.session.token}}],
            "contexts": [
                {
                    "name": "gateway",
                    "context": {"cluster": "gateway", "user": "command", "namespace": self.site.team},
                }
            ],
            "current-context": "gateway",
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    async def start(self, *arguments: str, stdin: str = "") -> asyncio.subprocess.Process:
        """Start kubectl."""
        process = await asyncio.create_subprocess_exec(
            self.kubectl_path,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"HOME": str(self.folder), "KUBECONFIG": str(self.kubeconfig()), "PATH": ""},
        )
        assert process.stdin is not None
        process.stdin.write(stdin.encode())
        process.stdin.close()
        return process

    async def kubectl(self, *arguments: str, stdin: str = "") -> Finished:
        """Run kubectl to its end."""
        process = await self.start(*arguments, stdin=stdin)
        try:
            async with asyncio.timeout(KUBECTL_SECONDS):
                stdout, stderr = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.communicate()
            raise
        return Finished(code=process.returncode or 0, stdout=stdout.decode(), stderr=stderr.decode())

    def requests(self) -> list[dict[str, Any]]:
        """The audit lines so far."""
        return [json.loads(line) for line in self.audit.getvalue().splitlines()]


@pytest.fixture
async def rig(site: Site, tmp_path: Path, kubectl_path: Path) -> AsyncIterator[Rig]:
    token_file = tmp_path / "token"
    token_file.write_text(site.token, encoding="ascii")
    cluster = site.cluster
    api_server = ApiServer(host=cluster.host, port=cluster.port, ca_file=cluster.ca_file, token_file=token_file)
    async with ApiClient.connect(api_server) as client:
        catalog = await DiscoveryReader(client).read()
    names = msgspec.json.decode(cluster.kubectl("get", "namespaces", "-o", "json").stdout)["items"]
    namespaces = [Namespace(name=item["metadata"]["name"], labels=item["metadata"].get("labels", {})) for item in names]
    policies = Policies(Snapshot.build([read_policy(deployer(site))], namespaces), catalog)
    environment = Environment(own_namespace=site.own, own_service_account="gateway")
    audit = io.StringIO()
    gateway = Gateway(
        api_server=api_server,
        authorizer=Authorizer(
            store=policies,
            discovery=policies,
            access=policies,
            environment=environment,
            clock=lambda: datetime.now(UTC),
        ),
        metrics=Metrics(),
        audit=AuditLog(audit, cluster="test", requests=RequestAudit.ALL),
        service_account=site.service_account,
    )
    await gateway.start()
    session = gateway.open(client=AGENT, tool=Tool.KUBECTL, command_id="c-1")
    yield Rig(
        site=site,
        gateway=gateway,
        session=session,
        policies=policies,
        audit=audit,
        folder=tmp_path,
        kubectl_path=kubectl_path,
    )
    await gateway.close()


@pytest.fixture(scope="session")
def kubectl_path() -> Path:
    from devtools.toolchain import ensure_tools

    return ensure_tools(["kubectl"])["kubectl"]


async def test_get_and_describe_show_what_the_policy_allows(rig: Rig) -> None:
    got = await rig.kubectl("get", "pods", "-o", "wide")
    assert (got.code, got.stderr) == (0, "")
    assert "web" in got.stdout
    described = await rig.kubectl("describe", "pod", "web")
    assert (described.code, described.stderr) == (0, "")
    assert "example.com/web:1" in described.stdout


@pytest.mark.parametrize(
    "output",
    ["", "wide", "name", "json", "yaml", "jsonpath={.items[*].metadata.namespace}"],
    ids=["table", "wide", "name", "json", "yaml", "jsonpath"],
)
async def test_a_list_of_all_namespaces_holds_only_those_of_the_policy(rig: Rig, output: str) -> None:
    got = await rig.kubectl("get", "configmaps", "-A", *(["-o", output] if output else []))
    assert (got.code, got.stderr) == (0, "")
    assert rig.site.other not in got.stdout
    assert "kube-system" not in got.stdout
    if output != "name":
        assert rig.site.team in got.stdout
        assert rig.site.second in got.stdout
    assert rig.session.filtered


async def test_namespaces_are_listed_as_far_as_the_policy_names_them(rig: Rig) -> None:
    got = await rig.kubectl("get", "namespaces", "-o", "name")
    assert (got.code, got.stderr) == (0, "")
    assert got.stdout.split() == sorted([f"namespace/{rig.site.team}", f"namespace/{rig.site.second}"])


@pytest.mark.parametrize("chunk", ["500", "1"], ids=["at once", "one by one"])
async def test_custom_resources_whose_lists_begin_with_the_items_are_cut_as_well(rig: Rig, chunk: str) -> None:
    site = rig.site
    got = await rig.kubectl("get", f"widgets.{site.group}", "-A", "-o", "json", f"--chunk-size={chunk}")
    assert (got.code, got.stderr) == (0, "")
    found = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in json.loads(got.stdout)["items"]]
    assert sorted(found) == sorted(
        (namespace, name) for namespace in (site.team, site.second) for name in ("one", "two")
    )
    raw = await rig.kubectl("get", "--raw", f"/apis/{site.group}/v1/widgets")
    assert list(json.loads(raw.stdout)) == ["apiVersion", "items", "kind", "metadata"]
    assert len(json.loads(raw.stdout)["items"]) == 4


async def test_a_filtered_list_comes_whole_whatever_the_page_size(rig: Rig) -> None:
    objects = [configmap(f"page-{index}", rig.site.team) for index in range(12)]
    apply(rig.site.cluster, *objects)
    got = await rig.kubectl("get", "configmaps", "-A", "--chunk-size=3", "-o", "name")
    assert (got.code, got.stderr) == (0, "")
    assert sum("page-" in line for line in got.stdout.split()) == 12
    assert sum("limit=3" in line["target"] for line in await settled(rig)) == 1


async def test_the_objects_of_another_namespace_cannot_be_counted_by_paging(rig: Rig) -> None:
    site = rig.site
    apply(site.cluster, *(configmap(f"hidden-{index}", site.other) for index in range(5)))
    for namespace in (site.other, "kube-system", "missing"):
        selector = f"--field-selector=metadata.namespace={namespace}"
        got = await rig.kubectl("get", "configmaps", "-A", "--chunk-size=1", selector, "-o", "json")
        assert (got.code, got.stderr) == (0, "")
        assert json.loads(got.stdout)["items"] == []
        assert "continue" not in json.loads(got.stdout)["metadata"]
    lists = [line for line in await settled(rig) if line["attributes"].get("resource") == "configmaps"]
    assert [line["verdict"] for line in lists] == ["filtered"] * 3
    assert not any(site.other in line["target"] for line in lists)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(("get", "secrets"), "sensitive", id="secrets"),
        pytest.param(("get", "pods", "-n", "{other}"), "may not list pods in namespace", id="another namespace"),
        pytest.param(("get", "pods", "-n", "{own}"), "own namespace", id="our own namespace"),
        pytest.param(("get", "nodes"), "may not list nodes", id="cluster-scoped"),
        pytest.param(("delete", "pod", "web", "-n", "{other}"), "may not delete pods", id="delete elsewhere"),
        pytest.param(("get", "--raw", "/api/v1/namespaces/{other}/pods"), "may not list pods", id="raw"),
        pytest.param(("get", "--raw", "/api/v1/namespaces/x%2F..%2F{other}/pods"), "may not list pods", id="raw %2F"),
        pytest.param(("get", "--raw", "/metrics"), "may not get path", id="metrics"),
        pytest.param(("create", "token", "default", "--audience=k8s-mcp-server"), "never issued", id="our audience"),
    ],
)  # fmt: skip
async def test_what_the_policy_does_not_allow_is_refused_with_a_reason(
    rig: Rig, arguments: tuple[str, ...], expected: str
) -> None:
    site = rig.site
    named = [item.format(team=site.team, other=site.other, own=site.own) for item in arguments]
    got = await rig.kubectl(*named)
    assert got.code != 0
    assert expected in got.stderr
    assert rig.session.requests_denied >= 1
    [denied] = [line for line in rig.requests() if line["verdict"] == "deny"]
    assert denied["reason"] in {
        "SensitiveNotNamed", "NotAllowed", "OwnNamespace", "MalformedRequest", "NeverAllowed",
    }  # fmt: skip


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def token_request(spec: bytes) -> bytes:
    type_meta = _field(1, b"authentication.k8s.io/v1") + _field(2, b"TokenRequest")
    return b"k8s\0" + _field(1, type_meta) + spec


OTHER_AUDIENCE = _field(1, b"other")
OUR_AUDIENCE = _field(1, b"k8s-mcp-server")
SPEC_BEYOND = 2 + (1 << 32)  # the generated decoder reads it as 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(_field(2, _field(2, OTHER_AUDIENCE)), 201, id="another audience"),
        pytest.param(_field(2, _field(2, OUR_AUDIENCE)), 403, id="ours"),
        pytest.param(_field(2, _field(SPEC_BEYOND, OUR_AUDIENCE)), 403, id="ours in a spec beyond"),
        pytest.param(_field(2, _field(2, OTHER_AUDIENCE + _field(1 + (1 << 32), b"k8s-mcp-server"))), 403, id="beyond"),
        pytest.param(
            _field(2, _field(2, OTHER_AUDIENCE)) + _field(SPEC_BEYOND, _field(2, OUR_AUDIENCE)), 403, id="raw beyond"
        ),
    ],
)
async def test_no_spelling_of_our_audience_gets_a_token(rig: Rig, body: bytes, status: int) -> None:
    async with await RawClient.connect(rig.gateway.port, rig.gateway.ca_pem) as client:
        target = f"/api/v1/namespaces/{rig.site.team}/serviceaccounts/default/token"
        headers = ("Content-Type: application/vnd.kubernetes.protobuf",)
        await client.send(request("POST", target, token=rig.session.token, headers=headers, body=token_request(body)))
        assert (await client.response()).status == status


async def test_impersonation_by_the_command_does_not_reach_the_api_server(rig: Rig) -> None:
    got = await rig.kubectl("get", "pods", "-n", rig.site.other, "--as=system:admin", "--as-group=system:masters")
    assert got.code != 0
    assert "may not list pods" in got.stderr


async def test_a_manifest_is_created_applied_changed_and_deleted(rig: Rig) -> None:
    name = f"made-{uuid.uuid4().hex[:6]}"
    manifest = json.dumps(configmap(name))
    changed = json.dumps({**configmap(name), "data": {"a": "2"}})
    for arguments, stdin, expected in (
        (("create", "-f", "-"), manifest, "created"),
        (("apply", "-f", "-"), changed, "configured"),
        (("apply", "--server-side", "--force-conflicts", "-f", "-"), changed, "serverside-applied"),
        (("replace", "-f", "-"), manifest, "replaced"),
        (("label", "configmap", name, "x=y"), "", "labeled"),
        (("delete", "configmap", name), "", "deleted"),
    ):
        got = await rig.kubectl(*arguments, stdin=stdin)
        assert (got.code, expected in got.stdout) == (0, True), (arguments, got)
    assert rig.session.requests_denied == 0


async def test_a_rollout_is_created_waited_for_restarted_and_deleted(rig: Rig) -> None:
    name = f"app-{uuid.uuid4().hex[:6]}"
    steps = (
        ("create", "deployment", name, "--image=example.com/app:1", "--replicas=2"),
        ("rollout", "status", f"deployment/{name}", "--timeout=20s"),
        ("rollout", "restart", f"deployment/{name}"),
        ("wait", "--for=condition=Available", f"deployment/{name}", "--timeout=20s"),
        ("scale", f"deployment/{name}", "--replicas=1"),
        ("delete", "deployment", name),
    )
    for arguments in steps:
        got = await rig.kubectl(*arguments)
        assert got.code == 0, (arguments, got)


async def test_a_filtered_watch_begins_at_once_and_shows_only_the_policys_namespaces(rig: Rig) -> None:
    site, name = rig.site, f"seen-{uuid.uuid4().hex[:6]}"
    columns = "custom-columns=:metadata.namespace,:metadata.name"
    process = await rig.start("get", "configmaps", "-A", "--watch-only", "-o", columns)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(KUBECTL_SECONDS):
            await eventually(lambda: "watch=true" in watching(rig))
            await asyncio.to_thread(apply, site.cluster, configmap(name, site.other), configmap(name, site.team))
            line = await process.stdout.readline()
            while name.encode() not in line:
                line = await process.stdout.readline()
        assert line.split() == [site.team.encode(), name.encode()]
    finally:
        process.kill()
        await process.communicate()


def watching(rig: Rig) -> str:
    """The targets of the requests that are being served now."""
    return " ".join(exchange._head.target for exchange in rig.session.in_flight if isinstance(exchange, Exchange))


async def test_a_watch_ends_when_its_policy_goes(rig: Rig) -> None:
    process = await rig.start("get", "pods", "--watch-only")
    try:
        async with asyncio.timeout(KUBECTL_SECONDS):
            await eventually(lambda: "watch=true" in watching(rig))
            rig.policies.snapshot = Snapshot.build([], [])
            rig.gateway.revalidate()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    assert rig.session.requests_denied >= 1


async def test_logs_and_exec_pass_through(rig: Rig) -> None:
    logs = await rig.kubectl("logs", "web")
    assert logs.code == 0, logs
    run = await rig.kubectl("exec", "web", "--", "echo", "over the wire")
    assert (run.code, run.stdout) == (0, "over the wire\n"), run
    lines = [line for line in await settled(rig) if line["attributes"].get("subresource") == "exec"]
    assert [line["status"] for line in lines] == [101]
    assert lines[0]["rule"] == "streams"
    assert "command=…&command=…" in lines[0]["target"]
    assert "over" not in rig.audit.getvalue()


async def test_a_port_is_forwarded(rig: Rig) -> None:
    process = await rig.start("port-forward", "pod/web", ":80")
    assert process.stdout is not None
    try:
        async with asyncio.timeout(KUBECTL_SECONDS):
            line = await process.stdout.readline()
            port = int(line.split(b" -> ", maxsplit=1)[0].rsplit(b":", maxsplit=1)[1])
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello")
            handling = await process.stdout.readline()
            while not handling.startswith(b"Handling connection"):
                handling = await process.stdout.readline()
            writer.close()
    finally:
        process.kill()
        await process.communicate()
    forwarded = [line for line in await settled(rig) if line["attributes"].get("subresource") == "portforward"]
    assert [line["status"] for line in forwarded] == [101]


async def settled(rig: Rig) -> list[dict[str, Any]]:
    """The audit lines once no request is being served any more."""
    await eventually(lambda: not rig.session.in_flight)
    return rig.requests()


async def test_exec_elsewhere_is_refused(rig: Rig) -> None:
    run = await rig.kubectl("exec", "-n", rig.site.other, "web", "--", "id")
    assert run.code != 0
    assert "uid=" not in run.stdout


async def test_the_api_servers_audit_log_names_the_client_and_joins_our_record(rig: Rig) -> None:
    if rig.site.cluster.audit_log is None:
        pytest.skip("this cluster's audit log cannot be read")
    await rig.kubectl("get", "pods", "-o", "name")
    [ours] = [line for line in rig.requests() if line["attributes"].get("resource") == "pods"]
    event: dict[str, Any] = {}
    async with asyncio.timeout(20):
        while not event:
            for line in rig.site.cluster.audit_log.read_text(encoding="utf-8").splitlines():
                if ours["auditID"] in line:
                    event = json.loads(line)
            await asyncio.sleep(0.1)
    assert event["user"]["username"] == rig.site.service_account
    assert event["impersonatedUser"]["username"] == rig.site.service_account
    assert event["impersonatedUser"]["extra"] == {"k8s-mcp.io/client": [AGENT.username]}
    assert "system:serviceaccounts" in event["impersonatedUser"]["groups"]
    assert event["userAgent"].startswith(f"{AGENT.username} command/c-1 kubectl/")
    assert (ours["policyUID"], ours["policyResourceVersion"], ours["rule"]) == ("5c6f", "41", "deploy")


async def test_a_closed_sessions_token_is_worthless(rig: Rig) -> None:
    await rig.gateway.close_session(rig.session)
    got = await rig.kubectl("get", "pods")
    assert got.code != 0
    assert "must be logged in" in got.stderr


async def test_a_raw_get_is_answered_like_the_api_server_does(rig: Rig) -> None:
    client = await RawClient.connect(rig.gateway.port, rig.gateway.ca_pem)
    async with client:
        await client.send(request("GET", "/version", token=rig.session.token))
        answer = await client.response()
    direct = rig.site.cluster.kubectl("get", "--raw", "/version").stdout
    assert json.loads(answer.body) == json.loads(direct)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        pytest.param(("get", "pods"), "yes", id="allowed"),
        pytest.param(("list", "pods", "-A"), "yes", id="allowed, cut"),
        pytest.param(("get", "pods", "-A"), "no - no policy gives this in all namespaces at once", id="everywhere"),
        pytest.param(("get", "pods", "-n", "{other}"), "no - ", id="another namespace"),
        pytest.param(("get", "secrets"), "no - ", id="sensitive"),
        pytest.param(("create", "pods", "--subresource=exec"), "yes", id="exec"),
        pytest.param(("patch", "deployments", "--subresource=scale"), "yes", id="scale"),
        pytest.param(("list", "nodes"), "no - ", id="cluster-scoped"),
        pytest.param(("get", "namespaces/{team}"), "yes", id="one's namespace"),
        pytest.param(("get", "namespaces/{other}"), "no - ", id="another's namespace"),
        pytest.param(("*", "*"), "no - no policy gives everything", id="everything"),
        pytest.param(("*", "secrets"), "no - ", id="every verb on what is sensitive"),
        pytest.param(("impersonate", "serviceaccounts"), "no - ", id="impersonate"),
        pytest.param(("get", "/version"), "yes", id="discovery"),
        pytest.param(("get", "/metrics"), "no - ", id="metrics"),
        pytest.param(("use", "pods"), "no - the policy allows it, but this service itself may not", id="not our right"),
    ],
)
async def test_can_i_is_answered_for_the_client(rig: Rig, question: tuple[str, ...], answer: str) -> None:
    asked = [item.format(team=rig.site.team, other=rig.site.other) for item in question]
    got = await rig.kubectl("auth", "can-i", *asked)
    assert (got.code, got.stdout.startswith(answer)) == (0 if answer == "yes" else 1, True), got
    assert rig.session.requests_denied == 0


async def test_can_i_list_shows_what_the_policy_allows(rig: Rig) -> None:
    got = await rig.kubectl("auth", "can-i", "--list", "--no-headers")
    assert (got.code, got.stderr) == (0, "")
    lines = {line.split()[0]: line for line in got.stdout.splitlines() if not line.startswith(" ")}
    assert lines["pods"].split("[")[-1] == "get list watch create update patch delete deletecollection]"
    assert lines["pods/exec"].endswith("[get create]")
    assert lines["deployments.apps/scale"].endswith("[get update patch]")
    assert lines["secrets"].endswith("[create update]")  # what cannot show one
    assert not {"nodes", "jobs.batch"} & lines.keys()
    elsewhere = await rig.kubectl("auth", "can-i", "--list", "--no-headers", "-n", rig.site.other)
    assert "pods" not in elsewhere.stdout


async def test_whoami_names_the_client(rig: Rig) -> None:
    got = await rig.kubectl("auth", "whoami", "-o", "json")
    assert (got.code, got.stderr) == (0, "")
    assert json.loads(got.stdout)["status"]["userInfo"] == {"username": AGENT.username}


async def test_a_review_in_json_is_answered_as_one_in_protobuf(rig: Rig) -> None:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"namespace": rig.site.other, "verb": "get", "resource": "pods"}},
    }
    got = await rig.kubectl("create", "--validate=false", "-f", "-", "-o", "json", stdin=json.dumps(review))
    assert (got.code, got.stderr) == (0, ""), got
    assert json.loads(got.stdout)["status"]["allowed"] is False
    invalid = await rig.kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps({**review, "spec": {}}))
    assert "exactly one of" in invalid.stderr


async def test_kubectl_waits_when_its_client_has_too_much_under_way(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.kubectl("get", "pods")  # discovery is cached now
    monkeypatch.setattr("k8s_mcp_server.gateway.served.MOST_REQUESTS_OF_A_CLIENT", 1)
    watch = await rig.start("get", "pods", "--watch-only")
    try:
        async with asyncio.timeout(KUBECTL_SECONDS):
            await eventually(lambda: "watch=true" in watching(rig))
            getting = await rig.start("get", "pods", "-o", "name")
            await eventually(lambda: any(line["reason"] == "TooManyRequests" for line in rig.requests()))
            watch.kill()
            stdout, stderr = await getting.communicate()
    finally:
        if watch.returncode is None:
            watch.kill()
        await watch.communicate()
    assert (getting.returncode, stdout.decode(), stderr.decode()) == (0, "pod/web\n", "")
