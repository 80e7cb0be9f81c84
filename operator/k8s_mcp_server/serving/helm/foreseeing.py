"""What an operation would do, from its rehearsals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.commands.files import find_file
from k8s_mcp_server.commands.helm.catalog import CHART_OPERAND
from k8s_mcp_server.serving.helm.manifests import ChartObject
from k8s_mcp_server.serving.helm.plan import Operation

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from k8s_mcp_server.commands.helm.words import HelmCommand
    from k8s_mcp_server.execution.pipeline import Stage
    from k8s_mcp_server.serving.helm.rehearsals import Rehearsals, Revision

_CRDS: Final = "/crds/"
_NO: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What helm would do; no operation where it would fail before it began.

    Args:
        release: its name.
        is_certain: whether helm came to the end of its own look.
    """

    operation: Operation | None
    release: str
    is_certain: bool


async def foresee(command: HelmCommand, rehearsals: Rehearsals, *, source: Sequence[Stage]) -> Foreseen:
    """Find out.

    Args:
        source: stages that make its input.

    Raises:
        CommandDenied: what it would do cannot be read.
    """
    match command.name:
        case "uninstall":
            operation = await _uninstall(command, rehearsals)
        case "rollback":
            operation = await _rollback(command, rehearsals)
        case _:
            return await _deployment(command, rehearsals, source=source)
    name = next(iter(command.operands), "")
    return Foreseen(operation=operation, release=name, is_certain=operation is not None)


async def _uninstall(command: HelmCommand, rehearsals: Rehearsals) -> Operation | None:
    found = [found for name in command.operands if (found := await rehearsals.stored(command, name)) is not None]
    if not found:
        return None
    return Operation(
        name="uninstall",
        current=[item for revision in found for item in revision.objects],
        runs_hooks=not command.has("no-hooks"),
        keeps_history=command.has("keep-history"),
        is_applied=any(revision.is_applied for revision in found),
    )


async def _rollback(command: HelmCommand, rehearsals: Rehearsals) -> Operation | None:
    """To the revision before the last, where none is named (prepareRollback in helm's pkg/action/rollback.go)."""
    name, revision = (*command.operands, "0", "0")[:2]
    current = await rehearsals.stored(command, name)
    if current is None:
        return None
    number = str(current.number - 1) if revision == "0" else revision
    target = await rehearsals.stored(command, name, revision=number)
    if target is None:
        return None
    return Operation(
        name="rollback",
        target=target.objects,
        current=current.objects,
        is_applied=_is_applied(command, before=target),
        **_common(command),
    )


async def _deployment(command: HelmCommand, rehearsals: Rehearsals, *, source: Sequence[Stage]) -> Foreseen:
    """An install or upgrade: by helm's own dry run, else by the chart's text."""
    named = command.operands[0] if len(command.operands) > 1 else ""
    current = await rehearsals.stored(command, named) if command.name == "upgrade" and named else None
    next_one = await rehearsals.foreseen(command, source=source)
    is_install = current is None and (command.name == "install" or command.has("install"))
    rendered = None
    if next_one is None or (is_install and _may_hold_crds(command, rehearsals.files)):
        rendered = await rehearsals.rendered(command, source=source)
    if next_one is None and rendered is None:
        return Foreseen(operation=None, release=named, is_certain=False)
    target = next_one.objects if next_one else rendered or ()
    operation = Operation(
        name="install" if is_install else "upgrade",
        target=target,
        current=current.objects if current else (),
        crds=[item for item in rendered or () if item.is_crd and item not in target] if is_install else (),
        namespace=_new_namespace(command, rehearsals.namespace(command)) if is_install else None,
        is_applied=next_one.is_applied if next_one else _is_applied(command, before=current),
        **_common(command),
    )
    release = next_one.release if next_one else named
    return Foreseen(operation=operation, release=release, is_certain=next_one is not None)


def _may_hold_crds(command: HelmCommand, files: Collection[str]) -> bool:
    """Whether the chart may have a folder of CRDs: what the client passed can be seen, any other chart may."""
    if command.has("skip-crds"):
        return False
    chart = command.operands[CHART_OPERAND[command.name]]
    return not find_file(chart, files) or any(_CRDS in name for name in files)


def _new_namespace(command: HelmCommand, namespace: str) -> ChartObject | None:
    if not command.has("create-namespace"):
        return None
    return ChartObject(group="", kind="Namespace", name=namespace)


def _common(command: HelmCommand) -> dict[str, Any]:
    undoes = command.has("rollback-on-failure") or command.has("atomic")
    return {
        "is_replaced": command.has("force-replace") or command.has("force"),
        "runs_hooks": not command.has("no-hooks"),
        "waits": (command.has("wait") and command.value("wait") != "hookOnly") or undoes,
        "undoes": undoes or command.has("cleanup-on-fail"),
    }


def _is_applied(command: HelmCommand, *, before: Revision | None) -> bool:
    """Whether helm writes by server-side apply; by default it goes on as the revision before was written."""
    given = command.values("server-side")
    if not given or given[-1] == "auto":
        return before is None or before.is_applied
    return given[-1] not in _NO
