"""What was found about several requests: which are denied, and the lines of a policy that would allow them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

from k8s_mcp_server.authoring.resources import ResourceName
from k8s_mcp_server.authoring.rules import Need, rules_for
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.explain import what

if TYPE_CHECKING:
    from collections.abc import Iterable

    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.request import RequestInfo

MOST_SHOWN: Final = 12
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9./]*[a-z0-9])?")
_CURABLE: Final = frozenset({Reason.NOT_ALLOWED, Reason.SENSITIVE_NOT_NAMED, Reason.PROTECTED_NAMESPACE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found.

    Args:
        allowed: everything that it asks for is allowed.
        requests: what it asks for, in words, with the answer to each.
        missing: what is said about each denial.
        rules: rules of a policy that would allow what is missing, as YAML; empty when none could.
        next_command: what works now.
        notes: what else only a run can tell.
    """

    allowed: bool
    requests: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    rules: str = ""
    next_command: str = ""
    notes: tuple[str, ...] = ()


def find(asked: Iterable[tuple[RequestInfo, Decision]]) -> Finding:
    """The answer to requests that were decided."""
    asked = tuple(asked)
    denied = [(request, decision) for request, decision in asked if not decision.allowed]
    curable = [request for request, decision in denied if decision.reason in _CURABLE and _can_be_named(request)]
    rules = list(rules_for(map(_need, curable)))
    return Finding(
        allowed=not denied,
        requests=tuple(dict.fromkeys(f"{what(request)}: {_answer(decision)}" for request, decision in asked))[
            :MOST_SHOWN
        ],
        missing=tuple(dict.fromkeys(decision.advice for _, decision in denied))[:MOST_SHOWN],
        rules=yaml.safe_dump(rules, sort_keys=False, default_flow_style=None, width=116) if rules else "",
        next_command=next((decision.next_command for _, decision in denied if decision.next_command), ""),
    )


def _can_be_named(request: RequestInfo) -> bool:
    """Whether a rule could be about it. What a chart's author calls a namespace or a group may be no name at all."""
    words = (request.namespace, request.api_group, request.resource, request.subresource)
    return request.is_resource_request and all(map(_NAME.fullmatch, filter(None, words)))


def _answer(decision: Decision) -> str:
    if not decision.allowed:
        return f"no ({decision.reason.value})"
    cut = ", cut to what you may see" if decision.cut is not None else ""
    dry = ", as a dry run" if decision.dry_run else ""
    return f"yes{cut}{dry}"


def _need(request: RequestInfo) -> Need:
    resource = ResourceName(group=request.api_group, resource=request.resource, subresource=request.subresource)
    is_namespace = (request.api_group, request.resource) == ("", "namespaces")
    return Need(verb=request.verb, resource=resource, namespace="" if is_namespace else request.namespace)
