"""What the answer depends on and no file says, in sentences: it is told with every answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.authoring.cluster_state import kubernetes_version
from k8s_mcp_server.authoring.world import rules_of
from k8s_mcp_server.policy.scopes import TeamNamespaces

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.cluster_state import ClusterState
    from k8s_mcp_server.policy.compile import Policy
    from k8s_mcp_server.policy.rules import Rule
    from k8s_mcp_server.policy.scopes import Namespace

OPTION: Final = "--cluster-state"


def unknown(
    policies: Iterable[Policy], *, cluster: ClusterState, namespaces: Mapping[str, Namespace]
) -> tuple[str, ...]:
    """What is not known, or assumed, about what the policies follow in a cluster.

    Args:
        policies: as they were read, not as they hold for one client.
        namespaces: those that files describe.
    """
    told: dict[tuple[str, str], list[str]] = {}  # a sentence in two halves: the rules that it is about
    for policy, rule in rules_of(policies):
        for halves in _about(rule, cluster=cluster, namespaces=namespaces):
            told.setdefault(halves, []).append(f"{policy.name}/{rule.name}")
    return tuple(f"{first} ({', '.join(rules)}){then}" for (first, then), rules in told.items())


def _about(rule: Rule, *, cluster: ClusterState, namespaces: Mapping[str, Namespace]) -> Iterator[tuple[str, str]]:
    if rule.role and rule.role not in cluster.roles:
        yield f"Not known: ClusterRole {rule.role}", f", so it gives nothing here; add it with {OPTION}."
    elif rule.role and rule.role not in cluster.stated:
        own = f"Kubernetes' own, {kubernetes_version()}"
        yield f"Assumed: ClusterRole {rule.role}", f" is {own}, with what these files add to it."
    if rule.from_rbac and cluster.bindings is None:
        yield "Not known: what the clients' own RBAC gives", f"; add roles and bindings with {OPTION}."
    if isinstance(rule.scope, TeamNamespaces) and not namespaces:
        yield f"Not known: which namespaces have the label {rule.scope.label}", f"; add Namespaces with {OPTION}."
