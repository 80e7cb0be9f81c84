"""`policy diff`: what a change of policies means for whom.

Each subject's rights are decided in both versions. A decision about a client depends on the policies that name it and
on nothing else of theirs, so only those whose own policies differ, or whose namespaces do, are looked at. What a rule
gives as far as the client's own RBAC does is told as such, whatever that RBAC is today.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.authoring.changes import Change, Condition, told
from k8s_mcp_server.authoring.clients import client_of, subject_text
from k8s_mcp_server.authoring.grants import Grant, grants, names_in, subjects_of
from k8s_mcp_server.authoring.places import Place, Variant, real_places, scopes_of, variants
from k8s_mcp_server.authoring.world import World, rules_of
from k8s_mcp_server.policy.compile import CompiledPolicy, Policy
from k8s_mcp_server.policy.scopes import TeamNamespaces
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.policy.subjects import SubjectKind

if TYPE_CHECKING:
    from datetime import datetime

    from k8s_mcp_server.authoring.cluster_state import ClusterState
    from k8s_mcp_server.authoring.inputs import Inputs
    from k8s_mcp_server.authoring.resources import Served
    from k8s_mcp_server.policy.rules import Rule
    from k8s_mcp_server.policy.scopes import NamespaceScope
    from k8s_mcp_server.policy.subjects import Subject

_ABOUT_RIGHTS: Final = frozenset({"subjects", "rules", "deny", "tools"})
_ORDER: Final = {condition: place for place, condition in enumerate(Condition)}
_OWN_TEAM: Final = "(its own team)"  # of a ServiceAccount whose namespace no file describes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One of the two versions."""

    snapshot: Snapshot
    namespaces: Mapping[str, Namespace]
    served: Served
    cluster: ClusterState
    now: datetime

    @classmethod
    def of(cls, inputs: Inputs, *, described: Mapping[str, Namespace], now: datetime) -> _Side:
        """A version in a cluster that has the ``described`` namespaces, too. Nobody's own rights are known in it."""
        policies, namespaces = inputs.compiled(now=now), {**described, **inputs.namespaces}
        homes = {**_homes(policies), **namespaces}
        return cls(
            snapshot=Snapshot.build(policies, homes.values(), inputs.cluster.roles.values()),
            namespaces=namespaces,
            served=inputs.served(),
            cluster=replace(inputs.cluster, bindings=None),
            now=now,
        )

    def policies_for(self, subject: Subject) -> tuple[Policy, ...]:
        return self.snapshot.policies_for(client_of(subject))

    def grants(
        self,
        subject: Subject,
        *,
        namespaces: Mapping[str, Namespace],
        places: Iterable[Place],
        names: tuple[str, ...],
        own_rights: bool,
    ) -> frozenset[Grant]:
        world = World.build(
            self.policies_for(subject),
            namespaces=namespaces,
            served=self.served,
            now=self.now,
            cluster=self.cluster,
            own_rights=own_rights,
        )
        return frozenset(grants(subject, world=world, places=places, names=names))


def compare(old: Inputs, new: Inputs, *, now: datetime) -> list[Change]:
    """Every right that somebody whom the policies name has in one and not in the other.

    Namespaces that only one side describes count for both.
    """
    described = {**old.namespaces, **new.namespaces}
    before, after = (_Side.of(side, described=described, now=now) for side in (old, new))
    same_ground = before.namespaces == after.namespaces and before.served.documents == after.served.documents
    policies = (*before.snapshot.policies.values(), *after.snapshot.policies.values())
    found: list[Change] = []
    for subject in subjects_of(item for item in policies if isinstance(item, CompiledPolicy)):
        if not same_ground or before.policies_for(subject) != after.policies_for(subject):
            found += _changes(subject, before, after)
    return sorted(found, key=lambda change: (not change.gained, _ORDER[change.condition]))


def unknown_gains(old: Inputs, new: Inputs, *, now: datetime) -> list[str]:
    """Who gains a rule that follows a role which nothing here describes, in sentences."""
    before, after = (set(_by_unknown_roles(side, now=now)) for side in (old, new))
    return [
        f"? {subject_text(subject)} may now have what ClusterRole {rule.role} gives ({rule.name}), which no file has"
        for subject, rule in sorted(after - before, key=str)
    ]


def _by_unknown_roles(inputs: Inputs, *, now: datetime) -> Iterator[tuple[Subject, Rule]]:
    for policy in inputs.compiled(now=now):
        if isinstance(policy, CompiledPolicy):
            rules = [rule for rule in policy.rules if rule.role and rule.role not in inputs.cluster.roles]
            yield from itertools.product(policy.subjects, rules)


def _homes(policies: Iterable[Policy]) -> dict[str, Namespace]:
    """A namespace for each ServiceAccount that policies name, with a team for all that they go by."""
    policies = tuple(policies)
    labels = {rule.scope.label: _OWN_TEAM for _, rule in rules_of(policies) if isinstance(rule.scope, TeamNamespaces)}
    subjects = (subject for policy in policies for subject in policy.subjects)
    accounts = {subject.namespace for subject in subjects if subject.kind is SubjectKind.SERVICE_ACCOUNT}
    return {name: Namespace(name=name, labels=labels) for name in accounts} if labels else {}


def settings_changes(old: Inputs, new: Inputs) -> Iterator[str]:
    """What else changed, policy by policy, in sentences."""
    before = {item.name: item.body.get("spec") or {} for item in old.policies}
    after = {item.name: item.body.get("spec") or {} for item in new.policies}
    for name in sorted({*before, *after}):
        if name not in before:
            yield f"~ policy {name} is new"
        elif name not in after:
            yield f"~ policy {name} is gone"
        else:
            was, is_now = before[name], after[name]
            for field in sorted({*was, *is_now} - _ABOUT_RIGHTS):
                first, second = (side.get(field, "not stated") for side in (was, is_now))
                if first != second:
                    yield f"~ policy {name}: {field}: {first} → {second}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What is asked about one subject in both versions.

    Args:
        scopes: where its rules and denies hold.
        variants: namespaces that stand for others.
        names: the objects' names that make a difference.
    """

    subject: Subject
    scopes: tuple[NamespaceScope, ...]
    variants: tuple[Variant, ...]
    names: tuple[str, ...]

    def held(self, side: _Side, *, enforced: bool, own_rights: bool) -> frozenset[Grant]:
        """What it has in real namespaces and in stand-ins with Pod Security; or in stand-ins without."""
        grounds = [(item.namespaces, item.places) for item in self.variants if item.enforced is enforced]
        if enforced:
            grounds.append((side.namespaces, tuple(real_places(self.scopes, known=side.namespaces))))
        return frozenset(
            grant
            for namespaces, places in grounds
            for grant in side.grants(
                self.subject, namespaces=namespaces, places=places, names=self.names, own_rights=own_rights
            )
        )


def _changes(subject: Subject, before: _Side, after: _Side) -> Iterator[Change]:
    """What one subject gains and loses, in real namespaces and in those that stand for others."""
    policies = (*before.policies_for(subject), *after.policies_for(subject))
    scopes = scopes_of(policies)
    asked = _Asked(
        subject=subject,
        scopes=scopes,
        variants=tuple(variants(scopes, known=before.namespaces)),
        names=names_in(policies),
    )
    conditions = {Condition.NONE: (True, False), Condition.UNENFORCED: (False, False)}
    if any(rule.from_rbac for _, rule in rules_of(policies)):
        conditions |= {Condition.OWN_RBAC: (True, True), Condition.OWN_RBAC_UNENFORCED: (False, True)}
    held = {
        condition: [asked.held(side, enforced=enforced, own_rights=own_rights) for side in (before, after)]
        for condition, (enforced, own_rights) in conditions.items()
    }
    for gained in (True, False):
        less, more = (0, 1) if gained else (1, 0)
        already: frozenset[Grant] = frozenset()
        for condition, sides in held.items():
            changed = sides[more] - sides[less] - already
            already |= changed
            yield from told(
                changed, subject=subject, gained=gained, condition=condition, label_sets=len(asked.variants) // 2
            )
