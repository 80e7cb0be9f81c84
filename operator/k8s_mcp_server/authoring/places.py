"""Which namespaces it takes to tell apart everything that some policies can tell apart.

Files rarely describe every namespace, so the names, globs and label selectors of the policies get namespaces that stand
for what they match: every name with every combination of the labels that matter. Real namespaces that no rule and no
deny tells apart are decided once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.authoring.world import rules_of
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.patterns import Glob
from k8s_mcp_server.policy.scopes import (
    NamespaceLabels,
    NamespaceNames,
    NamespaceScope,
    deny_reaches,
    reach,
)
from k8s_mcp_server.policy.sensitive import POD_SECURITY_LABEL, enforces_pod_security
from k8s_mcp_server.policy.snapshot import Namespace

if TYPE_CHECKING:
    from k8s_mcp_server.policy.compile import Policy

OTHERS: Final = "any namespace"
_NOBODY: Final = "(another)"  # no rule names it, and no glob matches it but one that matches everything
_OTHER_VALUE: Final = "some-other-value"
_MOST: Final = 128  # of combinations, of labels as of globs; beyond them one thing at a time is varied


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A place in words.

    Args:
        name: a namespace, or what stands for some, such as ``any team-a-*``; empty for the cluster's own scope.
        labels: with which labels, where that makes a difference.
    """

    name: str
    labels: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.labels}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A namespace to decide in, and all that are decided the same."""

    namespace: str
    shown: tuple[Where, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Stand-ins that all have the same labels.

    Args:
        enforced: whether Pod Security enforces in them.
    """

    enforced: bool
    namespaces: Mapping[str, Namespace]
    places: tuple[Place, ...]


def scopes_of(policies: Iterable[Policy]) -> tuple[NamespaceScope, ...]:
    """Every scope of a rule or deny that is about namespaces, each once."""
    scopes = (rule.scope for _, rule in rules_of(policies))
    return tuple(dict.fromkeys(scope for scope in scopes if isinstance(scope, NamespaceNames | NamespaceLabels)))


def real_places(scopes: Iterable[NamespaceScope], *, known: Mapping[str, Namespace]) -> Iterator[Place]:
    """The namespaces that files describe, joined where no scope tells them apart."""
    scopes = tuple(scopes)
    classes: dict[tuple[object, ...], list[str]] = {}
    for name, namespace in known.items():
        classes.setdefault(_signature(namespace, scopes, known=known), []).append(name)
    for names in classes.values():
        yield Place(namespace=names[0], shown=tuple(Where(name=name) for name in names))


def variants(scopes: Iterable[NamespaceScope], *, known: Iterable[str]) -> Iterator[Variant]:
    """Stand-ins for what the scopes may match beyond the ``known`` namespaces."""
    scopes = tuple(scopes)
    names = _names(scopes, known=frozenset(known))
    label_sets = list(_label_sets([scope for scope in scopes if isinstance(scope, NamespaceLabels)]))
    for labels, enforced in itertools.product(label_sets, (True, False)):
        text = _label_text(labels) if len(label_sets) > 1 else ""
        base = {POD_SECURITY_LABEL: "baseline"} if enforced else {}
        yield Variant(
            enforced=enforced,
            namespaces={name: Namespace(name=name, labels={**base, **labels}) for name in names},
            places=tuple(
                Place(namespace=name, shown=(Where(name=shown, labels=text),)) for name, shown in names.items()
            ),
        )


def _names(scopes: Iterable[NamespaceScope], *, known: frozenset[str]) -> dict[str, str]:
    """Names to stand for names and globs, and how each is shown."""
    named = [scope.names for scope in scopes if isinstance(scope, NamespaceNames)]
    globs = dict.fromkeys(glob.text for names in named for glob in names.globs)
    shown = {text: f"any {text}" if text.strip("*") else OTHERS for text in _with_intersections(globs)}
    literals = {name: name for names in named for name in sorted(names.literals - known)}
    everywhere = {} if OTHERS in shown.values() else {_NOBODY: OTHERS}
    return {**literals, **shown, **everywhere}


def _with_intersections(globs: Iterable[str]) -> list[str]:
    """Globs, and globs for what several of them match at once."""
    found = list(globs)
    for index, first in enumerate(found):
        for second in found[:index]:
            both = _intersection(Glob(first), Glob(second))
            if both is not None and both not in found and len(found) < _MOST:
                found.append(both)
    return found


def _intersection(first: Glob, second: Glob) -> str | None:
    """A glob for some of what both match; as text it is a name that both match. None when their ends disagree."""
    start, *left, end = first.text.split("*")
    other_start, *right, other_end = second.text.split("*")
    longer, shorter = (start, other_start) if len(start) >= len(other_start) else (other_start, start)
    last, least = (end, other_end) if len(end) >= len(other_end) else (other_end, end)
    if not longer.startswith(shorter) or not last.endswith(least):
        return None
    return "*".join((longer, *left, *right, last))


def _label_sets(selectors: list[NamespaceLabels]) -> Iterator[dict[str, str]]:
    """Every combination of the values that the selectors tell apart, of another value, and of none."""
    values: dict[str, list[str | None]] = {}
    for selector in selectors:
        for requirement in selector.requirements:
            mentioned = values.setdefault(requirement.key, [None])
            mentioned += [value for value in sorted(requirement.values) if value not in mentioned]
    for mentioned in values.values():
        mentioned.append(_OTHER_VALUE)
    combinations = itertools.product(*([(key, value) for value in found] for key, found in values.items()))
    for combination in itertools.islice(combinations, _MOST):
        yield {key: value for key, value in combination if value is not None}


def _label_text(labels: Mapping[str, str]) -> str:
    stated = (f"another {key}" if value == _OTHER_VALUE else f"{key}={value}" for key, value in labels.items())
    return f"with {', '.join(stated)}" if labels else "without such labels"


def _signature(
    namespace: Namespace, scopes: Iterable[NamespaceScope], *, known: Mapping[str, Namespace]
) -> tuple[object, ...]:
    """How every scope stands to a namespace, were it a rule's and were it a deny's."""
    environment, name = Environment(), namespace.name
    return (
        enforces_pod_security(namespace.labels),
        *(
            (reach(scope, name, known=known, environment=environment), deny_reaches(scope, name, known=known))
            for scope in scopes
        ),
    )
