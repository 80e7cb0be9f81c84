"""`python -m bench.gateway_process HOST PORT CA TOKEN`: a gateway, until its standard input ends."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.gateway import ACCOUNT, LARGE, MOST, OWN, SOME
from devtools.fixed import FixedSources
from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.gateway.gateway import Gateway
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.compile import read_policy
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Authenticator, Client
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.telemetry.audit import AuditLog
from k8s_mcp_server.telemetry.metrics import Metrics

_COMMANDS = {SOME: SOME, MOST: MOST, LARGE: LARGE, **{f"{MOST}-{number}": MOST for number in range(4)}}


def _known() -> FixedSources:
    namespaces = [Namespace(name=name, labels={}) for name in (OWN, SOME, MOST, LARGE)]
    policies = [read_policy(_policy(name)) for name in (SOME, MOST, LARGE)]
    served = ApiResource(group="", resource="configmaps", kind="ConfigMap", scope=Scope.NAMESPACED)
    return FixedSources(Snapshot.build(policies, namespaces), Catalog([served]))


def _policy(namespace: str) -> dict[str, Any]:
    rule = {
        "namespaces": [namespace],
        "apiGroups": [""],
        "resources": ["configmaps"],
        "verbs": ["get", "list", "watch"],
    }
    return {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": {"name": namespace, "uid": namespace, "resourceVersion": "1", "generation": 1},
        "spec": {"subjects": [{"kind": "User", "name": f"bench:{namespace}"}], "rules": [rule]},
    }


async def _serve() -> None:
    host, port, ca_file, token_file = sys.argv[1:]
    known = _known()
    environment = Environment(own_namespace=OWN, own_service_account=ACCOUNT)
    gateway = Gateway(
        api_server=ApiServer(host=host, port=int(port), ca_file=Path(ca_file), token_file=Path(token_file)),
        authorizer=Authorizer(
            store=known, discovery=known, access=known, environment=environment, clock=lambda: datetime.now(UTC)
        ),
        metrics=Metrics(),
        audit=AuditLog(io.StringIO(), cluster="bench"),
        service_account=f"system:serviceaccount:{OWN}:{ACCOUNT}",
    )
    await gateway.start()
    tokens = {}
    for name, namespace in _COMMANDS.items():
        client = Client(username=f"bench:{namespace}", authenticator=Authenticator.OIDC)
        tokens[name] = gateway.open(client=client, tool=Tool.KUBECTL, command_id=name).token
    print(json.dumps({"port": gateway.port, "ca_pem": gateway.ca_pem, "tokens": tokens}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await gateway.close()


if __name__ == "__main__":
    asyncio.run(_serve())
