"""Decisions for the gateway: the policy core, fed with what is known now. Anything that goes wrong is a denial."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from k8s_mcp_server.errors import K8sMcpError
from k8s_mcp_server.policy.decide import DecisionContext, decide
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from k8s_mcp_server.policy.catalog import Catalog
    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.snapshot import Snapshot
    from k8s_mcp_server.policy.tools import Tool

_log = logging.getLogger(__name__)


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


class Authorizer:
    """Decides requests of clients.

    Args:
        store: the policies and namespaces.
        discovery: the served resources; refreshed once when a request names an unknown one.
        environment: the server's own facts.
        clock: the current time, aware.
    """

    def __init__(
        self,
        *,
        store: PolicySource,
        discovery: CatalogSource,
        environment: Environment,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._discovery = discovery
        self._clock = clock
        self.environment = environment

    async def authorize(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision:
        """The one answer to all permissions that a request needs: the first denial, else a cut, else exact.

        Never raises: what cannot be decided is denied with the reason ``Error``.
        """
        decision = self.decide(requests, client=client, tool=tool)
        if decision.reason is not Reason.UNKNOWN_RESOURCE:
            return decision
        try:
            await self._discovery.refresh()
        except K8sMcpError as error:
            _log.warning("discovery could not be refreshed: %s", error)
            return decision
        return self.decide(requests, client=client, tool=tool)

    def decide(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision:
        """As ``authorize``, from what is known already; for requests that are decided again while they run."""
        try:
            context = DecisionContext(
                client=client,
                tool=tool,
                snapshot=self._store.snapshot,
                catalog=self._discovery.catalog,
                environment=self.environment,
                now=self._clock(),
                snapshot_age=self._store.age(),
            )
            return _combined([decide(request, context) for request in requests])
        except Exception:  # noqa: BLE001  logged; the edge where a fault in a decision becomes a denial
            _log.exception("a request could not be decided")
            return Decision(
                verdict=Verdict.DENY,
                reason=Reason.ERROR,
                message="The request could not be decided because of an internal error.",
            )


def _combined(decisions: Sequence[Decision]) -> Decision:
    for verdict in (Verdict.DENY, Verdict.FILTERED, Verdict.AUDIT):
        for decision in decisions:
            if decision.verdict is verdict:
                return decision
    return next((decision for decision in decisions if decision.dry_run), decisions[0])
