"""Whether a list of RBAC rules gives an action.

Source of the rules of matching: k8s.io/kubernetes/pkg/apis/rbac/v1/evaluation_helpers.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8s_mcp_server.gateway.reviews.wire import NonResourceRule, ResourceRule


def rules_about(
    rules: Iterable[ResourceRule], *, group: str, resource: str, subresource: str
) -> Iterator[ResourceRule]:
    """The rules that are about a resource, whatever their verbs and names."""
    full = f"{resource}/{subresource}" if subresource else resource
    spellings = {"*", full, f"*/{subresource}"} if subresource else {"*", full}
    for rule in rules:
        if not {"*", group}.isdisjoint(rule.api_groups) and not spellings.isdisjoint(rule.resources):
            yield rule


def gives(rules: Iterable[ResourceRule], *, verb: str, name: str) -> bool:
    """Whether any of the rules about a resource gives the verb on the name (empty: on every name)."""
    return any(
        not {"*", verb}.isdisjoint(rule.verbs) and (not rule.resource_names or (name and name in rule.resource_names))
        for rule in rules
    )


def gives_path(rules: Iterable[NonResourceRule], *, verb: str, path: str) -> bool:
    """Whether any of the rules gives the verb on the path, or on all that a pattern ending in ``*`` stands for."""
    return any(
        not {"*", verb}.isdisjoint(rule.verbs) and any(_matches_path(url, path) for url in rule.urls) for rule in rules
    )


def _matches_path(url: str, path: str) -> bool:
    return url in {"*", path} or (url.endswith("*") and path.startswith(url.removesuffix("*")))
