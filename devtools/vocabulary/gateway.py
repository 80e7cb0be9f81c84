"""A running gateway in which everything is allowed, and which remembers what each command had to be allowed."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from devtools.fixed import FixedSources
from devtools.vocabulary.everything import CLIENTS, everything
from k8s_mcp_server.cluster.client import ApiClient
from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.cluster.discovery import DiscoveryReader
from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.gateway.gateway import Gateway
from k8s_mcp_server.policy.compile import CompiledPolicy, InvalidPolicy, read_policy
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.telemetry.audit import AuditLog
from k8s_mcp_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.vocabulary.site import Site
    from k8s_mcp_server.gateway.session import CommandSession
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.request import RequestInfo


@dataclass(frozen=True, slots=True)
class Asked:
    """One permission that a command needed, and the answer to the request that needed it."""

    request: RequestInfo
    decision: Decision


class RememberingAuthorizer(Authorizer):
    """Decides as always; ``asked`` has every permission by client."""

    asked: defaultdict[str, list[Asked]]

    async def authorize(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision:
        """As the authorizer does."""
        decision = await super().authorize(requests, client=client, tool=tool)
        self.asked[client.username] += [Asked(request, decision) for request in requests]
        return decision


@dataclass(slots=True, kw_only=True)
class RunningGateway:
    """The gateway of a site."""

    gateway: Gateway
    authorizer: RememberingAuthorizer
    policies: FixedSources
    opened: int = 0

    def open(self) -> CommandSession:
        """A session for one command, of a client of its own."""
        self.opened += 1
        client = Client(username=f"{CLIENTS}{self.opened}")
        return self.gateway.open(client=client, tool=Tool.KUBECTL, command_id=f"c-{self.opened}")

    def allow(self, *policies: dict[str, Any]) -> None:
        """From now on these policies hold, and no others.

        Raises:
            ValueError: one cannot be read.
        """
        read: list[CompiledPolicy | InvalidPolicy] = [read_policy(policy) for policy in policies]
        invalid = [policy for policy in read if isinstance(policy, InvalidPolicy)]
        if invalid:
            raise ValueError(str(invalid))
        self.policies.snapshot = Snapshot.build(read, self.policies.snapshot.namespaces.values())

    def see_namespaces(self, document: str) -> None:
        """Take the namespaces of the cluster, a JSON list, for all that there are."""
        items = json.loads(document)["items"]
        known = [Namespace(name=i["metadata"]["name"], labels=i["metadata"].get("labels", {})) for i in items]
        self.policies.snapshot = Snapshot.build(self.policies.snapshot.policies.values(), known)


@asynccontextmanager
async def running(site: Site, folder: Path) -> AsyncIterator[RunningGateway]:
    """A gateway to the site's cluster under the policy that allows everything.

    Args:
        site: whose ServiceAccount it acts as.
        folder: for the token's file.
    """
    cluster = site.cluster
    token_file = folder / "token"
    token_file.write_text(site.token, encoding="ascii")
    api_server = ApiServer(host=cluster.host, port=cluster.port, ca_file=cluster.ca_file, token_file=token_file)
    async with ApiClient.connect(api_server) as client:
        catalog = await DiscoveryReader(client).read()
    policies = FixedSources(Snapshot.empty(), catalog)
    # No namespace is the service's own: that one is cut out of every list, which is not what is compared here.
    environment = Environment(own_namespace="eq-nowhere", own_service_account="nobody")
    authorizer = RememberingAuthorizer(
        store=policies, discovery=policies, access=policies, environment=environment, clock=lambda: datetime.now(UTC)
    )
    authorizer.asked = defaultdict(list)
    gateway = Gateway(
        api_server=api_server,
        authorizer=authorizer,
        metrics=Metrics(),
        audit=AuditLog(io.StringIO(), cluster="vocabulary"),
        service_account=site.service_account,
    )
    rig = RunningGateway(gateway=gateway, authorizer=authorizer, policies=policies)
    rig.see_namespaces(cluster.kubectl("get", "namespaces", "-o", "json").stdout)
    rig.allow(everything(catalog, namespaces=sorted(policies.snapshot.namespaces)))
    await gateway.start()
    try:
        yield rig
    finally:
        await gateway.close()
