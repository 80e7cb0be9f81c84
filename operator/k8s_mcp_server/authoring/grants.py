"""Everything that policies give a subject in some places, decided request by request, so that it can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.authoring.clients import client_of
from k8s_mcp_server.authoring.places import Where
from k8s_mcp_server.authoring.rights import Right, rights
from k8s_mcp_server.authoring.world import rules_of
from k8s_mcp_server.policy.compile import CompiledPolicy
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.scopes import NamespaceLabels, NamespaceNames, NamespaceScope, Reach, Urls, reach
from k8s_mcp_server.policy.sensitive import COLLECTION_READS, NAMELESS_VERBS

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.places import Place
    from k8s_mcp_server.authoring.world import World
    from k8s_mcp_server.policy.compile import Policy
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.rules import Rule
    from k8s_mcp_server.policy.subjects import Subject
    from k8s_mcp_server.policy.tools import Tool

EVERY_NAME: Final = ""
CLUSTER: Final = Where(name="")
_SOME_NAME: Final = "<any>"  # no object can have this name, so only a rule without names gives it


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One thing that a subject may do.

    Args:
        what: the resource as kubectl spells it, or a path.
        where: in which place.
        name: of the objects, perhaps a glob; `EVERY_NAME` for all.
    """

    tool: Tool
    verb: str
    what: str
    where: Where
    name: str
    is_sensitive: bool


def subjects_of(policies: Iterable[CompiledPolicy]) -> tuple[Subject, ...]:
    """Everybody whom the policies name, each once."""
    return tuple(dict.fromkeys(subject for policy in policies for subject in policy.subjects))


def names_in(policies: Iterable[Policy]) -> tuple[str, ...]:
    """Every object's name and glob that rules and denies hold."""
    held = {rule.resource_names for _, rule in rules_of(policies) if rule.resource_names}
    return tuple(sorted({text for names in held for text in names.texts}))


def grants(subject: Subject, *, world: World, places: Iterable[Place], names: Iterable[str]) -> Iterator[Grant]:
    """Everything that the policies of a world give a subject, in the cluster's own scope and in some places.

    Args:
        names: the objects' names to ask about, beside any other.
    """
    client, places = client_of(subject), tuple(places)
    valid = [policy for policy in world.snapshot.policies_for(client) if isinstance(policy, CompiledPolicy)]
    rules = [rule for policy in valid for rule in policy.rules]
    for tool in sorted({tool for policy in valid for tool in policy.tools}):
        yield from _Asker(client=client, tool=tool, world=world, names=tuple(names)).about(rules, places=places)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asker:
    """Asks a world about one client and tool."""

    client: Client
    tool: Tool
    world: World
    names: tuple[str, ...]

    def about(self, rules: Iterable[Rule], *, places: tuple[Place, ...]) -> Iterator[Grant]:
        """What the client has of what the rules are about; only there can it have anything."""
        asked: dict[tuple[Right, str], tuple[Where, ...]] = {}
        for rule in rules:
            yield from self._about_paths(rule)
            found: dict[str, tuple[Where, ...]] = {"": (CLUSTER,)}
            if isinstance(rule.scope, NamespaceNames | NamespaceLabels):
                found = {place.namespace: place.shown for place in places if self._reaches(rule.scope, place.namespace)}
            if found:
                for right in rights(rule, served=self.world.served):
                    asked |= {(right, namespace): shown for namespace, shown in found.items()}
        for (right, namespace), shown in asked.items():
            for name in self._names_given(right, namespace=namespace):
                for where in shown:
                    yield self._grant(right.verb, str(right.resource), where, name, is_sensitive=right.is_sensitive)

    def _reaches(self, scope: NamespaceScope, namespace: str) -> bool:
        known, environment = self.world.snapshot.namespaces, self.world.environment
        return reach(scope, namespace, known=known, environment=environment) is Reach.INSIDE

    def _about_paths(self, rule: Rule) -> Iterator[Grant]:
        if not isinstance(rule.scope, Urls):
            return
        for path in rule.scope.paths.texts:
            for verb in sorted(rule.verbs):
                request = RequestInfo(is_resource_request=False, path=path, verb=verb)
                if self.world.decide(request, client=self.client, tool=self.tool).allowed:
                    yield self._grant(verb, path, CLUSTER, EVERY_NAME, is_sensitive=False)

    def _names_given(self, right: Right, *, namespace: str) -> Iterator[str]:
        """`EVERY_NAME` and all the names that the right is held for; a deny may take some of them."""
        if right.verb not in NAMELESS_VERBS | COLLECTION_READS:
            if self._has(right, namespace=namespace, name=_SOME_NAME):
                yield EVERY_NAME
            yield from (name for name in self.names if self._has(right, namespace=namespace, name=name))
            return
        request = right.resource.request(right.verb, namespace=namespace)
        decision = self.world.decide(request, client=self.client, tool=self.tool)
        cut = decision.cut
        if decision.allowed and (cut is None or cut.allows(namespace=namespace, name=_SOME_NAME)):
            yield EVERY_NAME
        if cut is not None:
            yield from (name for name in self.names if cut.allows(namespace=namespace, name=name))
        elif decision.allowed and right.verb in COLLECTION_READS:
            yield from self.names

    def _has(self, right: Right, *, namespace: str, name: str) -> bool:
        request = right.resource.request(right.verb, namespace=namespace, name=name)
        return self.world.decide(request, client=self.client, tool=self.tool).allowed

    def _grant(self, verb: str, what: str, where: Where, name: str, *, is_sensitive: bool) -> Grant:
        return Grant(tool=self.tool, verb=verb, what=what, where=where, name=name, is_sensitive=is_sensitive)
