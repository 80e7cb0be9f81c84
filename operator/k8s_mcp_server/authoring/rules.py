"""Single rights, joined into the fewest rules that give exactly them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8s_mcp_server.authoring.rights import STANDARD_VERBS

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.resources import ResourceName

_Place = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One right in one place.

    Args:
        resource: None for a path.
        namespace: empty for what is cluster-scoped.
        names: of objects; empty for all.
    """

    verb: str
    resource: ResourceName | None = None
    namespace: str = ""
    names: tuple[str, ...] = ()
    path: str = ""


def rules_for(needs: Iterable[Need]) -> Iterator[dict[str, Any]]:
    """Rules of a policy that give the needs and nothing else."""
    needs = tuple(needs)
    merged = _joined(item for item in needs if item.resource is not None)
    by_rule: dict[tuple[Any, ...], list[str]] = {}
    for namespace, rules in merged.items():
        for rule in rules:
            by_rule.setdefault(rule, []).append(namespace)
    for (group, resources, names, verbs), namespaces in by_rule.items():
        named = {"resourceNames": list(names)} if names else {}
        about = {"apiGroups": [group], "resources": list(resources), **named, "verbs": list(verbs)}
        if "" in namespaces:
            yield {"clusterScoped": True, **about}
        if inside := sorted(set(namespaces) - {""}):
            yield {"namespaces": inside, **about}
    paths: dict[str, set[str]] = {}
    for item in needs:
        if item.resource is None:
            paths.setdefault(item.path, set()).add(item.verb)
    for path, found in sorted(paths.items()):
        yield {"nonResourceURLs": [path], "verbs": sorted(found)}


def rbac_rules_for(needs: Iterable[Need]) -> Iterator[dict[str, Any]]:
    """As `rules_for`, as RBAC's PolicyRules of one place."""
    for rule in rules_for(needs):
        scope = ("namespaces", "clusterScoped")
        yield {key: value for key, value in rule.items() if key not in scope}


def ordered_verbs(verbs: Iterable[str]) -> tuple[str, ...]:
    """Verbs as people list them: reading first."""
    order: Mapping[str, int] = {verb: index for index, verb in enumerate(STANDARD_VERBS)}
    return tuple(sorted(verbs, key=lambda verb: (order.get(verb, len(order)), verb)))


def _joined(needs: Iterable[Need]) -> dict[str, list[tuple[Any, ...]]]:
    """Per namespace: ``(group, resources, names, verbs)``, no two of which could be one."""
    held: dict[str, dict[tuple[str, str, str], set[str]]] = {}  # namespace: (group, resource, verb): names
    for need in needs:
        if need.resource is not None:
            key = (need.resource.group, need.resource.in_rule, need.verb)
            held.setdefault(need.namespace, {}).setdefault(key, set()).update(need.names or ("",))
    joined: dict[str, list[tuple[Any, ...]]] = {}
    for namespace, rights in sorted(held.items()):
        verbs: dict[tuple[str, str, _Place], list[str]] = {}
        for (group, resource, verb), names in rights.items():
            whole: _Place = () if "" in names else tuple(sorted(names))
            verbs.setdefault((group, resource, whole), []).append(verb)
        resources: dict[tuple[str, _Place, tuple[str, ...]], list[str]] = {}
        for (group, resource, names_held), found in sorted(verbs.items()):
            resources.setdefault((group, names_held, ordered_verbs(found)), []).append(resource)
        joined[namespace] = [
            (group, tuple(found), names, held_for) for (group, names, held_for), found in resources.items()
        ]
    return joined
