"""How a request of a planned command is served: by which right, read by whom, or answered with nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.gateway.portforward.inspector import ForwardInspector, is_tunnel
from k8s_mcp_server.policy.decision import Decision, Reason, Verdict

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.head import RequestHead
    from k8s_mcp_server.gateway.plan import CommandPlan, Opening
    from k8s_mcp_server.gateway.portforward.errors import ForwardRefused
    from k8s_mcp_server.policy.request import RequestInfo

# Denials that mean "not this": a command that can do with less goes on without it.
_NOT_THIS: Final = frozenset(
    {
        Reason.DENIED_BY_RULE,
        Reason.NOT_ALLOWED,
        Reason.NOT_IN_RBAC,
        Reason.NEVER_ALLOWED,
        Reason.OWN_NAMESPACE,
        Reason.PROTECTED_NAMESPACE,
        Reason.RBAC_UNAVAILABLE,
        Reason.SENSITIVE_NOT_NAMED,
        Reason.UNKNOWN_NAMESPACE,
    }
)

OUTSIDE: Final = "objects outside of what you may see"
NOTHING_FOR_ANYBODY: Final = Decision(
    verdict=Verdict.DENY, reason=Reason.NOT_ALLOWED, message="The command gets nothing of this, whoever asks."
)


class LeftOut(Exception):
    """The request is answered with nothing."""


def is_left_out(decision: Decision, info: RequestInfo, *, plan: CommandPlan) -> bool:
    """Whether the denial becomes an answer with nothing in it."""
    return plan.leaves_out(info) and decision.reason in _NOT_THIS


def as_whole(decision: Decision) -> Decision:
    """A right in several namespaces gives its command what it needs, which is not of these: nothing is cut."""
    return replace(decision, verdict=Verdict.EXACT, cut=None) if decision.verdict is Verdict.FILTERED else decision


def reader_of(opening: Opening, head: RequestHead) -> ForwardInspector | None:
    """What reads the client's side of a planned port-forward; None where it is asked for in a way that hides it."""
    return ForwardInspector(opening.ports, upgrade=head.upgrade) if is_tunnel(head) else None


def misused(error: ForwardRefused) -> Decision:
    """The decision about what a client said through a port-forward that was for something else."""
    message = f"A port-forward was ended: {error}."
    return Decision(verdict=Verdict.DENY, reason=Reason.NOT_ALLOWED, message=message)


def resource_name(info: RequestInfo) -> str:
    """The resource as kubectl spells it, such as ``gateways.networking.istio.io``."""
    return f"{info.resource}.{info.api_group}" if info.api_group else info.resource
