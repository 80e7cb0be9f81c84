"""Which requests an operation of helm's makes for each object, so that they can be decided before it begins.

As helm 4.3 was seen to make them against a real API server, and as its source has them: helm.sh/helm/v4
pkg/action/{install,upgrade,rollback,uninstall,hooks}.go and pkg/kube/client.go. Discovery and helm's reads of its own
records are left out: the rehearsal makes them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.serving.helm.manifests import ChartObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CONTENT: Final = "content"
_EVENTS: Final = {"uninstall": "delete"}  # of hooks, where they are not called like the operation
# What helm reads while it waits for an object (sigs.k8s.io/cli-utils pkg/kstatus/polling/statusreaders).
_OBSERVED: Final = {
    ("apps", "Deployment"): (("apps", "ReplicaSet"), ("", "Pod")),
    ("apps", "StatefulSet"): (("", "Pod"),),
    ("apps", "ReplicaSet"): (("", "Pod"),),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One verb on one object of a chart."""

    verb: str
    item: ChartObject


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseStep:
    """One verb on the records of the release."""

    verb: str
    subresource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What helm is to do.

    Args:
        name: ``install``, ``upgrade``, ``rollback`` or ``uninstall``.
        target: the objects and hooks that there are to be.
        current: those that the release has now.
        crds: what the chart's ``crds`` folders hold, where they are installed.
        namespace: an object that is the namespace to be made; None where none is.
        is_applied: whether objects are written by server-side apply.
        is_replaced: whether existing ones are replaced by PUT.
        runs_hooks: whether hooks are run.
        waits: whether it waits for its objects.
        undoes: whether it undoes what it did when it fails.
        keeps_history: whether ``uninstall`` leaves the records.
    """

    name: str
    target: Sequence[ChartObject] = ()
    current: Sequence[ChartObject] = ()
    crds: Sequence[ChartObject] = ()
    namespace: ChartObject | None = None
    is_applied: bool = True
    is_replaced: bool = False
    runs_hooks: bool = True
    waits: bool = False
    undoes: bool = False
    keeps_history: bool = False

    def steps(self) -> tuple[Step | ReleaseStep, ...]:
        """Every request that can be foreseen, each once."""
        return tuple(dict.fromkeys(self._steps()))

    def _steps(self) -> Iterator[Step | ReleaseStep]:
        yield from self._on_records()
        if self.namespace is not None:
            yield from self._creating(self.namespace)
        for item in self.crds:
            yield from self._creating(item)
            yield Step(verb="watch", item=item)
        for item in _plain(self.target):
            yield from self._writing(item)
        yield from self._removals()
        if self.runs_hooks:
            for item in self._hooks():
                yield from self._running(item)

    def _on_records(self) -> Iterator[ReleaseStep]:
        verbs = {"uninstall": ("update",) if self.keeps_history else ("update", "delete")}
        for verb in verbs.get(self.name, ("create", "update")):
            yield ReleaseStep(verb=verb)
        yield ReleaseStep(verb="get", subresource=CONTENT)

    def _creating(self, item: ChartObject) -> Iterator[Step]:
        yield Step(verb="create", item=item)
        if self.is_applied:
            yield Step(verb="patch", item=item)

    def _writing(self, item: ChartObject) -> Iterator[Step]:
        """A PUT and a server-side apply create what is missing, so they need that right, too."""
        yield Step(verb="get", item=item)
        exists = any(_same(item, other) for other in _plain(self.current))
        if exists and self.is_replaced:
            yield from (Step(verb=verb, item=item) for verb in ("update", "create"))
        elif exists and not self.is_applied:
            yield Step(verb="patch", item=item)
        else:
            yield from self._creating(item)
        if self.undoes and not exists:
            yield Step(verb="delete", item=item)
        if self.waits:
            yield Step(verb="watch", item=item)
            for group, kind in _OBSERVED.get((item.group, item.kind), ()):
                yield Step(verb="list", item=ChartObject(group=group, kind=kind, namespace=item.namespace))

    def _removals(self) -> Iterator[Step]:
        for item in _plain(self.current):
            if not item.is_kept and not any(_same(item, other) for other in _plain(self.target)):
                yield from (Step(verb=verb, item=item) for verb in ("get", "delete"))

    def _hooks(self) -> Iterator[ChartObject]:
        events = {f"{when}-{_EVENTS.get(self.name, self.name)}" for when in ("pre", "post")}
        source = self.current if self.name == "uninstall" else self.target
        return (item for item in source if item.hooks & events)

    def _running(self, item: ChartObject) -> Iterator[Step]:
        yield from self._creating(item)
        yield Step(verb="watch", item=item)
        if not item.is_crd:
            yield Step(verb="delete", item=item)


def _plain(items: Iterable[ChartObject]) -> Iterator[ChartObject]:
    return (item for item in items if not item.hooks)


def _same(one: ChartObject, other: ChartObject) -> bool:
    """As helm's ``objectKey`` has it, beside the version (pkg/action/upgrade.go)."""
    return (one.group, one.kind, one.namespace, one.name) == (other.group, other.kind, other.namespace, other.name)
