"""What each subcommand of the CLIs is here: refused, or with which rights it works. For help texts and questions.

One place for all of them; what a policy makes of the rights is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.argocd.catalog import ALIASES as ARGOCD_ALIASES
from k8s_mcp_server.commands.argocd.catalog import MISSING
from k8s_mcp_server.commands.argocd.check import FIXED as ARGOCD_FIXED
from k8s_mcp_server.commands.argocd.rights import argocd_rights
from k8s_mcp_server.commands.helm.catalog import ALIASES as HELM_ALIASES
from k8s_mcp_server.commands.helm.catalog import REFUSED, REFUSED_FLAGS
from k8s_mcp_server.commands.helm.rights import HELM_RIGHTS, OBJECT_VERBS
from k8s_mcp_server.commands.istioctl.catalog import ALIASES as ISTIOCTL_ALIASES
from k8s_mcp_server.commands.istioctl.catalog import SUBCOMMANDS, Offered, Operand, Refused
from k8s_mcp_server.commands.istioctl.check import planned
from k8s_mcp_server.commands.istioctl.parts import Surroundings
from k8s_mcp_server.commands.kubectl import FIXED_FLAGS, why_unavailable
from k8s_mcp_server.commands.rights import KUBECTL_RIGHTS
from k8s_mcp_server.policy.abilities import Right
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_EXAMPLE: Final = "example"
_ISTIOCTL_FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "analyze": ("-n example",),
    "kube-inject": ("-f -",),
    "proxy-status": ("-n example", ""),
}
"""What follows a subcommand whose rights depend on it, the form that needs least first."""
_ORDINARY: Final = "leaves out what your other rules do not give"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a subcommand is here.

    Args:
        unavailable: what it would do that cannot be done here, such as ``opens an editor``; empty for one that runs.
        forms: the rights that it stands or falls with, one set for each way to write it; no form for one that needs
            none, or whose words are only a group's.
        also: what else it needs or leaves out; empty for nothing.
    """

    unavailable: str = ""
    forms: tuple[tuple[Right, ...], ...] = ()
    also: str = ""


def offer_of(tool: Tool, path: str, *, istio_namespace: str) -> Offer:
    """The offer of a subcommand by its words, such as ``rollout restart``; aliases are resolved already."""
    if tool is Tool.ISTIOCTL:
        return _istioctl(path, istio_namespace=istio_namespace)
    return _OFFERS[tool](path)


def _kubectl(path: str) -> Offer:
    if unavailable := why_unavailable(path):
        return Offer(unavailable=unavailable)
    right = KUBECTL_RIGHTS.get(path) or KUBECTL_RIGHTS.get(path.partition(" ")[0])
    return Offer(forms=((right,),)) if right else Offer()


def _helm(path: str) -> Offer:
    if path in REFUSED:
        return Offer(unavailable=REFUSED[path][0])
    rights = HELM_RIGHTS.get(path, ())
    verbs = OBJECT_VERBS.get(path, "")
    also = f"also needs {verbs} on each object of the chart, in its namespace" if verbs else ""
    return Offer(forms=(rights,) if rights else (), also=also)


def _argocd(path: str) -> Offer:
    at = path
    while at and at not in MISSING:
        at = at.rpartition(" ")[0]
    if at:
        return Offer(unavailable=MISSING[at].why)
    rights = argocd_rights(path)
    return Offer(forms=(rights,) if rights else ())


def _istioctl(path: str, *, istio_namespace: str) -> Offer:
    words = tuple(path.split())
    entry = SUBCOMMANDS.get(words)
    if isinstance(entry, Refused):
        return Offer(unavailable=entry.effect)
    if not isinstance(entry, Offered):
        return Offer()
    around = Surroundings(namespace=_EXAMPLE, istio_namespace=istio_namespace)
    operands = [_EXAMPLE] * entry.operands[0] if entry.operand in {Operand.TARGET, Operand.OBJECT} else []
    forms, sees_less = [], False
    for form in _ISTIOCTL_FORMS.get(path, ("",)):
        _, plan = planned((*words, *operands, *form.split()), around)
        forms.append(
            tuple(
                Right(
                    verb=each.verb,
                    resource=f"{each.resource}.{each.api_group}",
                    namespace=istio_namespace if each.namespace == istio_namespace else "",
                )
                for each in plan.rights
            )
        )
        sees_less = sees_less or plan.may_see_less
    return Offer(forms=tuple(filter(None, forms)), also=_ORDINARY if sees_less else "")


_OFFERS: Final[Mapping[Tool, Callable[[str], Offer]]] = {
    Tool.KUBECTL: _kubectl,
    Tool.HELM: _helm,
    Tool.ARGOCD: _argocd,
}

ALIASES: Final[Mapping[Tool, Mapping[str, str]]] = {
    Tool.KUBECTL: {},
    Tool.HELM: HELM_ALIASES,
    Tool.ARGOCD: ARGOCD_ALIASES,
    Tool.ISTIOCTL: {
        " ".join((*path[:-1], alias)): " ".join(path) for path, aliases in ISTIOCTL_ALIASES.items() for alias in aliases
    },
}
"""Of each CLI, other words for a subcommand, such as ``pc s``, by the words before them in full."""

FLAGS_REFUSED: Final[Mapping[Tool, frozenset[str]]] = {
    Tool.KUBECTL: frozenset(FIXED_FLAGS),
    Tool.HELM: frozenset(REFUSED_FLAGS),
    Tool.ARGOCD: frozenset(ARGOCD_FIXED),
    Tool.ISTIOCTL: frozenset(),
}
"""Flags that no subcommand takes here, without dashes; istioctl's own are all global, and left out of its help."""
