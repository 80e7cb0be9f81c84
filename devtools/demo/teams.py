"""The demo's clients: which ServiceAccount each agent is, and the policy that names it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.cluster import TestCluster

AGENTS_NAMESPACE = "agents"
AUDIENCE = "k8s-mcp-server"
TOKEN_SECONDS = 8 * 3600


@dataclass(frozen=True, slots=True)
class Agent:
    """One MCP client of the demo; ``policy`` is empty for the one that no policy names."""

    name: str
    policy: str
    says: str


SHOP_DEPLOYER = Agent("shop-deployer", "shop-deployer", "deploys in shop and shop-*")
AUDITOR = Agent("auditor", "auditor", "reads everything but Secrets")
BILLING_READER = Agent("billing-reader", "billing-reader", "reads billing, except its ConfigMaps")
NEWCOMER = Agent("newcomer", "", "no policy names it")
AGENTS = (SHOP_DEPLOYER, AUDITOR, BILLING_READER, NEWCOMER)


def tokens(cluster: TestCluster) -> dict[str, str]:
    """A token of our audience for each agent, by the agent's name."""
    return {
        agent.name: cluster.service_account_token(
            AGENTS_NAMESPACE, agent.name, audience=AUDIENCE, seconds=TOKEN_SECONDS
        )
        for agent in AGENTS
    }


def write_clients(path: Path, *, url: str, tokens: dict[str, str]) -> None:
    """Write ``[{name, url, token, policy}]`` for other programs, readable by this user only."""
    clients = [
        {"name": agent.name, "url": url, "token": tokens[agent.name], "policy": agent.policy} for agent in AGENTS
    ]
    path.touch(mode=0o600)
    path.write_text(json.dumps(clients, indent=2) + "\n", encoding="utf-8")
