"""What a client has, in as few words as will do: read into a model's context at the start."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.compile import Mode, PolicyState
from k8s_mcp_server.policy.explain import printable

if TYPE_CHECKING:
    from k8s_mcp_server.policy.access import Access, PolicyAccess, RuleAccess

_MOST_NAMESPACES: Final = 8
_MOST_WORDS: Final = 12


def digest(access: Access) -> str:
    """One line for who, one for each rule of policies in force, one for limits."""
    lines = [f"You: {printable(access.username)}"]
    if access.problem:
        lines.append(access.problem)
    for policy in access.policies:
        if policy.state is PolicyState.ACTIVE:
            lines += _policy_lines(policy)
    if access.default_namespace:
        lines.append(f"Default namespace: {access.default_namespace}")
    limits = access.limits
    lines.append(f"Limits: {limits.timeout_seconds} s, {limits.output_bytes} bytes of output")
    return "\n".join(lines)


def _policy_lines(policy: PolicyAccess) -> Iterator[str]:
    mode = "" if policy.mode is Mode.ENFORCE else f", {policy.mode.value}"
    ask = f" ({policy.description})" if policy.description else ""
    yield f"{policy.name}{ask}: {' '.join(policy.tools)}{mode}"
    yield from (f"+ {_rule(rule)}" for rule in policy.rules)
    yield from (f"- {_rule(deny)}" for deny in policy.denies)


def _rule(rule: RuleAccess) -> str:
    about = f"role {rule.role}" if rule.role else f"{_few(rule.verbs)}: {_few(rule.resources)}"
    named = f" named {_few(rule.resource_names)}" if rule.resource_names else ""
    more = rule.namespace_count - _MOST_NAMESPACES
    where = ", ".join(rule.namespaces[:_MOST_NAMESPACES]) + (f" and {more} more" if more > 0 else "")
    return f"{about}{named} {f'in {where}' if where else rule.where}"


def _few(words: tuple[str, ...]) -> str:
    more = len(words) - _MOST_WORDS
    return " ".join(words[:_MOST_WORDS]) + (f" +{more}" if more > 0 else "")
