"""Whether a client has anything at all with a CLI now: what would deny each of its requests, whatever it asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.decide import DecisionContext, decide
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.request import RequestInfo

if TYPE_CHECKING:
    from k8s_mcp_server.policy.decision import Decision

# A request that every client with a policy in force may make.
_VERSION: Final = RequestInfo(is_resource_request=False, path="/version", verb="get")
_ABOUT_THE_CLIENT: Final = frozenset(
    {
        Reason.SNAPSHOT_STALE,
        Reason.NO_POLICY,
        Reason.BLOCKED,
        Reason.POLICY_INVALID,
        Reason.POLICY_SUSPENDED,
        Reason.POLICY_EXPIRED,
        Reason.TOOL_NOT_ALLOWED,
    }
)


def lost_standing(context: DecisionContext) -> Decision | None:
    """The denial of everything that the client could ask by the CLI; None when requests have to be looked at."""
    decision = decide(_VERSION, context)
    return None if decision.allowed or decision.reason not in _ABOUT_THE_CLIENT else decision
