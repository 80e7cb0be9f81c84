"""One command's access: the token that its process holds, whose command it is, and what it asked for."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from k8s_mcp_server.gateway.helm.unfinished import Unfinished
from k8s_mcp_server.gateway.plan import CommandPlan
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.tools import Tool

_TOKEN_BYTES: Final = 32
_MOST_DENIALS: Final = 20
_MOST_NAMESPACES: Final = 5


class Abortable(Protocol):
    """A connection, which ends at once when its command does."""

    def abort(self) -> None:
        """End now."""


class InFlight(Protocol):
    """A request that is being served."""

    def revalidate(self) -> None:
        """Decide again, and end it if it is no longer allowed as it runs."""


@dataclass(slots=True, kw_only=True, eq=False)
class CommandSession:
    """The credential and the account of one running command.

    Args:
        token: worthless outside of this process, and inside of it once the command has ended.
        requests_allowed: requests forwarded as they were.
        requests_filtered: lists and watches that were cut to the policy.
        requests_denied: requests that were not forwarded, or were ended by a change of the policies.
        requests_revoked: how many of these were ended so.
        ended_by: what ends the command as a whole: the first request that was taken back, or the loss of everything.
        ended: set with it.
        requests_audited: requests that mode Audit let pass.
        dry_runs: writes that were forwarded as dry runs.
        writes: writes that were forwarded to be made.
        denials: what was said about the first twenty denials, each once, in order.
        denial_reasons: why requests were denied.
        next_command: what works now, as the first denial with such a command said; empty when none had one.
        namespaces: the first of those that requests were about, in order.
        policies: names of the policies whose rules decided, in order of first use.
        plan: what the command may ask for by rights of another name; set before it starts.
        left_out: resources whose lists and watches were answered with nothing, as ``secrets`` or ``gateways.GROUP``.
        argocd: the instance of Argo CD that the command means; empty for the first.
        notes: what the service changed in the command, for the client to know.
        chart_bytes: exchanged with chart hosts.
        connections: open connections, which end with the session.
        in_flight: requests being served, which end when the policy takes them back.
        unfinished: operations on releases that helm has begun and not ended.
        writes_release: held while a release is read and written; helm writes one after the other.
        held_bytes: of bodies that are read ahead of their forwarding, those that are still needed.
    """

    command_id: str
    client: Client
    tool: Tool
    token: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES), repr=False)
    requests_allowed: int = 0
    requests_filtered: int = 0
    requests_denied: int = 0
    requests_revoked: int = 0
    ended_by: Decision | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    requests_audited: int = 0
    dry_runs: int = 0
    writes: int = 0
    denials: list[str] = field(default_factory=list)
    denial_reasons: set[Reason] = field(default_factory=set)
    next_command: str = ""
    namespaces: dict[str, None] = field(default_factory=dict)
    policies: dict[str, None] = field(default_factory=dict)
    plan: CommandPlan = field(default_factory=CommandPlan)
    left_out: dict[str, None] = field(default_factory=dict)
    argocd: str = ""
    notes: list[str] = field(default_factory=list)
    chart_bytes: int = 0
    connections: set[Abortable] = field(default_factory=set, repr=False)
    in_flight: set[InFlight] = field(default_factory=set, repr=False)
    unfinished: Unfinished = field(default_factory=Unfinished, repr=False)
    writes_release: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)
    held_bytes: int = 0

    @property
    def filtered(self) -> bool:
        """Whether any answer that the command saw was cut to its policy."""
        return self.requests_filtered > 0

    def about(self, namespace: str) -> None:
        """Remember a namespace that a request named."""
        if namespace and len(self.namespaces) < _MOST_NAMESPACES:
            self.namespaces[namespace] = None

    def end(self, decision: Decision) -> None:
        """A denial takes back what the command does: it is to end."""
        self.ended_by = self.ended_by or decision
        self.ended.set()

    def count(self, decision: Decision) -> None:
        """Add one decided request to the account."""
        if decision.matched is not None:
            self.policies[decision.matched.policy] = None
        if decision.verdict is Verdict.EXACT:
            self.requests_allowed += 1
        elif decision.verdict is Verdict.FILTERED:
            self.requests_filtered += 1
        elif decision.verdict is Verdict.AUDIT:
            self.requests_audited += 1
        else:
            self.requests_denied += 1
            self.denial_reasons.add(decision.reason)
            self.next_command = self.next_command or decision.next_command
            if decision.advice not in self.denials and len(self.denials) < _MOST_DENIALS:
                self.denials.append(decision.advice)


class Sessions:
    """The sessions of the commands that run now, found by their token."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, CommandSession] = {}

    def add(self, session: CommandSession) -> None:
        """Make the session's token valid."""
        self._by_digest[_digest(session.token)] = session

    def find(self, token: str) -> CommandSession | None:
        """The session of that token, or None. Looked up by digest: the time taken says nothing about any token."""
        return self._by_digest.get(_digest(token))

    def in_flight_of(self, client: Client) -> int:
        """How many requests of all of a client's commands are being served."""
        return sum(len(session.in_flight) for session in self._by_digest.values() if session.client == client)

    def remove(self, session: CommandSession) -> None:
        """Make the token invalid and end everything that the command still has open."""
        self._by_digest.pop(_digest(session.token), None)
        for connection in tuple(session.connections):
            connection.abort()

    def __iter__(self) -> Iterator[CommandSession]:
        return iter(tuple(self._by_digest.values()))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()
