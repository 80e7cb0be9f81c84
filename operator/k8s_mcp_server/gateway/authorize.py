"""Decisions for the gateway: the policy core, fed with what is known now. Anything that goes wrong is a denial."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from k8s_mcp_server.errors import K8sMcpError
from k8s_mcp_server.policy.connections import Connection, decide_connection
from k8s_mcp_server.policy.decide import DecisionContext, decide, decide_denies, depends_on_rbac, why_withheld
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.rights import Rights
from k8s_mcp_server.policy.standing import lost_standing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from k8s_mcp_server.policy.catalog import ApiResource, Scope
    from k8s_mcp_server.policy.egress import Endpoint
    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.sources import CatalogSource, PolicySource
    from k8s_mcp_server.policy.tools import Tool

_log = logging.getLogger(__name__)


class AccessSource(Protocol):
    """What the cluster's own RBAC gives clients."""

    async def review(self, client: Client, request: RequestInfo) -> bool:
        """Whether it gives the request; raises Unavailable."""

    def last_known(self, client: Client, request: RequestInfo) -> bool | None:
        """What it said a moment ago; None when nothing that still counts."""


class Authorizer:
    """Decides requests of clients.

    Args:
        store: the policies and namespaces.
        discovery: the served resources; refreshed once when a request names an unknown one.
        access: asked about requests that a rule gives by the client's own RBAC.
        environment: the server's own facts.
        clock: the current time, aware.
    """

    def __init__(
        self,
        *,
        store: PolicySource,
        discovery: CatalogSource,
        access: AccessSource,
        environment: Environment,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._discovery = discovery
        self._access = access
        self._clock = clock
        self.environment = environment

    async def authorize(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision:
        """The one answer to all permissions that a request needs: the first denial, else a cut, else exact.

        Never raises: what cannot be decided is denied with the reason ``Error``.
        """
        decision = await self._decide_by_rights(requests, client=client, tool=tool)
        if decision.reason is not Reason.UNKNOWN_RESOURCE:
            return decision
        if not await self._refresh():
            return decision
        return await self._decide_by_rights(requests, client=client, tool=tool)

    async def _refresh(self) -> bool:
        try:
            await self._discovery.refresh()
        except K8sMcpError as error:
            _log.warning("discovery could not be refreshed: %s", error)
            return False
        return True

    async def scope_of(self, *, group: str, resource: str) -> Scope | None:
        """The scope of a resource, looked up once more when it is not known; None when it stays unknown."""
        scope = self._discovery.catalog.scope_of(group=group, resource=resource)
        if scope is None:
            await self._refresh()
        return scope or self._discovery.catalog.scope_of(group=group, resource=resource)

    async def find_kinds(self, kinds: Collection[tuple[str, str]]) -> dict[tuple[str, str], ApiResource]:
        """The resources of these kinds (group and kind), looked up once more when one of them is not known."""
        known = {(each.group, each.kind): each for each in self._discovery.catalog}
        if not all(kind in known for kind in kinds) and await self._refresh():
            known = {(each.group, each.kind): each for each in self._discovery.catalog}
        return {kind: known[kind] for kind in kinds if kind in known}

    def kind_of(self, *, group: str, resource: str) -> str:
        """The kind of a resource's objects; empty when it is not known."""
        found = self._discovery.catalog.find(group=group, resource=resource)
        return found.kind if found is not None else ""

    async def find_withheld(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision | None:
        """As ``withheld``, after another look at what the API server serves where a resource is not known."""
        decision = self.withheld(requests, client=client, tool=tool)
        if decision is None or decision.reason is not Reason.UNKNOWN_RESOURCE or not await self._refresh():
            return decision
        return self.withheld(requests, client=client, tool=tool)

    def withheld(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision | None:
        """What says no to requests that rights of another name give; None when nothing does. Never raises."""
        try:
            context = self.context(client=client, tool=tool)
            decisions = (why_withheld(request, context) for request in requests)
            return next((decision for decision in decisions if decision is not None), None)
        except Exception:  # noqa: BLE001  logged; the edge where a fault in a decision becomes a denial
            return _faulty()

    def context(self, *, client: Client, tool: Tool) -> DecisionContext:
        """What decisions for the client are made from now."""
        return DecisionContext(
            client=client,
            tool=tool,
            snapshot=self._store.snapshot,
            catalog=self._discovery.catalog,
            environment=self.environment,
            now=self._clock(),
            snapshot_age=self._store.age(),
        )

    def decide(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision:
        """As ``authorize``, from what is known already; for requests that are decided again while they run."""
        try:
            context = self.context(client=client, tool=tool)
            known = {
                request: self._access.last_known(client, request)
                for request in requests
                if depends_on_rbac(request, context)
            }
            return _decided(
                requests, context, {request: answer for request, answer in known.items() if answer is not None}
            )
        except Exception:  # noqa: BLE001  logged; the edge where a fault in a decision becomes a denial
            return _faulty()

    def decide_denies(self, request: RequestInfo, *, client: Client, tool: Tool) -> Decision:
        """What denies leave of the request, whoever gives it. Never raises."""
        try:
            return decide_denies(request, self.context(client=client, tool=tool))
        except Exception:  # noqa: BLE001  logged; the edge where a fault in a decision becomes a denial
            return _faulty()

    def decide_connection(self, endpoint: Endpoint, *, client: Client, tool: Tool) -> Connection:
        """Whether a command may connect to a host. Never raises."""
        try:
            return decide_connection(endpoint, self.context(client=client, tool=tool))
        except Exception:  # noqa: BLE001  logged; the edge where a fault in a decision becomes a denial
            return Connection(decision=_faulty())

    def lost_standing(self, *, client: Client, tool: Tool) -> Decision | None:
        """Why everything that the client could ask by the CLI would be denied; None when some of it may be allowed."""
        try:
            return lost_standing(self.context(client=client, tool=tool))
        except Exception:  # noqa: BLE001  logged; the edge where a fault in a decision becomes a denial
            return _faulty()

    async def _decide_by_rights(self, requests: Sequence[RequestInfo], *, client: Client, tool: Tool) -> Decision:
        """Decide once the client's own rights are known where a rule goes by them."""
        try:
            context = self.context(client=client, tool=tool)
            known: dict[RequestInfo, bool] = {}
            for request in requests:
                if depends_on_rbac(request, context):
                    known |= await self._look_up(request, client)
            newest = self.context(client=client, tool=tool)  # policies may have changed during the look-ups
            return _decided(requests, newest, known)
        except Exception:  # noqa: BLE001  logged; the edge where a fault in a decision becomes a denial
            return _faulty()

    async def _look_up(self, request: RequestInfo, client: Client) -> dict[RequestInfo, bool]:
        try:
            return {request: await self._access.review(client, request)}
        except K8sMcpError as error:
            _log.warning("a client's own access could not be looked up: %s", error)
            return {}


def _decided(requests: Sequence[RequestInfo], context: DecisionContext, known: Mapping[RequestInfo, bool]) -> Decision:
    if known:
        context = replace(context, rights=Rights(answers=known))
    return _combined([decide(request, context) for request in requests])


def _faulty() -> Decision:
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
