"""The gateway that these tests share, and a session in it for each."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from devtools.fixed import FixedSources
from k8s_mcp_server.cluster.client import ApiClient
from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.cluster.discovery import DiscoveryReader
from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.gateway.gateway import Gateway
from k8s_mcp_server.policy.compile import read_policy
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.telemetry.audit import AuditLog, RequestAudit
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.gateway_site import (
    AGENT,
    Rig,
    Site,
    apply,
    configmap,
    deployer,
    pod,
    secret,
    site_objects,
    widget,
    widgets,
)

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.cluster import TestCluster


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
    policies = FixedSources(Snapshot.build([read_policy(deployer(site))], namespaces), catalog)
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
