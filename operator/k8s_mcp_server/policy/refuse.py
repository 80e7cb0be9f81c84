"""The last step: what no rule allows is denied, with the most telling reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8s_mcp_server.policy import explain
from k8s_mcp_server.policy.case import Case, refusal
from k8s_mcp_server.policy.compile import CompiledPolicy, Policy, PolicyState
from k8s_mcp_server.policy.decision import Decision, Reason
from k8s_mcp_server.policy.matching import Fit, Match, rule_gives

if TYPE_CHECKING:
    from k8s_mcp_server.policy.rules import Rule

# The most telling near miss is told, whichever policy it comes from.
_NEAR_MISSES = (
    Reason.SENSITIVE_NOT_NAMED,
    Reason.PROTECTED_NAMESPACE,
    Reason.PRIVILEGED_WORKLOAD,
    Reason.UNKNOWN_NAMESPACE,
    Reason.RBAC_UNAVAILABLE,
    Reason.NOT_IN_RBAC,
)
_INACTIVE = {
    PolicyState.ACTIVE: Reason.TOOL_NOT_ALLOWED,
    PolicyState.EXPIRED: Reason.POLICY_EXPIRED,
    PolicyState.SUSPENDED: Reason.POLICY_SUSPENDED,
    PolicyState.INVALID: Reason.POLICY_INVALID,
}


def why_inactive(case: Case) -> Decision:
    """Policies name the client, but none counts for this command: told by the one that is nearest to counting."""
    context = case.context
    by_state: dict[PolicyState, list[Policy]] = {}
    for policy in case.policies.named:
        by_state.setdefault(policy.state(now=context.now), []).append(policy)
    state = next(state for state in _INACTIVE if state in by_state)
    reason = _INACTIVE[state]
    message = explain.inactive(context.client, by_state[state], reason=reason, tool=context.tool, now=context.now)
    return refusal(reason, message)


def refuse(case: Case, *, nearest: tuple[str, ...]) -> Decision:
    """The denial of a request that nothing allows."""
    client, request = case.context.client, case.request
    missed = _near_misses(case)
    for reason in _NEAR_MISSES:
        if reason in missed:
            message = explain.near_miss(client, request, missed[reason], reason=reason)
            return refusal(reason, message, nearest=nearest)
    for policy in case.policies.valid:
        if policy not in case.giving and any(_matches(case, rule) for rule in policy.rules):
            return _would_allow(case, policy, nearest=nearest)
    return refusal(Reason.NOT_ALLOWED, explain.not_allowed(client, request, case.giving), nearest=nearest)


def _near_misses(case: Case) -> dict[Reason, list[CompiledPolicy]]:
    missed: dict[Reason, list[CompiledPolicy]] = {}
    for policy, rule in case.rules():
        match = _match(case, rule)
        if isinstance(match, Reason) and policy not in missed.setdefault(match, []):
            missed[match].append(policy)
    return missed


def _match(case: Case, rule: Rule) -> Match:
    return rule_gives(rule, case.question) if case.question is not None else None


def _matches(case: Case, rule: Rule) -> bool:
    if case.question is None:
        return rule.is_about_path(case.request)
    return isinstance(_match(case, rule), Fit)


def _would_allow(case: Case, policy: CompiledPolicy, *, nearest: tuple[str, ...]) -> Decision:
    context = case.context
    reason = _INACTIVE[policy.state(now=context.now)]
    message = explain.would_allow(
        context.client, case.request, policy, reason=reason, tool=context.tool, now=context.now
    )
    return refusal(reason, message, nearest=nearest)
