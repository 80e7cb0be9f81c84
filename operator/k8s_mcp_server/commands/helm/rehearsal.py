"""The helm commands that show what another would do, and do nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.helm.words import HelmCommand, HelmFlag

if TYPE_CHECKING:
    from collections.abc import Sequence

CHANGING: Final = frozenset({"install", "upgrade", "rollback", "uninstall"})
_RENDERING: Final = frozenset(
    {
        "namespace", "set", "set-file", "set-json", "set-literal", "set-string", "values", "version", "devel",
        "no-hooks", "generate-name", "name-template", "skip-schema-validation",
    }
)  # fmt: skip
_RECORD: Final = (
    "{{.Release.Version}} {{.Release.ApplyMethod}}\n{{.Release.Manifest}}"
    "{{range .Release.Hooks}}\n---\n{{.Manifest}}{{end}}"
)


def changes(command: HelmCommand) -> bool:
    """Whether the command is one that writes objects of a chart, and is to write them."""
    return command.name in CHANGING and not command.asks_for_help and not is_dry_run(command)


def is_dry_run(command: HelmCommand) -> bool:
    """Whether it says itself that it only shows what it would do (``--dry-run=none`` and ``=false`` do not)."""
    given = command.values("dry-run")
    return bool(given) and given[-1] not in {"none", "false", "0", "f", "F", "FALSE", "False"}


def reads_stdin(command: HelmCommand) -> bool:
    """Whether values come from standard input."""
    values = [part.strip() for value in command.values("values") if value for part in value.split(",")]
    texts = [(value or "").partition("=")[2].strip() for value in command.values("set-file")]
    return "-" in (*values, *texts)


def rehearsal(command: HelmCommand) -> HelmCommand:
    """The install or upgrade itself, up to its first write; prints the release that it would store, as JSON."""
    bare = command.without("output", "hide-secret", "debug")
    return bare.with_flag("dry-run", "server").with_flag("output", "json")


def rendering(command: HelmCommand, *, kube_version: str = "", api_versions: Sequence[str] = ()) -> HelmCommand:
    """The chart's text alone, with the CRDs that helm would install, and without a look at the cluster.

    Args:
        kube_version: of the API server; empty leaves helm its own.
        api_versions: what it serves, as ``apps/v1`` or ``apps/v1/Deployment``.
    """
    flags = [flag for flag in command.flags if flag.name in _RENDERING]
    if not command.has("skip-crds"):
        flags.append(HelmFlag(name="include-crds"))
    if command.name == "upgrade":
        flags.append(HelmFlag(name="is-upgrade"))
    if kube_version:
        flags.append(HelmFlag(name="kube-version", value=kube_version))
    if api_versions:
        flags.append(HelmFlag(name="api-versions", value=",".join(api_versions)))
    return HelmCommand(name="template", flags=tuple(flags), operands=command.operands)


def record_of(command: HelmCommand, release: str, *, revision: str = "") -> HelmCommand:
    """A stored revision: a line with its number and how it was written, then its manifest and hooks."""
    flags = [flag for flag in command.flags if flag.name == "namespace"]
    flags.append(HelmFlag(name="template", value=_RECORD))
    if revision:
        flags.append(HelmFlag(name="revision", value=revision))
    return HelmCommand(name="get all", flags=tuple(flags), operands=(release,))


def with_release(command: HelmCommand, release: str) -> HelmCommand:
    """The install with the name that its rehearsal had, where helm would make up another one."""
    if not (command.has("generate-name") or command.has("name-template")):
        return command
    named = command.without("generate-name", "name-template")
    return replace(named, operands=(release, *command.operands[-1:]))
