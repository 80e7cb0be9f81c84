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
    found = (
        sentence
        for policy, rule in rules_of(policies)
        for sentence in _about(rule, where=f"rule {rule.name} of policy {policy.name}", cluster=cluster)
    )
    teams = (
        f"Not known: which namespaces have the label {scope.label}; add Namespaces with {OPTION}."
        for _, rule in rules_of(policies)
        if isinstance(scope := rule.scope, TeamNamespaces) and not namespaces
    )
    return tuple(dict.fromkeys((*found, *teams)))


def _about(rule: Rule, *, where: str, cluster: ClusterState) -> Iterator[str]:
    if rule.role and rule.role not in cluster.roles:
        yield f"Not known: ClusterRole {rule.role} ({where}), so it gives nothing here; add it with {OPTION}."
    elif rule.role and rule.role not in cluster.stated:
        own = f"Kubernetes' own ({kubernetes_version()}) and what these files add to it"
        yield f"Assumed: ClusterRole {rule.role} is {own}."
    if rule.from_rbac and cluster.bindings is None:
        yield f"Not known: what the clients' own RBAC gives ({where}); add roles and bindings with {OPTION}."
