"""Policies and namespaces, status and readiness, on the real API server."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devtools.cluster import KwokCluster, Switches
from k8s_mcp_server.cluster import events
from k8s_mcp_server.cluster.cluster import Cluster, NotReady
from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.cluster.lease import LEASE_NAME
from k8s_mcp_server.cluster.permissions import REQUIRED_PERMISSIONS, Within
from k8s_mcp_server.policy.compile import CompiledPolicy, InvalidPolicy
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from tests.support.controlling import NEVER, QUICK, Policies, started, until_active
from tests.support.eventually import eventually
from tests.support.policies import RULE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.cluster import TestCluster

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

CRD = Path(__file__).parents[2] / "crds" / "k8s-mcp.io_mcpaccesspolicies.yaml"
CRD_NAME = "customresourcedefinition/mcpaccesspolicies.k8s-mcp.io"


@pytest.fixture
def crd(cluster: TestCluster) -> None:
    """Policies are served."""
    cluster.kubectl("apply", "--server-side", "-f", str(CRD))
    cluster.kubectl("wait", CRD_NAME, "--for=condition=Established", "--timeout=30s")


@pytest.fixture
def home(cluster: TestCluster, namespace_factory: Callable[[str], str]) -> Iterator[str]:
    """A namespace for the service, with its Lease, and its account with the rights that the service states, no more."""
    namespace = namespace_factory("controller")
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEASE_NAME}}
    cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(lease))
    made = [item for within in Within for item in _role_and_binding(namespace, within)]
    cluster.kubectl("create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))
    yield namespace
    made_here = (f"{kind}/{namespace}" for kind in ("clusterrole", "clusterrolebinding"))
    cluster.kubectl("delete", *made_here, "--ignore-not-found")
    made_there = (f"{kind}/{namespace}" for kind in ("role", "rolebinding"))
    cluster.kubectl("delete", "-n", events.NAMESPACE, *made_there, "--ignore-not-found")


def _role_and_binding(name: str, within: Within) -> list[dict[str, Any]]:
    where = {Within.OWN_NAMESPACE: name, Within.EVENTS_NAMESPACE: events.NAMESPACE}.get(within)
    kind, metadata = ("Role", {"name": name, "namespace": where}) if where else ("ClusterRole", {"name": name})
    rules = [
        {
            "apiGroups": [item.api_group],
            "resources": [item.resource],
            "resourceNames": list(item.resource_names),
            "verbs": list(item.verbs),
        }
        for item in REQUIRED_PERMISSIONS
        if item.within is within
    ]
    group = "rbac.authorization.k8s.io"
    common = {"apiVersion": f"{group}/v1", "metadata": metadata}
    subjects = [{"kind": "ServiceAccount", "namespace": name, "name": "default"}]
    role_ref = {"apiGroup": group, "kind": kind, "name": name}
    return [
        {**common, "kind": kind, "rules": rules},
        {**common, "kind": f"{kind}Binding", "roleRef": role_ref, "subjects": subjects},
    ]


@pytest.fixture
def api_server(cluster: TestCluster, home: str, tmp_path: Path) -> ApiServer:
    """The API server, and that account's token."""
    token_file = tmp_path / "token"
    token_file.write_text(cluster.service_account_token(home, "default"), encoding="ascii")
    return ApiServer(host=cluster.host, port=cluster.port, ca_file=Path(cluster.ca_file), token_file=token_file)


@pytest.fixture
def policies(cluster: TestCluster, crd: None) -> Iterator[Policies]:
    made = Policies(cluster)
    yield made
    made.remove()


@pytest.mark.parametrize(
    "resync_seconds", [pytest.param(NEVER, id="by events alone"), pytest.param(QUICK, id="with the resync")]
)
async def test_a_policy_is_seen_from_creation_to_deletion(
    api_server: ApiServer, home: str, policies: Policies, resync_seconds: float
) -> None:
    first, second = policies.unique(), policies.unique()
    await policies.apply(first)
    async with started(api_server, home, resync_seconds=resync_seconds) as cluster:
        store = cluster.store
        assert isinstance(store.snapshot.policies[first], CompiledPolicy)
        for _ in range(20):  # until kopf watches as well, only the resync would tell
            with suppress(AssertionError):
                await policies.apply(second, reason=uuid.uuid4().hex)
                await eventually(lambda: second in store.snapshot.policies, within=1)
                break
        assert second in store.snapshot.policies

        await policies.apply(second, suspend=True)
        await eventually(lambda: getattr(store.snapshot.policies[second], "suspend", False))

        await policies.delete(second)
        await eventually(lambda: second not in store.snapshot.policies)
        assert first in store.snapshot.policies


async def test_a_relabelled_namespace_is_seen_at_once(
    cluster: TestCluster, api_server: ApiServer, home: str, namespace_factory: Callable[[str], str], crd: None
) -> None:
    async with started(api_server, home) as running:
        name = await asyncio.to_thread(namespace_factory, "team")
        await eventually(lambda: name in running.store.snapshot.namespaces)
        await asyncio.to_thread(cluster.kubectl, "label", "namespace", name, "acme.com/team=a")
        await eventually(lambda: running.store.snapshot.namespaces[name].labels.get("acme.com/team") == "a")


async def test_discovery_knows_scopes_and_learns_of_a_new_resource(api_server: ApiServer, home: str, crd: None) -> None:
    async with started(api_server, home) as running:
        catalog = running.discovery.catalog
        assert catalog.scope_of(group="", resource="pods") == "Namespaced"
        assert catalog.scope_of(group="", resource="nodes") == "Cluster"
        assert catalog.scope_of(group="k8s-mcp.io", resource="mcpaccesspolicies") == "Cluster"
        assert catalog.scope_of(group="apps", resource="deployments/scale") is None
        assert (found := catalog.find(group="apps", resource="deployments")) is not None
        assert "deploy" in found.short_names

        await running.discovery.refresh()
        assert running.discovery.age() < 30


async def test_status_says_what_becomes_of_a_policy_and_keeps_the_time_of_the_last_change(
    api_server: ApiServer, home: str, policies: Policies
) -> None:
    name = policies.unique()
    async with started(api_server, home):
        await policies.apply(name, rules=[])
        await until_active(policies, name, "Active")
        first = await policies.status(name)
        assert first["observedGeneration"] == 1
        assert first["matchedNamespaces"] == 0

        await policies.apply(name, rules=[], suspend=True)
        await until_active(policies, name, "Suspended")
        second = await policies.status(name)

    assert second["observedGeneration"] == 2
    ready_before, ready_after = (
        next(item for item in status["conditions"] if item["type"] == "Ready") for status in (first, second)
    )
    assert ready_after["lastTransitionTime"] == ready_before["lastTransitionTime"]


async def test_describe_shows_what_occurred_to_a_policy(
    cluster: TestCluster, api_server: ApiServer, home: str, policies: Policies
) -> None:
    """Under the rights that the service states: an Event in `default`, and one more in its series."""
    name, account = policies.unique(), policies.unique()
    subject = {"kind": "ServiceAccount", "namespace": "agents", "name": account}
    client = Client(username=f"system:serviceaccount:agents:{account}")

    async def described() -> str:
        return (await asyncio.to_thread(cluster.kubectl, "describe", "mcpap", name)).stdout

    async def until_told(*words: str) -> None:
        async with asyncio.timeout(30):
            while not any(set(words) <= set(line.split()) for line in (await described()).splitlines()):  # noqa: ASYNC110  as above
                await asyncio.sleep(0.05)

    async with started(api_server, home) as running:
        await policies.apply(name, subjects=[subject], rules=[])
        await eventually(lambda: running.store.snapshot.policies_for(client))
        running.events.denied(client, "NotAllowed")
        await until_told("Warning", "NotAllowed")
        running.events.denied(client, "NotAllowed")
        await until_told("Warning", "NotAllowed", "(x2")

        await policies.apply(name, subjects=[subject], rules=[], suspend=True)
        await until_told("Normal", "Suspended")
    assert account not in (await described()).partition("Events:")[2]


async def test_get_answers_at_a_glance(
    cluster: TestCluster, api_server: ApiServer, home: str, policies: Policies
) -> None:
    given, blocked, invalid = (policies.unique() for _ in range(3))
    async with started(api_server, home):
        await policies.apply(given, rules=[{**RULE, "namespaces": ["default"]}], tools=["kubectl", "helm"])
        await policies.apply(blocked, block=True, mode="DryRun")
        await policies.apply(invalid, expiresAt="0000-01-01T00:00:00Z")
        for name, reason in ((given, "Active"), (blocked, "Blocked"), (invalid, "InvalidSpec")):
            await until_active(policies, name, reason)
    table = (await asyncio.to_thread(cluster.kubectl, "get", "mcpap", given, blocked, invalid)).stdout.splitlines()
    heading, *rows = (re.split(r"\s{2,}", line.strip()) for line in table)
    assert heading == ["NAME", "READY", "ACTIVE", "MODE", "FIRST SUBJECT", "TOOLS", "NAMESPACES", "AGE"]
    assert [row[:-1] for row in rows] == [
        [given, "True", "True", "Enforce", "deployer", '["kubectl","helm"]', "1"],
        [blocked, "True", "False", "DryRun", "deployer", '["kubectl"]', "0"],
        [invalid, "False", "False", "Enforce", "deployer", '["kubectl"]', "0"],
    ]


async def condition(policies: Policies, name: str, kind: str) -> dict[str, Any]:
    found = {item["type"]: item for item in (await policies.status(name)).get("conditions", ())}
    return dict(found.get(kind, {}))


async def until_condition(policies: Policies, name: str, kind: str, status: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while (found := await condition(policies, name, kind)).get("status") != status:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.05)
    return found


async def test_a_policy_that_nobody_has_looked_at_is_on_its_way_and_not_ready(policies: Policies) -> None:
    """kstatus takes an object without conditions for one that is done."""
    name = policies.unique()
    await policies.apply(name)
    assert (await condition(policies, name, "Ready"))["status"] == "Unknown"
    assert (await condition(policies, name, "Reconciling"))["status"] == "True"


async def test_status_says_which_rights_the_server_itself_lacks(
    cluster: TestCluster, api_server: ApiServer, home: str, policies: Policies, namespace_factory: Callable[[str], str]
) -> None:
    granted, bare = [await asyncio.to_thread(namespace_factory, "team") for _ in range(2)]
    account = f"--serviceaccount={home}:default"
    bind = ("create", "rolebinding", "view", "--clusterrole=view", account, f"--namespace={granted}")
    await asyncio.to_thread(cluster.kubectl, *bind)
    rule = {"name": "read", "apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}
    held, lacking, wide = (policies.unique() for _ in range(3))
    await policies.apply(held, rules=[{**rule, "namespaces": [granted]}])
    await policies.apply(lacking, rules=[{**rule, "namespaces": [granted, bare]}])
    await policies.apply(wide, rules=[{**rule, "namespaces": [granted], "resources": ["*"]}])
    async with started(api_server, home):
        assert (await until_condition(policies, held, "WithinServerRBAC", "True"))["reason"] == "RightsHeld"
        missing = await until_condition(policies, lacking, "WithinServerRBAC", "False")
        assert f"read lacks get pods in {bare}, list pods in {bare}, get pods/log in {bare}" in missing["message"]
        unknown = await until_condition(policies, wide, "WithinServerRBAC", "Unknown")
        assert "read: not all of get *" in unknown["message"]
        for name in (held, lacking, wide):
            assert (await condition(policies, name, "Ready"))["status"] == "True"


async def test_status_says_whose_clients_can_be_forged_by_whom(
    api_server: ApiServer, home: str, policies: Policies, namespace_factory: Callable[..., str]
) -> None:
    make = functools.partial(namespace_factory, "agents", labels={"pod-security.kubernetes.io/enforce": "restricted"})
    agents = await asyncio.to_thread(make)
    victim, forger = policies.unique(), policies.unique()
    writes = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"], "namespaces": [agents], "name": "deploy"}
    await policies.apply(forger, rules=[writes], subjects=[{"kind": "User", "name": "oidc:ann"}])
    await policies.apply(victim, subjects=[{"kind": "ServiceAccount", "namespace": agents, "name": "bot"}])
    async with started(api_server, home):
        told = await until_condition(policies, victim, "Warnings", "True")
        assert told["reason"] == "SubjectForgeable"
        assert f"the clients of policy {forger} may run workloads in {agents} (rule deploy)" in told["message"]


async def test_an_object_that_the_schema_lets_pass_and_the_server_cannot_read_is_invalid_and_says_so(
    api_server: ApiServer, home: str, policies: Policies
) -> None:
    """The year 0 is one for the API server."""
    name = policies.unique()
    async with started(api_server, home) as running:
        await policies.apply(name, expiresAt="0000-01-01T00:00:00Z")
        await eventually(lambda: isinstance(running.store.snapshot.policies.get(name), InvalidPolicy))
        await until_active(policies, name, "InvalidSpec")


async def test_of_two_replicas_one_writes_status_and_no_object_is_touched_otherwise(
    cluster: TestCluster, api_server: ApiServer, home: str, policies: Policies
) -> None:
    name = policies.unique()
    async with (
        started(api_server, home, identity="replica-1") as one,
        started(api_server, home, identity="replica-2") as two,
    ):
        await policies.apply(name)
        await until_active(policies, name, "Active")
        leaders = [value_of(each, "k8s_mcp_leader") for each in (one, two)]
        assert sorted(leaders) == [0, 1]

        shown = await asyncio.to_thread(
            cluster.kubectl, "get", "mcpaccesspolicy", name, "-o", "json", "--show-managed-fields"
        )
        metadata = json.loads(shown.stdout)["metadata"]
        assert "finalizers" not in metadata
        assert set(metadata["annotations"]) == {"kubectl.kubernetes.io/last-applied-configuration"}
        managers = [(item["manager"], item.get("subresource")) for item in metadata["managedFields"]]
        assert ("k8s-mcp-server", "status") in managers
        assert len(managers) == 2
    await until_lease_is_free(cluster, home)


def value_of(cluster: Cluster, name: str) -> float:
    value = cluster._metrics.registry.get_sample_value(name)
    assert value is not None
    return value


async def until_lease_is_free(cluster: TestCluster, home: str) -> None:
    arguments = ("get", "lease", LEASE_NAME, "-n", home, "-o", "jsonpath={.spec.holderIdentity}")
    shown = await asyncio.to_thread(cluster.kubectl, *arguments)
    assert shown.stdout == "", "a replica that ends lets go of the Lease"


@pytest.fixture
def expendable(tmp_path: Path) -> Iterator[TestCluster]:
    """A cluster whose CRD may go: nobody else's policies are in it."""
    if not Switches.from_environment().use_kwok:
        pytest.skip("the CRD of an existing cluster is not ours to remove")
    with KwokCluster.start(name="expendable", nodes=1) as cluster:
        yield cluster


async def test_the_crd_may_go_and_come_back(expendable: TestCluster, tmp_path: Path) -> None:
    kubectl, policies = expendable.kubectl, Policies(expendable)
    account = ("clusterrolebinding", "admin", "--clusterrole=cluster-admin", "--serviceaccount=default:default")
    for arguments in (("apply", "--server-side", "-f", str(CRD)), ("create", *account)):
        await asyncio.to_thread(kubectl, *arguments)
    await asyncio.to_thread(kubectl, "wait", "serviceaccount/default", "--for=create", "--timeout=30s")
    await asyncio.to_thread(kubectl, "wait", CRD_NAME, "--for=condition=Established", "--timeout=30s")
    token_file = tmp_path / "token"
    token_file.write_text(expendable.service_account_token("default", "default"), encoding="ascii")
    where = ApiServer(
        host=expendable.host, port=expendable.port, ca_file=Path(expendable.ca_file), token_file=token_file
    )
    await policies.apply("before")
    async with started(where, "default") as running:
        await asyncio.to_thread(kubectl, "delete", CRD_NAME)
        await eventually(lambda: NotReady.POLICIES_NOT_SERVED in running.not_ready_reasons(), within=30)
        assert not running.store.snapshot.policies

        await asyncio.to_thread(kubectl, "apply", "--server-side", "-f", str(CRD))
        await asyncio.to_thread(kubectl, "wait", CRD_NAME, "--for=condition=Established", "--timeout=30s")
        await policies.apply("after")
        await eventually(lambda: set(running.store.snapshot.policies) == {"after"}, within=30)
        assert not running.not_ready_reasons()


async def test_the_stated_rights_are_enough(
    cluster: TestCluster, api_server: ApiServer, home: str, policies: Policies
) -> None:
    """Nothing that the service asked for was refused, as the API server's own log has it."""
    if cluster.audit_log is None:
        pytest.skip("only a cluster of the tests' own has an audit log at hand")
    name = policies.unique()
    async with started(api_server, home) as running:
        await policies.apply(name)
        await until_active(policies, name, "Active")
        assert await running.tokens.authenticate(await asyncio.to_thread(our_token, cluster, home)) is not None

    account = f"system:serviceaccount:{home}:default"
    lines = await asyncio.to_thread(Path(cluster.audit_log).read_text, encoding="utf-8")
    events = [event for event in map(json.loads, lines.splitlines()) if event["user"].get("username") == account]
    refused = [event["requestURI"] for event in events if event.get("responseStatus", {}).get("code") == 403]
    assert events
    assert refused == []


def our_token(cluster: TestCluster, home: str) -> str:
    return cluster.service_account_token(home, "default", audience=Environment().audience)
