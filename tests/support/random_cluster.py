"""Random ConfigMaps in some namespaces, random policies for them, and the oracle that filters by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from hypothesis import strategies as st

PLACES = 5
NAMES = ("n0", "n1", "n2", "m0", "m1")
TIERS = ("a", "b")
Labels = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One rule or deny: where (names or globs, or a label) and which names (None: every)."""

    namespaces: tuple[str, ...] = ()
    tier: str = ""
    names: tuple[str, ...] | None = None

    def reaches(self, namespace: str, labels: Labels) -> bool:
        """Whether it holds in a namespace."""
        if self.tier:
            return labels.get("tier") == self.tier
        return any(fnmatchcase(namespace, item) for item in self.namespaces)

    def covers(self, namespace: str, labels: Labels, name: str) -> bool:
        """Whether it is about an object."""
        named = self.names is None or any(fnmatchcase(name, item) for item in self.names)
        return named and self.reaches(namespace, labels)

    def as_rule(self) -> dict[str, Any]:
        """As a policy writes it."""
        place: dict[str, Any] = (
            {"namespaceSelector": {"matchLabels": {"tier": self.tier}}}
            if self.tier
            else {"namespaces": list(self.namespaces)}
        )
        names = {} if self.names is None else {"resourceNames": list(self.names)}
        return {**place, **names, "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A cluster's ConfigMaps and a policy.

    Args:
        labels: of each namespace.
        objects: label ``tier`` by namespace's number and name.
        later: the same, after the changes that a watch sees.
    """

    labels: tuple[Labels, ...]
    objects: dict[tuple[int, str], str]
    later: dict[tuple[int, str], str]
    rules: tuple[Scope, ...]
    denies: tuple[Scope, ...] = ()
    query: str = ""
    prefix: str = field(default="")

    def shows(self, namespace: str, name: str) -> bool:
        """Whether the client may see a ConfigMap."""
        labels = self.labels_of(namespace)
        if labels is None:
            return False
        given = any(rule.covers(namespace, labels, name) for rule in self.rules)
        return given and not any(deny.covers(namespace, labels, name) for deny in self.denies)

    def shows_namespace(self, namespace: str) -> bool:
        """Whether the client may see a namespace: any rule holds there."""
        labels = self.labels_of(namespace)
        return labels is not None and any(rule.reaches(namespace, labels) for rule in self.rules)

    def labels_of(self, namespace: str) -> Labels | None:
        """The labels of one of ours; None for others, which no rule here reaches."""
        number = namespace.removeprefix(self.prefix)
        return self.labels[int(number)] if namespace.startswith(self.prefix) and number.isdigit() else None

    def policy(self, subject: str) -> dict[str, Any]:
        """The McpAccessPolicy."""
        return {
            "apiVersion": "k8s-mcp.io/v1alpha1",
            "kind": "McpAccessPolicy",
            "metadata": {"name": "random", "uid": "2", "resourceVersion": "1", "generation": 1},
            "spec": {
                "subjects": [{"kind": "User", "name": subject}],
                "rules": [rule.as_rule() for rule in self.rules],
                "deny": [deny.as_rule() for deny in self.denies],
            },
        }


def worlds(prefix: str) -> st.SearchStrategy[World]:
    """Random worlds whose namespaces are ``prefix`` and a number."""
    namespaces = [f"{prefix}{number}" for number in range(PLACES)]
    patterns = st.sampled_from([*namespaces, f"{prefix}*1", f"{prefix[:-1]}*3"])
    names = st.lists(st.sampled_from([*NAMES, "n*", "*1"]), min_size=1, max_size=2, unique=True).map(tuple)
    scopes = st.one_of(
        st.builds(
            Scope,
            namespaces=st.lists(patterns, min_size=1, max_size=2, unique=True).map(tuple),
            names=st.none() | names,
        ),
        st.builds(Scope, tier=st.sampled_from(TIERS), names=st.none() | names),
    )
    objects = st.dictionaries(
        st.tuples(st.integers(0, PLACES - 1), st.sampled_from(NAMES)), st.sampled_from(TIERS), max_size=12
    )
    return st.builds(
        World,
        labels=st.tuples(*([st.sampled_from([{"tier": tier} for tier in TIERS] + [{}])] * PLACES)),
        objects=objects,
        later=objects,
        rules=st.lists(scopes, min_size=1, max_size=2).map(tuple),
        denies=st.lists(scopes, max_size=1).map(tuple),
        query=st.sampled_from(
            [
                "",
                "labelSelector=tier%3Da",
                "labelSelector=tier+in+(a,b)",
                f"fieldSelector=metadata.namespace%3D{namespaces[1]}",
                "fieldSelector=metadata.name%3Dn1",
                "fieldSelector=metadata.name!%3Dn1",
            ]
        ),
        prefix=st.just(prefix),
    )
