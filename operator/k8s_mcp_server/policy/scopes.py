"""Where a rule holds: namespaces by name, glob or label, the cluster, or paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.model import NamespaceSelectorModel
    from k8s_mcp_server.policy.patterns import Names


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A namespace as the snapshot knows it."""

    name: str
    labels: Mapping[str, str]


class Operator(StrEnum):
    """The operators of a Kubernetes label selector."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One term of a label selector, with the meaning of k8s.io/apimachinery/pkg/labels ``Requirement.Matches``."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels satisfy the term; a missing key satisfies NotIn and DoesNotExist."""
        if self.operator is Operator.IN:
            return labels.get(self.key) in self.values
        if self.operator is Operator.NOT_IN:
            return labels.get(self.key) not in self.values
        return (self.key in labels) is (self.operator is Operator.EXISTS)

    def __str__(self) -> str:
        values = ",".join(sorted(self.values))
        return {
            Operator.IN: f"{self.key} in ({values})",
            Operator.NOT_IN: f"{self.key} notin ({values})",
            Operator.EXISTS: self.key,
            Operator.DOES_NOT_EXIST: f"!{self.key}",
        }[self.operator]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceNames:
    """Namespaces by literal name or glob."""

    names: Names

    def __str__(self) -> str:
        return f"namespaces {self.names}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceLabels:
    """Namespaces whose labels satisfy every term."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels satisfy every term."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return f"namespaces with {', '.join(map(str, self.requirements))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamNamespaces:
    """Namespaces of the client's own teams; holds nowhere until it is bound to a client (see `binding`).

    Args:
        label: has the team's name on its namespaces.
        group_prefix: what comes before it in the names of groups; empty when groups do not count.
        requirements: what else the labels must satisfy.
    """

    label: str
    group_prefix: str
    requirements: tuple[Requirement, ...] = ()

    def of(self, teams: frozenset[str]) -> NamespaceLabels:
        """The namespaces of these teams."""
        team = Requirement(key=self.label, operator=Operator.IN, values=teams)
        return NamespaceLabels(requirements=(team, *self.requirements))

    def of_anybody(self) -> NamespaceLabels:
        """The namespaces of any team."""
        return NamespaceLabels(requirements=(Requirement(key=self.label, operator=Operator.EXISTS), *self.requirements))

    def __str__(self) -> str:
        return str(self.of_anybody())


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterScope:
    """Cluster-scoped resources, and nothing else."""

    def __str__(self) -> str:
        return "cluster scope"


@dataclass(frozen=True, slots=True, kw_only=True)
class Urls:
    """Paths that are no resources; a pattern may end in ``*``."""

    paths: Names

    def __str__(self) -> str:
        return f"paths {self.paths}"


NamespaceScope: TypeAlias = NamespaceNames | NamespaceLabels
RuleScope: TypeAlias = NamespaceScope | TeamNamespaces | ClusterScope | Urls


def select(selector: NamespaceSelectorModel) -> NamespaceLabels | TeamNamespaces:
    """The scope of a selector; a ``matchLabels`` entry is an ``In`` with one value."""
    equal = (
        Requirement(key=key, operator=Operator.IN, values=frozenset({value}))
        for key, value in (selector.match_labels or {}).items()
    )
    expressions = (
        Requirement(key=item.key, operator=Operator(item.operator), values=frozenset(item.values))
        for item in selector.match_expressions or ()
    )
    requirements, subject = (*equal, *expressions), selector.match_subject
    if subject is None:
        return NamespaceLabels(requirements=requirements)
    return TeamNamespaces(label=subject.label, group_prefix=subject.group_prefix or "", requirements=requirements)


class Reach(StrEnum):
    """How an allowing scope stands to a namespace."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    PROTECTED = "protected"  # a glob or selector would match, were the namespace not protected
    UNKNOWN = "unknown"  # matches by name, but the snapshot does not have the namespace


def is_protected(namespace: str, environment: Environment) -> bool:
    """Whether globs and selectors of rules pass over the namespace."""
    return (
        namespace.startswith("kube-")
        or namespace in environment.protected_namespaces
        or namespace == environment.own_namespace
    )


def reach(scope: NamespaceScope, namespace: str, *, known: Mapping[str, Namespace], environment: Environment) -> Reach:
    """Whether an allowing rule of this scope holds in a namespace."""
    if namespace == environment.own_namespace:
        return Reach.OUTSIDE
    found = known.get(namespace)
    if isinstance(scope, NamespaceNames):
        literal = namespace in scope.names.literals
        if not literal and not scope.names.matches_glob(namespace):
            return Reach.OUTSIDE
        if not literal and is_protected(namespace, environment):
            return Reach.PROTECTED
        return Reach.INSIDE if found else Reach.UNKNOWN
    if found is None or not scope.matches(found.labels):
        return Reach.OUTSIDE
    return Reach.PROTECTED if is_protected(namespace, environment) else Reach.INSIDE


def for_anybody(scope: RuleScope) -> NamespaceScope | None:
    """The namespaces that a rule of this scope may reach, whoever asks; None when it is about none."""
    if isinstance(scope, TeamNamespaces):
        return scope.of_anybody()
    return scope if isinstance(scope, NamespaceNames | NamespaceLabels) else None


def inside(scope: NamespaceScope, *, known: Mapping[str, Namespace], environment: Environment) -> Iterator[str]:
    """The existing namespaces in which an allowing rule of this scope holds.

    Literal names are looked up; only globs and selectors have to be tried on every namespace.
    """
    candidates: AbstractSet[str] = known.keys()
    if isinstance(scope, NamespaceNames) and not scope.names.globs:
        candidates = scope.names.literals
    return (name for name in candidates if reach(scope, name, known=known, environment=environment) is Reach.INSIDE)


def deny_reaches(scope: NamespaceScope, namespace: str, *, known: Mapping[str, Namespace]) -> bool:
    """Whether a deny of this scope holds in a namespace.

    Denies reach protected namespaces too, and a selector matches every namespace that the snapshot does not have.
    """
    if isinstance(scope, NamespaceNames):
        return scope.names.matches(namespace)
    found = known.get(namespace)
    return found is None or scope.matches(found.labels)


def is_everywhere(scope: NamespaceScope) -> bool:
    """Whether the scope takes in every namespace by what it says, whatever the cluster holds."""
    return isinstance(scope, NamespaceNames) and scope.names.everything
