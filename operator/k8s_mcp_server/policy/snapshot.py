"""All policies, namespaces and roles at one moment, immutable, indexed so that a decision never walks through them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.binding import Binder
from k8s_mcp_server.policy.compile import CompiledPolicy, InvalidPolicy, Policy
from k8s_mcp_server.policy.roles import ClusterRole, follow
from k8s_mcp_server.policy.scopes import Namespace
from k8s_mcp_server.policy.subjects import SubjectIndex

if TYPE_CHECKING:
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.rules import Rule

__all__ = ["ClientPolicies", "Namespace", "Snapshot"]

_MAX_REMEMBERED_CLIENTS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPolicies:
    """The policies that name one client, as they hold for it, sorted by name, and what decisions ask of them first.

    Args:
        named: all of them.
        valid: those that may give something.
        refusing: those that refuse the client everything: blocked, or invalid with something that may be a deny.
        denies: every deny, with its policy.
        use_rbac: a rule gives what the cluster's RBAC gives the client.
    """

    named: tuple[Policy, ...]
    valid: tuple[CompiledPolicy, ...]
    refusing: tuple[Policy, ...]
    denies: tuple[tuple[Policy, Rule], ...]
    use_rbac: bool

    @classmethod
    def of(cls, policies: Iterable[Policy]) -> ClientPolicies:
        """Sort the policies that name a client by what they are."""
        named = tuple(sorted(policies, key=lambda policy: policy.name))
        return cls(
            named=named,
            valid=tuple(policy for policy in named if isinstance(policy, CompiledPolicy)),
            refusing=tuple(policy for policy in named if _refuses(policy)),
            denies=tuple((policy, deny) for policy in named for deny in policy.denies),
            use_rbac=any(
                rule.from_rbac for policy in named if isinstance(policy, CompiledPolicy) for rule in policy.rules
            ),
        )


def _refuses(policy: Policy) -> bool:
    return policy.refuses_everything if isinstance(policy, InvalidPolicy) else policy.block


class Snapshot:
    """What decisions are made from. Build a new one for each change; none is ever altered."""

    def __init__(
        self,
        policies: Mapping[str, Policy],
        namespaces: Mapping[str, Namespace],
        roles: Mapping[str, ClusterRole] | None = None,
    ) -> None:
        self.policies: Mapping[str, Policy] = MappingProxyType(dict(policies))
        self.roles: Mapping[str, ClusterRole] = MappingProxyType(dict(roles or {}))
        self.namespaces: Mapping[str, Namespace] = MappingProxyType(dict(sorted(namespaces.items())))
        self.namespace_names = tuple(self.namespaces)
        self._index = SubjectIndex(
            (subject, policy) for policy in self.policies.values() for subject in policy.subjects
        )
        self._labelled: dict[tuple[str, str], list[str]] | None = None
        self._remembered: dict[Client, ClientPolicies] = {}

    @classmethod
    def build(
        cls, policies: Iterable[Policy], namespaces: Iterable[Namespace], roles: Iterable[ClusterRole] = ()
    ) -> Snapshot:
        """A snapshot of these policies, namespaces and roles; of two with one name the later counts."""
        return cls(
            {item.name: item for item in policies},
            {item.name: item for item in namespaces},
            {item.name: item for item in roles},
        )

    @classmethod
    def empty(cls) -> Snapshot:
        """No policies, no namespaces: nothing is allowed."""
        return cls({}, {})

    def namespaces_labelled(self, key: str, value: str) -> Sequence[str]:
        """The names of the namespaces with this label, sorted."""
        if self._labelled is None:
            labelled: dict[tuple[str, str], list[str]] = {}
            for namespace in self.namespaces.values():
                for label in namespace.labels.items():
                    labelled.setdefault(label, []).append(namespace.name)
            self._labelled = labelled
        return self._labelled.get((key, value), ())

    def following(self, policy: Policy) -> Policy:
        """The policy with the rules of its roles, as they are at this moment."""
        return policy if isinstance(policy, InvalidPolicy) else follow(policy, self.roles)

    def policies_for(self, client: Client) -> tuple[Policy, ...]:
        """The policies that name the client, each once, sorted by name, as they hold for it."""
        return self.client_policies(client).named

    def client_policies(self, client: Client) -> ClientPolicies:
        """As `policies_for`, prepared for decisions; remembered, for a command makes many requests."""
        found = self._remembered.get(client)
        if found is None:
            binder = Binder(client=client, namespaces=self.namespaces)
            named = {policy.name: policy for policy in self._index.find(client)}
            found = ClientPolicies.of(binder.bind(self.following(policy)) for policy in named.values())
            if len(self._remembered) >= _MAX_REMEMBERED_CLIENTS:
                self._remembered.clear()
            self._remembered[client] = found
        return found
