"""The rights that each of argocd's subcommands stands or falls with; docs/argocd.md was observed, and a test compares.

Names are those that a rule's ``resourceNames`` match: ``project/name`` for applications, and for their logs.
"""

from __future__ import annotations

from typing import Final

from k8s_mcp_server.commands.argocd.catalog import GROUPS, MISSING
from k8s_mcp_server.policy.abilities import Right
from k8s_mcp_server.policy.virtual import ARGOCD_GROUP

_APP_VERBS: Final = {
    "app actions run": "action/*",
    "app create": "create",
    "app delete": "delete",
    "app delete-resource": "delete/*",
    "app patch-resource": "update/*",
    **dict.fromkeys(("app rollback", "app sync", "app terminate-op"), "sync"),
    **dict.fromkeys(
        ("app add-source", "app confirm-deletion", "app patch", "app remove-source", "app set", "app unset"), "update"
    ),
}
"""Of what does more than read; all of these need ``get`` as well."""
_PROJECT_READS: Final = frozenset(
    {"proj get", "proj list", "proj role get", "proj role list", "proj role list-tokens", "proj windows list"}
)
_PROJECT_WHOLE: Final = {"proj create": "create", "proj delete": "delete"}


def argocd_rights(path: str) -> tuple[Right, ...]:
    """The rights of a subcommand; none of one that is a group, or that needs none."""
    group = path.partition(" ")[0]
    if path in GROUPS or path in MISSING:
        return ()
    if group == "app":
        logs = (_right("get", "logs"),) if path == "app logs" else ()
        more = (_right(_APP_VERBS[path], "applications"),) if path in _APP_VERBS else ()
        return (_right("get", "applications"), *more, *logs)
    if group == "proj":
        if path in _PROJECT_WHOLE:
            return (_right(_PROJECT_WHOLE[path], "projects"),)
        more = () if path in _PROJECT_READS else (_right("update", "projects"),)
        return (_right("get", "projects"), *more)
    if group in ("repo", "cluster"):
        return (_right("get", {"repo": "repositories"}.get(group, "clusters")),)
    return ()


def _right(verb: str, resource: str) -> Right:
    return Right(verb=verb, resource=f"{resource}.{ARGOCD_GROUP}")
