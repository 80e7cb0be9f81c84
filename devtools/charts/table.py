"""The tables in ``docs/helm.md``: each subcommand, and what its examples needed when they were run."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from devtools.charts.examples import EXAMPLES, HOOKS, OBJECTS
from devtools.subcommands import HEAD, refused, works
from k8s_mcp_server.commands.helm.catalog import ALIASES, FLAGS, REFUSED, REFUSED_FLAGS
from k8s_mcp_server.policy.virtual import HELM_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "helm.md"
BEGIN: Final = "<!-- written by tests/e2e/helm/test_table.py from observed requests -->"
END: Final = "<!-- end -->"
REPOSITORY: Final = "the repository in `charts`"

Needs: TypeAlias = "Mapping[tuple[str, str], frozenset[str]]"
"""Verbs, by API group and resource, such as ``("helm.sh", "releases/content")``; ``("", REPOSITORY)`` has none."""

_SHOWN: Final = {OBJECTS: "the chart's objects", HOOKS: "its hooks"}
_ORDER: Final = ("get", "list", "watch", "create", "update", "patch", "delete")
_MAY_CREATE: Final = frozenset({"PATCH", "PUT"})  # helm's patches are server-side applies


def needed(records: Iterable[Mapping[str, Any]]) -> Needs:
    """What the requests of one command needed, from their audit lines.

    A line has one verb, so two rights that docs/policy.md joins to others are added: a write that may create needs
    ``create``, and a change of a release needs ``get`` on its content.
    """
    verbs: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for record in records:
        if record["method"] == "CONNECT":
            verbs["", REPOSITORY] |= set()
            continue
        attributes = record["attributes"]
        if "resource" not in attributes:
            continue
        group, name = (
            attributes["apiGroup"],
            "/".join(filter(None, (attributes["resource"], attributes["subresource"]))),
        )
        verbs[group, name].add(attributes["verb"])
        if group != HELM_GROUP and record["method"] in _MAY_CREATE:
            verbs[group, name].add("create")
        if group == HELM_GROUP and attributes["verb"] in {"update", "delete"}:
            verbs[group, "releases/content"].add("get")
    return {what: frozenset(found) for what, found in verbs.items()}


def rules(needs: Needs, namespace: str) -> list[dict[str, Any]]:
    """The rules of a policy that gives this in a namespace, and nothing else."""
    return [
        {"namespaces": [namespace], "apiGroups": [group], "resources": [name], "verbs": sorted(verbs)}
        for (group, name), verbs in needs.items()
        if verbs
    ]


def render(needs: Mapping[str, Needs]) -> str:
    """The tables.

    Args:
        needs: what each example needed, by its line.
    """
    rows = {name: refused(name, why=f"it {why}", instead=f"{what}.") for name, (why, what) in REFUSED.items()}
    for name in FLAGS:
        lines = [line for path, line in EXAMPLES if path == name]
        rows[name] = "\n".join(_row(name, line, needs[line]) for line in lines)
    return "\n".join([*HEAD, *(rows[name] for name in sorted(rows)), "", *_flags()])


def _row(name: str, line: str, needs: Needs) -> str:
    aliases = sorted(alias for alias, target in ALIASES.items() if target == name)
    return works(name, example=f"helm {line}", needs=_cells(needs), aliases=aliases)


def _cells(needs: Needs) -> Iterator[str]:
    for (_, name), verbs in sorted(needs.items(), key=lambda item: (item[0][0] != HELM_GROUP, item[0])):
        listed = ", ".join(sorted(verbs, key=_ORDER.index))
        yield f"{_SHOWN.get(name, name if name == REPOSITORY else f'`{name}`')} {listed}".rstrip()


def _flags() -> Iterator[str]:
    yield from ("| flag that is refused | why |", "|---|---|")
    by_reason: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for flag, reason in REFUSED_FLAGS.items():
        by_reason[reason].append(f"`--{flag}`")
    for (why, instead), flags in by_reason.items():
        yield f"| {', '.join(flags)} | {'. '.join(filter(None, (why, instead)))}. |"
