"""The rights that each of helm's subcommands stands or falls with, beside those to the objects of a chart.

docs/helm.md has what helm was seen to ask for; a test compares.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.abilities import Right
from k8s_mcp_server.policy.virtual import HELM_GROUP

if TYPE_CHECKING:
    from k8s_mcp_server.commands.helm.words import HelmCommand

_RELEASES: Final = f"releases.{HELM_GROUP}"
_CONTENT: Final = f"{_RELEASES}/content"


def _rights(verbs: str, *, content: str = "") -> tuple[Right, ...]:
    releases = tuple(Right(verb=verb, resource=_RELEASES) for verb in verbs.split())
    return (*releases, Right(verb=content, resource=_CONTENT)) if content else releases


HELM_RIGHTS: Final[dict[str, tuple[Right, ...]]] = {
    **dict.fromkeys(("get metadata", "history", "list", "status"), _rights("list")),
    **{f"get {part}": _rights("", content="list") for part in ("all", "hooks", "manifest", "notes", "values")},
    **dict.fromkeys(("install", "upgrade", "rollback"), _rights("create update", content="get")),
    "uninstall": _rights("update delete", content="get"),
    "test": _rights("update", content="get"),
}
"""By subcommand, as it is without `--revision`; one that is not here needs none."""


def helm_rights(command: HelmCommand) -> tuple[Right, ...]:
    """The rights of one command: of a revision that is named helm gets the record, without one it lists them all."""
    rights = HELM_RIGHTS.get(command.name, ())
    return tuple(replace(right, verb="get") for right in rights) if command.has("revision") else rights


OBJECT_VERBS: Final[dict[str, str]] = {
    "install": "get, create and patch",
    "upgrade": "get, create, patch and delete",
    "rollback": "get, create, patch and delete",
    "uninstall": "get and delete",
    "test": "get, create, patch, delete and watch",
}
"""What a subcommand does with each object of its chart."""
