"""istioctl's command lines, checked before anything of them runs, and as they are run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.istioctl.catalog import SUBCOMMANDS, Offered, Operand
from k8s_mcp_server.commands.istioctl.parts import Surroundings, targets_of
from k8s_mcp_server.commands.istioctl.plans import plan_of
from k8s_mcp_server.commands.istioctl.reading import read_words
from k8s_mcp_server.errors import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from k8s_mcp_server.commands.istioctl.invocation import Invocation
    from k8s_mcp_server.gateway.plan import CommandPlan

_ANYWHERE: Final = Surroundings(namespace="default", istio_namespace="istio-system")


def check_istioctl(words: Sequence[str], files: Collection[str] = ()) -> None:
    """Refuse what is not offered.

    Args:
        words: the words after ``istioctl``.
        files: names of the files that the command is given.

    Raises:
        CommandRefused: with the word for the cause and what to write instead.
    """
    written(read_words(words, files), _ANYWHERE)


def planned(
    words: Sequence[str], around: Surroundings, *, files: Collection[str] = ()
) -> tuple[tuple[str, ...], CommandPlan]:
    """The words that istioctl is to get, and what the command may ask for.

    Raises:
        CommandRefused: it is not offered.
    """
    invocation = read_words(words, files)
    stated = invocation.value("istioNamespace", around.istio_namespace)
    if stated != around.istio_namespace:
        raise CommandRefused(
            "FixedTarget",
            f"The control plane of this mesh is in {around.istio_namespace}.",
            instead=f"Leave --istioNamespace={stated} out; -n names the namespace that you ask about.",
        )
    return written(invocation, around), plan_of(invocation, around)


def written(invocation: Invocation, around: Surroundings) -> tuple[str, ...]:
    """The command, written anew: each operand with its namespace, and the control plane's namespace stated.

    Raises:
        CommandRefused: an operand names nothing that it could be about.
    """
    entry = SUBCOMMANDS.get(invocation.path)
    if invocation.wants_help or not isinstance(entry, Offered):
        return invocation.words()
    if entry.operand in {Operand.TARGET, Operand.OBJECT}:
        invocation = replace(invocation, operands=tuple(map(str, targets_of(invocation, around))))
    flags = {**invocation.flags, "istioNamespace": (around.istio_namespace,)}
    if invocation.is_on("all-namespaces"):
        flags.pop("namespace", None)  # istioctl would look whether it is there
    return replace(invocation, flags=flags).words()
