"""Rights that a subject gains or loses, joined into as few sentences as say the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.authoring.clients import subject_fields, subject_text
from k8s_mcp_server.authoring.grants import CLUSTER, EVERY_NAME, Grant
from k8s_mcp_server.authoring.output import counted
from k8s_mcp_server.authoring.places import OTHERS, Where
from k8s_mcp_server.authoring.rules import ordered_verbs
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from k8s_mcp_server.policy.subjects import Subject

_MOST_NAMED: Final = 5
_STAND_IN: Final = ("any ", "(")


class Condition(StrEnum):
    """What a right depends on beside the policies, in the order in which they are told."""

    NONE = ""
    UNENFORCED = "PodSecurityUnenforced"
    OWN_RBAC = "OwnRBAC"
    OWN_RBAC_UNENFORCED = "OwnRBAC,PodSecurityUnenforced"


_CONDITIONS: Final = {
    Condition.NONE: "",
    Condition.UNENFORCED: ", where Pod Security does not enforce",
    Condition.OWN_RBAC: ", as far as the client's own RBAC gives it",
    Condition.OWN_RBAC_UNENFORCED: ", as far as the client's own RBAC gives it and where Pod Security does not enforce",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Rights that somebody gains or loses, told together.

    Args:
        whats: resources or paths.
        places: namespaces, and in words what stands for some; none for the cluster's own scope.
        names: of the objects; none for all.
        sensitive: those of the rights that wildcards never give.
        condition: under which they have it.
    """

    gained: bool
    subject: Subject
    tool: Tool
    verbs: tuple[str, ...]
    whats: tuple[str, ...]
    places: tuple[str, ...]
    names: tuple[str, ...]
    sensitive: tuple[str, ...]
    condition: Condition = Condition.NONE

    def __str__(self) -> str:
        sign, may = ("+", "may now") if self.gained else ("-", "may no longer")
        tool = "" if self.tool is Tool.KUBECTL else f" with {self.tool}"
        named = f" named {_shortened(self.names)}" if self.names else ""
        where = f"{_in(self.places)}{_CONDITIONS[self.condition]}"
        done = f"{_listed(self.verbs)} {_shortened(self.whats)}{named}{where}{tool}"
        return f"{sign} {subject_text(self.subject)} {may} {done}; sensitive: {_shortened(self.sensitive) or 'none'}"

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "change": "gained" if self.gained else "lost",
            "subject": subject_fields(self.subject),
            "tool": self.tool.value,
            "verbs": list(self.verbs),
            "resources": list(self.whats),
            "namespaces": list(self.places),
            "names": list(self.names),
            "sensitive": list(self.sensitive),
            "condition": self.condition.value,
        }


def told(
    grants: Iterable[Grant], *, subject: Subject, gained: bool, condition: Condition, label_sets: int
) -> Iterator[Change]:
    """Sentences about single rights.

    Args:
        label_sets: with how many different labels each stand-in was decided.
    """
    grants = frozenset(grants)
    whole = {(item.tool, item.verb, item.what, item.where) for item in grants if item.name == EVERY_NAME}
    where: dict[tuple[Tool, str, str, str], set[Where]] = {}
    for item in grants:
        if item.name == EVERY_NAME or (item.tool, item.verb, item.what, item.where) not in whole:
            where.setdefault((item.tool, item.what, item.name, item.verb), set()).add(item.where)
    # What has the same places, then the same verbs, then the same names, is one sentence.
    verbs: dict[tuple[Tool, str, str, tuple[str, ...]], list[str]] = {}
    for (tool, what, name, verb), found in where.items():
        verbs.setdefault((tool, what, name, _joined(found, label_sets=label_sets)), []).append(verb)
    whats: dict[tuple[Tool, str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (tool, what, name, places), of_verbs in verbs.items():
        whats.setdefault((tool, name, places, ordered_verbs(of_verbs)), []).append(what)
    names: dict[tuple[Tool, tuple[str, ...], tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (tool, name, places, ordered), of_whats in whats.items():
        names.setdefault((tool, tuple(sorted(of_whats)), places, ordered), []).append(name)
    sensitive = {(item.tool, item.verb, item.what) for item in grants if item.is_sensitive}
    for (tool, all_whats, places, ordered), of_names in sorted(names.items(), key=str):
        yield Change(
            gained=gained,
            subject=subject,
            tool=tool,
            verbs=ordered,
            whats=all_whats,
            places=places,
            names=tuple(sorted(name for name in of_names if name != EVERY_NAME)),
            sensitive=tuple(
                f"{verb} {what}" for what in all_whats for verb in ordered if (tool, verb, what) in sensitive
            ),
            condition=condition,
        )


def _joined(found: set[Where], *, label_sets: int) -> tuple[str, ...]:
    """Places as text: with which labels is said only where not all will do."""
    by_name: dict[str, set[Where]] = {}
    for where in found - {CLUSTER}:
        by_name.setdefault(where.name, set()).add(where)
    texts = {
        str(where) if len(same) < label_sets and where.labels else name
        for name, same in by_name.items()
        for where in same
    }
    return tuple(sorted(texts))


def _in(places: tuple[str, ...]) -> str:
    """Places in a sentence; none is the cluster's own scope."""
    if not places:
        return ""
    real = tuple(place for place in places if not place.startswith(_STAND_IN) and " " not in place)
    others = tuple(place for place in places if place not in real)
    if OTHERS in others:
        others = ("any other",) if real else (OTHERS,)
    listed = f" ({', '.join(real)})" if len(real) <= _MOST_NAMED else ""
    parts = [f"{counted(len(real), 'namespace')}{listed}"] if real else []
    return f" in {_listed((*parts, *others))}"


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def _shortened(words: tuple[str, ...]) -> str:
    more = len(words) - _MOST_NAMED
    return f"{', '.join(words[:_MOST_NAMED])} and {more} more" if more > 0 else _listed(words)
