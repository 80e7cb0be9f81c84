"""The CRD over the years: older, newer, taken away and brought back, on a real API server of these tests' own."""

from __future__ import annotations

import copy
import json
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devtools.cluster import KwokCluster, Switches
from k8s_mcp_server.cluster.cluster import Cluster, NotReady
from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.policy.compile import InvalidPolicy
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.asking import AGENT, AGENT_SUBJECT, request
from tests.support.crd import crd
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from devtools.cluster import TestCluster
    from k8s_mcp_server.policy.decision import Decision

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

ROOT = Path(__file__).parents[2]
NAME = "crd/mcpaccesspolicies.k8s-mcp.io"
RULE = {"namespaces": ["default"], "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}
WITHIN = 30.0


@pytest.fixture(scope="module")
def own() -> Iterator[TestCluster]:
    """A cluster whose CRD may come and go, with the service installed by its manifests."""
    if not Switches.from_environment().use_kwok:
        pytest.skip("the CRD of an existing cluster is not ours to change")
    with KwokCluster.start(name="crd-life", nodes=0) as cluster:
        yield cluster


@pytest.fixture
def installed(own: TestCluster) -> TestCluster:
    """As the README says, with the CRD of this version."""
    own.kubectl("apply", "--kustomize", "crds")
    own.kubectl("wait", NAME, "--for=condition=Established", "--timeout=30s")
    own.kubectl("apply", "--kustomize", "manifests")
    own.kubectl("scale", "deployment/k8s-mcp-server", "--namespace=k8s-mcp-system", "--replicas=0")
    return own


@asynccontextmanager
async def service(cluster: TestCluster, folder: Path) -> AsyncIterator[Cluster]:
    """The controller, under the account and rights that the manifests give it."""
    token_file = folder / "token"
    token_file.write_text(cluster.service_account_token("k8s-mcp-system", "k8s-mcp-server"), encoding="ascii")
    running = Cluster(
        ApiServer(host=cluster.host, port=cluster.port, ca_file=Path(cluster.ca_file), token_file=token_file),
        environment=Environment(max_snapshot_age=1000),
        metrics=Metrics(),
        identity="replica-1",
        resync_seconds=0.3,
    )
    running.start()
    try:
        yield running
    finally:
        running.stop()


def decide(cluster: Cluster) -> Decision:
    """What the gateway would say to the client that the policies name."""
    authorizer = Authorizer(
        store=cluster.store,
        discovery=cluster.discovery,
        access=cluster.access,
        environment=Environment(),
        clock=cluster.now,
    )
    return authorizer.decide([request("get configmaps -n default")], client=AGENT, tool=Tool.KUBECTL)


def apply_policy(cluster: TestCluster, name: str, **spec: Any) -> None:
    body = {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {"name": name},
        "spec": {"subjects": [AGENT_SUBJECT], "rules": [RULE], **spec},
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(body))


def apply_crd(cluster: TestCluster, body: dict[str, Any]) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=json.dumps(body))


def spec_fields(body: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][
        "properties"
    ]
    return fields


async def ready(cluster: Cluster) -> None:
    await eventually(lambda: not cluster.not_ready_reasons(), within=WITHIN)


async def test_an_older_crd_stops_everything_and_says_so_until_it_is_renewed(
    installed: TestCluster, tmp_path: Path
) -> None:
    """The API server would serve the policies without their denies, and nobody would notice."""
    older = copy.deepcopy(crd())
    del spec_fields(older)["deny"]
    async with service(installed, tmp_path) as running:
        await ready(running)
        apply_crd(installed, older)
        await eventually(lambda: NotReady.POLICY_DEFINITION_OUTDATED in running.not_ready_reasons(), within=WITHIN)
        apply_crd(installed, crd())
        await ready(running)


async def test_what_an_older_crd_hid_counts_from_the_first_decision_after_it_is_renewed(
    installed: TestCluster, tmp_path: Path
) -> None:
    """The service started while the API server served policies without their denies."""
    older = copy.deepcopy(crd())
    del spec_fields(older)["deny"]
    apply_policy(installed, "denying", deny=[RULE])
    try:
        apply_crd(installed, older)
        async with service(installed, tmp_path) as running:
            await eventually(lambda: NotReady.POLICY_DEFINITION_OUTDATED in running.not_ready_reasons(), within=WITHIN)
            assert decide(running).reason is Reason.SNAPSHOT_STALE
            apply_crd(installed, crd())
            await ready(running)
            assert decide(running).reason is Reason.DENIED_BY_RULE
    finally:
        apply_crd(installed, crd())
        installed.kubectl("delete", "mcpap", "--all")


async def test_under_a_newer_crd_a_policy_that_uses_it_refuses_its_clients_and_others_go_on(
    installed: TestCluster, tmp_path: Path
) -> None:
    newer = copy.deepcopy(crd())
    spec_fields(newer)["approvals"] = {"type": "string", "maxLength": 10, "description": "Of a later version."}
    apply_policy(installed, "plain")
    try:
        async with service(installed, tmp_path) as running:
            await ready(running)
            apply_crd(installed, newer)
            await eventually(lambda: decide(running).reason is Reason.ALLOWED_BY_RULE, within=WITHIN)
            assert not running.not_ready_reasons()

            apply_policy(installed, "newer", approvals="two")
            policies = running.store
            await eventually(lambda: isinstance(policies.snapshot.policies.get("newer"), InvalidPolicy), within=WITHIN)
            assert decide(running).reason is Reason.POLICY_INVALID
            await eventually(lambda: "approvals" in ready_message(installed, "newer"), within=WITHIN)
    finally:
        installed.kubectl("delete", "mcpap", "--all")
        apply_crd(installed, crd())


def ready_message(cluster: TestCluster, name: str) -> str:
    status = json.loads(cluster.kubectl("get", "mcpap", name, "-o", "json").stdout)["status"]
    condition = next(item for item in status["conditions"] if item["type"] == "Ready")
    return str(condition["message"]) if condition["status"] == "False" else ""


async def test_an_uninstall_leaves_the_policies_and_a_reinstall_goes_on(installed: TestCluster, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "crd.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"\$ kubectl (delete -k manifests .*)", page)
    apply_policy(installed, "kept")
    try:
        async with service(installed, tmp_path) as running:
            await ready(running)
            await eventually(lambda: ready_status(installed, "kept") == "True", within=WITHIN)
        before = json.loads(installed.kubectl("get", "mcpap", "kept", "-o", "json").stdout)

        installed.kubectl(*command.split(), timeout_seconds=120)
        left = installed.kubectl("get", "all,roles,clusterroles,validatingadmissionpolicies", "-A", "-o", "name").stdout
        assert "k8s-mcp" not in left
        after = json.loads(installed.kubectl("get", "mcpap", "kept", "-o", "json").stdout)
        assert after == before

        installed.kubectl("apply", "--kustomize", "manifests")
        installed.kubectl("scale", "deployment/k8s-mcp-server", "--namespace=k8s-mcp-system", "--replicas=0")
        async with service(installed, tmp_path) as running:
            await ready(running)
            assert decide(running).reason is Reason.ALLOWED_BY_RULE
        again = json.loads(installed.kubectl("get", "mcpap", "kept", "-o", "json").stdout)
        assert (again["metadata"]["uid"], again["spec"]) == (before["metadata"]["uid"], before["spec"])
    finally:
        installed.kubectl("delete", "mcpap", "--all")


def ready_status(cluster: TestCluster, name: str) -> str:
    status = json.loads(cluster.kubectl("get", "mcpap", name, "-o", "json").stdout)["status"]
    return str(next(item["status"] for item in status["conditions"] if item["type"] == "Ready"))


async def test_whoever_asks_for_it_gets_rid_of_the_crd_and_the_policies(installed: TestCluster, tmp_path: Path) -> None:
    apply_policy(installed, "gone")
    async with service(installed, tmp_path) as running:
        await ready(running)
        installed.kubectl("delete", "--kustomize", "crds", timeout_seconds=120)
        await eventually(lambda: NotReady.POLICIES_NOT_SERVED in running.not_ready_reasons(), within=WITHIN)
        assert decide(running).reason is Reason.SNAPSHOT_STALE
