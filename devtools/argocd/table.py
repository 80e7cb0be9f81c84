"""The table in ``docs/argocd.md``: each subcommand, and what its example needed when it was run."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from devtools.argocd.examples import EXAMPLES
from devtools.subcommands import HEAD, refused, works
from k8s_mcp_server.commands.argocd.catalog import GROUPS, MISSING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from k8s_mcp_server.commands.argocd.catalog import Missing

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "argocd.md"
BEGIN: Final = "<!-- written by tests/e2e/argocd/test_table.py from observed calls -->"
END: Final = "<!-- end -->"
UNSEEN: Final = "admin"
"""Words that are not offered whatever follows them, and after which nobody looks: tools for Argo CD's own files."""
_ON_A_RESOURCE: Final = ("update/", "delete/")


def leaves() -> list[str]:
    """Every subcommand that is no group, by its path, sorted; `UNSEEN` stands for all that is below it."""
    found = {f"{group} {word}".strip() for group, words in GROUPS.items() for word in words}
    return sorted(path for path in found - {"help"} if path not in GROUPS)


def missing(path: str) -> Missing | None:
    """Why a subcommand, or all of its group, is not offered."""
    while path and path not in MISSING:
        path = path.rpartition(" ")[0]
    return MISSING.get(path)


def render(needs: Mapping[str, Sequence[str]]) -> str:
    """The table.

    Args:
        needs: for each subcommand with an example, what it needed (`needed`).
    """
    return "\n".join([*HEAD, *(_row(path, needs) for path in leaves())])


def needed(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the calls of one command needed, from their audit lines: resources and verbs."""
    verbs: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        attributes = record["attributes"]
        if "resource" in attributes:
            verbs[attributes["resource"]].add(_shown(attributes["verb"]))
    if verbs.keys() & {"applications", "logs"}:
        verbs["applications"].add("get")  # every call about an application needs it, and a line has one verb
    return [f"`{resource}` {', '.join(sorted(found, key=_order))}" for resource, found in sorted(verbs.items())]


def _row(path: str, needs: Mapping[str, Sequence[str]]) -> str:
    reason = missing(path)
    if reason is not None:
        return refused(path, why=f"it {reason.why}", instead=reason.instead)
    return works(path, example=f"argocd {EXAMPLES[path]}", needs=needs[path])


def _order(verb: str) -> tuple[bool, str]:
    return verb != "get", verb


def _shown(verb: str) -> str:
    """A verb that names one resource, as a policy would write it."""
    if not verb.startswith(_ON_A_RESOURCE):
        return verb
    action, group, kind, *_ = verb.split("/")
    return f"{action}/{group}/{kind}/*"
