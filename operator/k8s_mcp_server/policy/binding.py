"""Policies as they hold for one client: what depends on who asks is settled here, once, before any decision.

Decisions then see rules that are about namespaces, and nothing else has to know whose they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.compile import InvalidPolicy, Policy
from k8s_mcp_server.policy.patterns import Names
from k8s_mcp_server.policy.scopes import Namespace, NamespaceNames, TeamNamespaces
from k8s_mcp_server.policy.subjects import counted_groups

if TYPE_CHECKING:
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.rules import Rule
    from k8s_mcp_server.policy.scopes import RuleScope

_EVERYWHERE: Final = NamespaceNames(names=Names.of(["*"]))


def is_for_teams(policy: Policy) -> bool:
    """Whether a rule or deny of the policy is about the namespaces of the client's own teams."""
    rules = (*policy.denies, *(() if isinstance(policy, InvalidPolicy) else policy.rules))
    return any(isinstance(rule.scope, TeamNamespaces) for rule in rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binder:
    """Binds policies to one client.

    Args:
        client: whom the policies name.
        namespaces: the snapshot's.
    """

    client: Client
    namespaces: Mapping[str, Namespace]

    def bind(self, policy: Policy) -> Policy:
        """The policy as it holds for the client; the same object when nothing in it depends on that."""
        if not is_for_teams(policy):
            return policy
        denies = tuple(self._deny(deny) for deny in policy.denies)
        if isinstance(policy, InvalidPolicy):
            return replace(policy, denies=denies)
        return replace(policy, rules=tuple(self._rule(rule) for rule in policy.rules), denies=denies)

    def teams(self, scope: TeamNamespaces) -> frozenset[str]:
        """The client's teams: what follows the prefix in its groups, and the label of a ServiceAccount's namespace."""
        prefix = scope.group_prefix
        found = {group.removeprefix(prefix) for group in counted_groups(self.client) if group.startswith(prefix)}
        teams = found if prefix else set()
        if (home := self._home()) is not None:
            teams.add(home.labels.get(scope.label, ""))
        return frozenset(teams - {""})

    def _rule(self, rule: Rule) -> Rule:
        if not isinstance(rule.scope, TeamNamespaces):
            return rule
        return replace(rule, scope=rule.scope.of(self.teams(rule.scope)))

    def _deny(self, deny: Rule) -> Rule:
        if not isinstance(deny.scope, TeamNamespaces):
            return deny
        return replace(deny, scope=self._denied(deny.scope))

    def _denied(self, scope: TeamNamespaces) -> RuleScope:
        """A team that cannot be known could be any."""
        is_homeless = self.client.service_account is not None and self._home() is None
        return _EVERYWHERE if is_homeless else scope.of(self.teams(scope))

    def _home(self) -> Namespace | None:
        account = self.client.service_account
        return self.namespaces.get(account[0]) if account is not None else None
