"""What the roles of a policy would have given, were it not sensitive: for the policy's status."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.sensitive import (
    SENSITIVE_GROUPS,
    SENSITIVE_GROUPS_TO_WRITE,
    SENSITIVE_RESOURCES,
    SENSITIVE_RESOURCES_TO_WRITE,
    SENSITIVE_SUBRESOURCES,
    is_sensitive,
)
from k8s_mcp_server.policy.virtual import VIRTUAL_GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8s_mcp_server.policy.rules import Rule

MOST_LISTED: Final = 64
_VERBS: Final = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")

# What a wildcard may stand for. ``*`` is found only by rules that have it.
_WELL_KNOWN: Final = (
    *((group, resource, part) for group, resource, part in sorted(SENSITIVE_RESOURCES) if group not in VIRTUAL_GROUPS),
    *((group, resource, "") for group, resource in sorted(SENSITIVE_RESOURCES_TO_WRITE)),
    *((group, "*", "") for group in sorted(SENSITIVE_GROUPS | SENSITIVE_GROUPS_TO_WRITE)),
    *(("*", "*", part) for part in sorted(SENSITIVE_SUBRESOURCES)),
    ("", "nodes", "*"),
    ("", "secrets", ""),
)


def withheld(rules: Iterable[Rule]) -> tuple[str, ...]:
    """Resources that the rules would have given by their role, such as ``pods/exec``, sorted; at most `MOST_LISTED`."""
    found = {_written(request) for rule in rules if rule.role for request in _withheld(rule)}
    return tuple(sorted(found))[:MOST_LISTED]


def _withheld(rule: Rule) -> Iterator[RequestInfo]:
    named = ((group, *item.partition("/")[::2]) for group, item in product(rule.groups, rule.resources))
    verbs = _VERBS if "*" in rule.verbs else rule.verbs
    for (group, resource, part), verb in product({*named, *_WELL_KNOWN}, verbs):
        request = RequestInfo(
            is_resource_request=True,
            path="",
            verb=verb,
            api_group=group,
            resource=resource,
            subresource=part,
        )
        if rule.is_about(request) and is_sensitive(request):
            yield request


def _written(request: RequestInfo) -> str:
    return f"{request.full_resource}.{request.api_group}" if request.api_group else request.full_resource
