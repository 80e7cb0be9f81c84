"""What goes wrong between the service and a real API server never becomes a grant: each fault, as decisions."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devtools.cluster import KwokCluster, Switches
from devtools.cluster.outage import api_server_away, forget_history
from k8s_mcp_server.cluster.cluster import Cluster, NotReady
from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.asking import AGENT, AGENT_SUBJECT, request
from tests.support.eventually import eventually
from tests.support.relay import Relay

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
CRD = "customresourcedefinition/mcpaccesspolicies.k8s-mcp.io"
READS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
IN_DEFAULT = {"namespaces": ["default"], **READS}
# So short that a test need not wait for long, and long enough for a machine with other work.
OLDEST = 6.0
ENVIRONMENT = Environment(max_snapshot_age=OLDEST)
WITHIN = 60.0


@pytest.fixture(scope="module")
def own() -> Iterator[KwokCluster]:
    """A cluster whose API server may be stopped."""
    if not Switches.from_environment().use_kwok:
        pytest.skip("the API server of an existing cluster is not ours to stop")
    with KwokCluster.start(name="faults", nodes=0) as cluster:
        cluster.kubectl("apply", "--kustomize", str(ROOT / "crds"))
        cluster.kubectl("wait", CRD, "--for=condition=Established", "--timeout=30s")
        cluster.kubectl("apply", "--kustomize", str(ROOT / "manifests"))
        cluster.kubectl("scale", "deployment/k8s-mcp-server", "--namespace=k8s-mcp-system", "--replicas=0")
        yield cluster


@pytest.fixture
def faulty(own: KwokCluster) -> Iterator[KwokCluster]:
    """The same, without policies before and after."""
    yield own
    own.kubectl("delete", "mcpap", "--all")


class Replica:
    """One replica's view of the cluster through a relay that can be cut, and its decisions."""

    def __init__(self, cluster: Cluster, relay: Relay) -> None:
        self.cluster = cluster
        self.relay = relay
        self._authorizer = Authorizer(
            store=cluster.store,
            discovery=cluster.discovery,
            access=cluster.access,
            environment=ENVIRONMENT,
            clock=cluster.now,
        )

    def decide(self, asked: str = "get configmaps x -n default") -> Reason:
        return self._authorizer.decide([request(asked)], client=AGENT, tool=Tool.KUBECTL).reason

    async def until(self, reason: Reason, asked: str = "get configmaps x -n default") -> None:
        await eventually(lambda: self.decide(asked) is reason, within=WITHIN)


@asynccontextmanager
async def replica(cluster: KwokCluster, folder: Path) -> AsyncIterator[Replica]:
    """The controller under the manifests' rights, ready."""
    token_file = folder / "token"
    token_file.write_text(cluster.service_account_token("k8s-mcp-system", "k8s-mcp-server"), encoding="ascii")
    async with Relay.to(cluster.host, cluster.port) as relay:
        running = Cluster(
            ApiServer(host="127.0.0.1", port=relay.port, ca_file=Path(cluster.ca_file), token_file=token_file),
            environment=ENVIRONMENT,
            metrics=Metrics(),
            identity="replica-1",
            resync_seconds=0.3,
        )
        running.start()
        try:
            await eventually(lambda: not running.not_ready_reasons(), within=WITHIN)
            yield Replica(running, relay)
        finally:
            await asyncio.to_thread(running.stop)


async def apply(cluster: KwokCluster, name: str, **spec: Any) -> None:
    body = {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {"name": name},
        "spec": {"subjects": [AGENT_SUBJECT], "rules": [IN_DEFAULT], **spec},
    }
    await asyncio.to_thread(cluster.kubectl, "apply", "-f", "-", input=json.dumps(body))


async def test_while_the_api_server_is_away_decisions_end_with_the_snapshot_s_age_and_come_back_with_it(
    faulty: KwokCluster, tmp_path: Path
) -> None:
    async with replica(faulty, tmp_path) as one:
        await apply(faulty, "reader")
        await one.until(Reason.ALLOWED_BY_RULE)
        away = api_server_away(faulty)
        await asyncio.to_thread(away.__enter__)
        try:
            await one.until(Reason.SNAPSHOT_STALE)
            assert one.cluster.store.age() > OLDEST
            assert NotReady.POLICY_SNAPSHOT_STALE in one.cluster.not_ready_reasons()
        finally:
            await asyncio.to_thread(away.__exit__, None, None, None)
        await one.until(Reason.ALLOWED_BY_RULE)
        await apply(faulty, "reader", suspend=True)
        await one.until(Reason.POLICY_SUSPENDED)


async def test_a_policy_that_went_behind_a_410_gives_nothing_afterwards(faulty: KwokCluster, tmp_path: Path) -> None:
    async with replica(faulty, tmp_path) as one:
        await apply(faulty, "reader")
        await one.until(Reason.ALLOWED_BY_RULE)
        before = one.cluster.store.snapshot.policies["reader"].resource_version

        await one.relay.cut()
        await asyncio.to_thread(faulty.kubectl, "delete", "mcpap", "reader")
        await asyncio.to_thread(forget_history, faulty)
        path = f"/apis/k8s-mcp.io/v1alpha1/mcpaccesspolicies?watch=1&timeoutSeconds=5&resourceVersion={before}"
        gone = await asyncio.to_thread(faulty.kubectl, "get", "--raw", path, check=False)
        assert '"code":410' in gone.stdout, gone
        await one.until(Reason.SNAPSHOT_STALE)

        await one.relay.open()
        await one.until(Reason.NO_POLICY)
        await apply(faulty, "after")
        await one.until(Reason.ALLOWED_BY_RULE)


async def test_without_the_crd_nothing_is_allowed_and_what_comes_back_counts_anew(
    faulty: KwokCluster, tmp_path: Path
) -> None:
    async with replica(faulty, tmp_path) as one:
        await apply(faulty, "reader")
        await one.until(Reason.ALLOWED_BY_RULE)
        await asyncio.to_thread(faulty.kubectl, "delete", "--kustomize", str(ROOT / "crds"), timeout_seconds=120)
        await eventually(lambda: NotReady.POLICIES_NOT_SERVED in one.cluster.not_ready_reasons(), within=WITHIN)
        assert one.decide() is Reason.SNAPSHOT_STALE

        await asyncio.to_thread(faulty.kubectl, "apply", "--kustomize", str(ROOT / "crds"))
        await asyncio.to_thread(faulty.kubectl, "wait", CRD, "--for=condition=Established", "--timeout=30s")
        await one.until(Reason.NO_POLICY)
        await apply(faulty, "reader")
        await one.until(Reason.ALLOWED_BY_RULE)


async def test_an_object_that_cannot_be_read_refuses_its_clients_only(faulty: KwokCluster, tmp_path: Path) -> None:
    """The API server takes the year 0 for one, and this server cannot: what the policy denies is then unknown."""
    other = {**AGENT_SUBJECT, "name": "other"}
    async with replica(faulty, tmp_path) as one:
        await apply(faulty, "reader")
        await apply(faulty, "poison-of-another", subjects=[other], deny=[IN_DEFAULT], expiresAt="0000-01-01T00:00:00Z")
        await eventually(lambda: "poison-of-another" in one.cluster.store.snapshot.policies, within=WITHIN)
        await one.until(Reason.ALLOWED_BY_RULE)

        elsewhere = {**IN_DEFAULT, "namespaces": ["elsewhere"]}
        await apply(faulty, "poison", deny=[elsewhere], expiresAt="0000-01-01T00:00:00Z")
        await one.until(Reason.POLICY_INVALID)


async def test_a_namespace_that_gets_another_label_leaves_the_rule_that_selected_it(
    faulty: KwokCluster, tmp_path: Path
) -> None:
    asked = "get configmaps x -n labelled"
    selector = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
    await asyncio.to_thread(faulty.kubectl, "create", "namespace", "labelled")
    async with replica(faulty, tmp_path) as one:
        await apply(faulty, "selecting", rules=[{**selector, **READS}])
        await one.until(Reason.NOT_ALLOWED, asked)
        await asyncio.to_thread(faulty.kubectl, "label", "namespace", "labelled", "team=a")
        await one.until(Reason.ALLOWED_BY_RULE, asked)
        await asyncio.to_thread(faulty.kubectl, "label", "namespace", "labelled", "team=b", "--overwrite")
        await one.until(Reason.NOT_ALLOWED, asked)
    await asyncio.to_thread(faulty.kubectl, "delete", "namespace", "labelled")
