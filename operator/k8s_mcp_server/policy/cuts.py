"""Which objects of a list or watch a client may see: the rules that give the list, without what denies take away.

A cut keeps what it found out about a namespace, so that a list of many objects costs one look-up for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k8s_mcp_server.policy.scopes import (
    ClusterScope,
    Namespace,
    NamespaceLabels,
    NamespaceNames,
    Reach,
    deny_reaches,
    reach,
)

if TYPE_CHECKING:
    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.patterns import Names
    from k8s_mcp_server.policy.rules import Rule


@dataclass(frozen=True, slots=True)
class _NameFilter:
    """Names that some rule gives (None: every name) and no deny takes."""

    given: tuple[Names, ...] | None
    taken: tuple[Names, ...] = ()

    def allows(self, name: str) -> bool:
        if self.given is not None and not any(names.matches(name) for names in self.given):
            return False
        return not any(names.matches(name) for names in self.taken)


_NOTHING = _NameFilter(given=())


def _name_filter(rules: tuple[Rule, ...], denies: tuple[Rule, ...]) -> _NameFilter:
    """What rules and denies that all hold in one place leave of the names there."""
    if not rules or any(deny.resource_names is None for deny in denies):
        return _NOTHING
    named = tuple(rule.resource_names for rule in rules if rule.resource_names is not None)
    return _NameFilter(
        given=named if len(named) == len(rules) else None,
        taken=tuple(deny.resource_names for deny in denies if deny.resource_names is not None),
    )


@dataclass(kw_only=True)
class ObjectCut:
    """The cut of a list of a namespaced resource, or by name of a cluster-scoped one.

    Args:
        rules: those that give the list somewhere.
        denies: those that take some of it.
        known: the snapshot's namespaces.
    """

    rules: tuple[Rule, ...]
    denies: tuple[Rule, ...]
    known: Mapping[str, Namespace]
    environment: Environment
    _found: dict[str, _NameFilter] = field(default_factory=dict, repr=False)

    def allows(self, *, namespace: str, name: str) -> bool:
        """Whether the object may reach the client; ``namespace`` is empty for cluster-scoped objects."""
        found = self._found.get(namespace)
        if found is None:
            found = self._found[namespace] = self._filter(namespace)
        return found.allows(name)

    def _filter(self, namespace: str) -> _NameFilter:
        rules = tuple(rule for rule in self.rules if self._gives(rule, namespace))
        denies = tuple(deny for deny in self.denies if self._takes(deny, namespace))
        return _name_filter(rules, denies)

    def _gives(self, rule: Rule, namespace: str) -> bool:
        if isinstance(rule.scope, NamespaceNames | NamespaceLabels):
            found = reach(rule.scope, namespace, known=self.known, environment=self.environment)
            return bool(namespace) and found is Reach.INSIDE
        return isinstance(rule.scope, ClusterScope) and not namespace

    def _takes(self, deny: Rule, namespace: str) -> bool:
        if isinstance(deny.scope, NamespaceNames | NamespaceLabels):
            return bool(namespace) and deny_reaches(deny.scope, namespace, known=self.known)
        return isinstance(deny.scope, ClusterScope) and not namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class DenyCut:
    """What denies leave of a list of a namespaced resource, whoever gives it.

    Args:
        denies: those that take some of it.
        known: the snapshot's namespaces.
    """

    denies: tuple[Rule, ...]
    known: Mapping[str, Namespace]

    def allows(self, *, namespace: str, name: str) -> bool:
        """Whether no deny takes the object."""
        return not any(self._takes(deny, namespace, name) for deny in self.denies)

    def _takes(self, deny: Rule, namespace: str, name: str) -> bool:
        if not isinstance(deny.scope, NamespaceNames | NamespaceLabels):
            return False
        if deny.resource_names is not None and not deny.resource_names.matches(name):
            return False
        return deny_reaches(deny.scope, namespace, known=self.known)


@dataclass(kw_only=True)
class NamespaceCut:
    """The cut of a list of the namespaces themselves.

    Args:
        visible: whether the client may see the namespace of that name.
    """

    visible: Callable[[str], bool]
    _found: dict[str, bool] = field(default_factory=dict, repr=False)

    def allows(self, *, namespace: str, name: str) -> bool:
        """Whether the namespace ``name`` may reach the client; a Namespace object is in no namespace, or in itself."""
        if namespace not in ("", name):
            return False
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self.visible(name)
        return found
