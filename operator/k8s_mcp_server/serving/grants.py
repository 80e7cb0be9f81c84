"""What the policies say about a client before its first request: its limits, its tools, or why it has nothing.

The gateway decides each request. This asks the same decision about a request that every client with a policy in force
may make, and so spares a client the start of a command of which every request would be denied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.access import Access, default_namespace, effective_access, only_dry_runs
from k8s_mcp_server.policy.decide import DecisionContext
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.limits import Limits, effective_limits
from k8s_mcp_server.policy.standing import lost_standing
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.sources import CatalogSource, PolicySource

# More could not be sent where each character is escaped: see `outcome`.
OUTPUT_CEILING: Final = 300_000
_CHECK_ACCESS: Final = "call check_access: it says who you are, what you may do and whom to ask"
_WAIT: Final = "try again in some seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Why a client can run nothing with a CLI now."""

    reason: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A client's position before its first request.

    Args:
        limits: in force for it.
        default_namespace: of commands that state none; empty for that of the CLI.
        is_dry: every policy that gives it something makes its writes dry runs.
        audit_reasons: the ``reason`` texts of the policies that name it, for the audit log.
        denial: None when there is a policy to decide requests by.
    """

    limits: Limits
    default_namespace: str = ""
    is_dry: bool = False
    audit_reasons: tuple[str, ...] = ()
    denial: Denial | None = None


class Grants:
    """Reads standings from the current snapshot.

    Args:
        store: the policies.
        discovery: the served resources.
        environment: the server's own facts.
        defaults: limits where no policy states any.
        max_timeout: seconds that no policy can exceed.
        now: the current time, aware.
    """

    def __init__(
        self,
        *,
        store: PolicySource,
        discovery: CatalogSource,
        environment: Environment,
        defaults: Limits,
        max_timeout: int,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._discovery = discovery
        self._environment = environment
        self._defaults = defaults
        self._max_timeout = max_timeout
        self._now = now

    def context(self, client: Client, *, tool: Tool) -> DecisionContext:
        """What a decision about this client is made from now."""
        return DecisionContext(
            client=client,
            tool=tool,
            snapshot=self._store.snapshot,
            catalog=self._discovery.catalog,
            environment=self._environment,
            now=self._now(),
            snapshot_age=self._store.age(),
        )

    def access(self, client: Client) -> Access:
        """Everything that policies say about the client, for itself to read."""
        return replace(effective_access(self.context(client, tool=Tool.KUBECTL)), limits=self.limits(client))

    def standing(self, client: Client, *, tool: Tool) -> Standing:
        """Where the client stands with this CLI."""
        valid = self._store.snapshot.client_policies(client).valid
        return Standing(
            limits=self.limits(client),
            default_namespace=default_namespace(self.context(client, tool=tool)),
            is_dry=only_dry_runs(self.context(client, tool=tool)),
            audit_reasons=tuple(dict.fromkeys(policy.reason for policy in valid if policy.reason)),
            denial=self._denial(client, tool=tool),
        )

    def limits(self, client: Client) -> Limits:
        """The lowest that any policy naming the client states, else the defaults, within what the service can do."""
        limits = effective_limits(self._store.snapshot.policies_for(client), defaults=self._defaults)
        return replace(
            limits,
            timeout_seconds=min(limits.timeout_seconds, self._max_timeout),
            output_bytes=min(limits.output_bytes, OUTPUT_CEILING),
        )

    def tools(self, client: Client) -> frozenset[Tool]:
        """The CLIs that policies in force give the client."""
        return frozenset(tool for tool in Tool if self._denial(client, tool=tool) is None)

    def _denial(self, client: Client, *, tool: Tool) -> Denial | None:
        decision = lost_standing(self.context(client, tool=tool))
        if decision is None:
            return None
        hint = _WAIT if decision.reason is Reason.SNAPSHOT_STALE else _CHECK_ACCESS
        return Denial(reason=decision.reason.value, message=decision.message, hint=hint)
