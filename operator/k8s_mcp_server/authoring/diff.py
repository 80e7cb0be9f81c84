"""`policy diff`: what a change of policies means for whom.

Each subject's rights are decided in both versions. A decision about a client depends on the policies that name it and
on nothing else of theirs, so only those whose own policies differ, or whose namespaces do, are looked at.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.authoring.changes import Change, told
from k8s_mcp_server.authoring.clients import client_of
from k8s_mcp_server.authoring.grants import Grant, grants, names_in, subjects_of
from k8s_mcp_server.authoring.places import Place, real_places, scopes_of, variants
from k8s_mcp_server.authoring.world import World
from k8s_mcp_server.policy.compile import CompiledPolicy, Policy
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot

if TYPE_CHECKING:
    from datetime import datetime

    from k8s_mcp_server.authoring.inputs import Inputs
    from k8s_mcp_server.authoring.resources import Served
    from k8s_mcp_server.policy.subjects import Subject

_ABOUT_RIGHTS: Final = frozenset({"subjects", "rules", "deny", "tools"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One of the two versions."""

    snapshot: Snapshot
    namespaces: Mapping[str, Namespace]
    served: Served
    now: datetime

    def policies_for(self, subject: Subject) -> tuple[Policy, ...]:
        return self.snapshot.policies_for(client_of(subject))

    def grants(
        self,
        subject: Subject,
        *,
        namespaces: Mapping[str, Namespace],
        places: Iterable[Place],
        names: tuple[str, ...],
    ) -> frozenset[Grant]:
        policies = self.policies_for(subject)
        world = World.build(policies, namespaces=namespaces, served=self.served, now=self.now)
        return frozenset(grants(subject, world=world, places=places, names=names))


def compare(old: Inputs, new: Inputs, *, now: datetime) -> list[Change]:
    """Every right that somebody whom the policies name has in one and not in the other.

    Namespaces that only one side describes count for both.
    """
    described = {**old.namespaces, **new.namespaces}
    before, after = (
        _Side(
            snapshot=Snapshot.build(side.compiled(now=now), ()),
            namespaces={**described, **side.namespaces},
            served=side.served(),
            now=now,
        )
        for side in (old, new)
    )
    same_ground = before.namespaces == after.namespaces and before.served.documents == after.served.documents
    policies = (*before.snapshot.policies.values(), *after.snapshot.policies.values())
    found: list[Change] = []
    for subject in subjects_of(item for item in policies if isinstance(item, CompiledPolicy)):
        if not same_ground or before.policies_for(subject) != after.policies_for(subject):
            found += _changes(subject, before, after)
    return sorted(found, key=lambda change: (not change.gained, change.only_unenforced))


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


def _changes(subject: Subject, before: _Side, after: _Side) -> Iterator[Change]:
    """What one subject gains and loses, in real namespaces and in those that stand for others."""
    policies = (*before.policies_for(subject), *after.policies_for(subject))
    scopes, names = scopes_of(policies), names_in(policies)
    sides = (before, after)
    usual, unenforced = ([set[Grant](), set[Grant]()] for _ in range(2))
    all_variants = list(variants(scopes, known=before.namespaces))
    for index, side in enumerate(sides):
        real = real_places(scopes, known=side.namespaces)
        usual[index] |= side.grants(subject, namespaces=side.namespaces, places=real, names=names)
        for variant in all_variants:
            held = usual if variant.enforced else unenforced
            held[index] |= side.grants(subject, namespaces=variant.namespaces, places=variant.places, names=names)
    label_sets = len(all_variants) // 2
    for gained, only_unenforced in itertools.product((True, False), (False, True)):
        less, more = (0, 1) if gained else (1, 0)
        changed = usual[more] - usual[less]
        if only_unenforced:
            changed = (unenforced[more] - unenforced[less]) - changed
        yield from told(changed, subject=subject, gained=gained, only_unenforced=only_unenforced, label_sets=label_sets)
