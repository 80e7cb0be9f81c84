"""What decisions stand on, where nobody watches a cluster for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k8s_mcp_server.policy.catalog import Catalog
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.snapshot import Snapshot


class FixedSources:
    """Store, discovery and RBAC of an authorizer: as they are set, always fresh.

    Args:
        snapshot: policies without a rule that goes by the client's own rights.
        catalog: what is served.
    """

    def __init__(self, snapshot: Snapshot, catalog: Catalog) -> None:
        self.snapshot = snapshot
        self.catalog = catalog

    def age(self) -> float:
        """Always fresh."""
        return 0.0

    async def refresh(self) -> None:
        """There is nothing new."""

    async def review(self, client: Client, request: RequestInfo) -> bool:
        """Nobody asks.

        Raises:
            AssertionError: somebody did.
        """
        raise AssertionError(f"no rule here goes by RBAC: {client} {request}")

    def last_known(self, client: Client, request: RequestInfo) -> bool | None:
        """Likewise.

        Raises:
            AssertionError: somebody did.
        """
        raise AssertionError(f"no rule here goes by RBAC: {client} {request}")
