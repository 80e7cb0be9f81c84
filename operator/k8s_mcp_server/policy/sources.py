"""Where the newest of what decisions stand on is found; what watches the cluster gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from k8s_mcp_server.policy.catalog import Catalog
    from k8s_mcp_server.policy.snapshot import Snapshot


class PolicySource(Protocol):
    """Where the current policies and namespaces are."""

    @property
    def snapshot(self) -> Snapshot:
        """The newest one."""

    def age(self) -> float:
        """Seconds since policies and namespaces were last complete."""


class CatalogSource(Protocol):
    """What the API server serves."""

    @property
    def catalog(self) -> Catalog:
        """As last discovered."""

    async def refresh(self) -> None:
        """Discover again (the source limits the rate)."""
