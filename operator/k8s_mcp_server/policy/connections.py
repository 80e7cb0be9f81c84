"""Whether helm may connect to a host: the hosts of charts that a policy names, and nothing else.

A host counts only for the commands of the policy that names it, as its rules do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias

from k8s_mcp_server.policy.case import reference, refusal
from k8s_mcp_server.policy.compile import PolicyState
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict
from k8s_mcp_server.policy.explain import quoted, whom
from k8s_mcp_server.policy.standing import lost_standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from k8s_mcp_server.policy.case import DecisionContext
    from k8s_mcp_server.policy.compile import CompiledPolicy
    from k8s_mcp_server.policy.egress import ChartRepository, Endpoint, Network

Address: TypeAlias = IPv4Address | IPv6Address
RULE: Final = "egress"
_MOST_TOLD: Final = 5
# `is_global` goes by what is registered as local. Of IPv6 only this is in public use (IANA's IPv6 address space); the
# rest is old site-local addresses, or others in disguise: NAT64, IPv4 within IPv6. Within it, 6to4 and Teredo are such.
_IPV6_UNICAST: Final = ip_network("2000::/3")
_IN_DISGUISE: Final = tuple(map(ip_network, ("2002::/16", "2001::/32")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The decision about one connection.

    Args:
        private: the networks that the policies which allow it name.
    """

    decision: Decision
    private: tuple[Network, ...] = ()

    def reaches(self, address: Address) -> bool:
        """Whether this address of the host may be connected to."""
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return _is_public(address) or any(address in network for network in self.private)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _IPV6_UNICAST:
        return False
    in_disguise = any(address in network for network in _IN_DISGUISE)
    return address.is_global and not address.is_multicast and not in_disguise


def decide_connection(endpoint: Endpoint, context: DecisionContext) -> Connection:
    """Whether the client may connect to a host with the tool."""
    lost = lost_standing(context)
    if lost is not None:
        return Connection(decision=replace(lost, next_command=""))
    giving = tuple(_giving(context))
    allowing = [policy for policy in giving if endpoint in policy.egress.endpoints]
    if not allowing:
        return Connection(decision=_not_named(endpoint, giving, context=context))
    matched = reference(allowing[0], rule=RULE)
    decision = Decision(
        verdict=Verdict.EXACT,
        reason=Reason.ALLOWED_BY_RULE,
        message=f"Policy {allowing[0].name} names this host.",
        matched=matched,
    )
    return Connection(decision=decision, private=tuple(net for policy in allowing for net in policy.egress.private))


def chart_repositories(context: DecisionContext) -> tuple[ChartRepository, ...]:
    """Those that policies in force give the client with the tool, each name once, the first policy's winning."""
    found: dict[str, ChartRepository] = {}
    for policy in _giving(context):
        for repository in policy.egress.repositories:
            found.setdefault(repository.name, repository)
    return tuple(found.values())


def _giving(context: DecisionContext) -> Iterator[CompiledPolicy]:
    for policy in context.snapshot.client_policies(context.client).valid:
        if context.tool in policy.tools and policy.state(now=context.now) is PolicyState.ACTIVE:
            yield policy


def _not_named(endpoint: Endpoint, giving: tuple[CompiledPolicy, ...], *, context: DecisionContext) -> Decision:
    host, port = endpoint
    named = sorted(f"{name}:{number}" for policy in giving for name, number in policy.egress.endpoints)
    nearest = f" Named are: {', '.join(dict.fromkeys(named[:_MOST_TOLD]))}." if named else ""
    return refusal(
        Reason.NOT_ALLOWED,
        f"{quoted(context.client.username)} may not connect to {quoted(f'{host}:{port}')}: it is neither the host of a "
        f"repository in charts.repositories nor in egress.hosts.{nearest} Policy: {whom(giving)}.",
    )
