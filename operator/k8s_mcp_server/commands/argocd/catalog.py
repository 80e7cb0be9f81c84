"""Every subcommand of argocd 3.6, and what is not offered of it: why, and what to do instead.

From ``argocd --help`` and the help of each subcommand; a test compares the tree, its aliases and the global flags with
the real binary, so a version that adds one does not pass unnoticed. What works needs the rights in docs/argocd.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A subcommand that is not offered.

    Args:
        why: what it would do, as a clause after its name.
        instead: what to do.
        look: the subcommand that shows what this one would change; empty where there is none.
    """

    why: str
    instead: str
    look: str = ""


_IDENTITY: Final = Missing(
    why="would change who you are for Argo CD, and this service is that for you",
    instead="Leave it out; `argocd account get-user-info` says who you are.",
)
_TOKENS: Final = Missing(
    why="issues or withdraws tokens of Argo CD, which is never done through this service",
    instead="Ask an administrator of Argo CD.",
)
_CREDENTIALS: Final = Missing(
    why="handles credentials that Argo CD keeps, which are no business of agents",
    instead="Ask an administrator of Argo CD; `argocd repo list` and `argocd cluster list` show what there is.",
)
_TRUST: Final = Missing(
    why="is about what Argo CD trusts, which is no business of agents",
    instead="Ask an administrator of Argo CD.",
)
_SETS: Final = Missing(
    why="is about ApplicationSets, which make applications in any project",
    instead="Read them with kubectl: `kubectl get applicationsets.argoproj.io -A`.",
)
_LOCAL: Final = Missing(why="is about files of argocd's own, of which there are none here", instead="Leave it out.")
_EDITOR: Final = Missing(why="opens an editor", instead="")
_ADMIN: Final = Missing(
    why="reads and writes Argo CD's own objects in Kubernetes",
    instead="Use `argocd app`, `argocd proj`, `argocd repo list` and `argocd cluster list`, or kubectl.",
)

# Groups and their subcommands; a subcommand that is itself a group has an entry of its own.
_TREE: Final = {
    "": "account admin app appset cert cluster completion configure context gpg help login logout proj relogin repo "
    "repocreds version",
    "account": "bcrypt can-i delete-token generate-token get get-user-info list session-token update-password",
    "app": "actions add-source confirm-deletion create delete delete-resource diff edit get get-resource history list "
    "logs manifests patch patch-resource remove-source resources rollback set sync terminate-op unset wait",
    "app actions": "list run",
    "appset": "create delete generate get list",
    "cert": "add-ssh add-tls list rm",
    "cluster": "add get list rm rotate-auth set",
    "gpg": "add get list rm",
    "proj": "add-destination add-destination-service-account add-orphaned-ignore add-source add-source-namespace "
    "allow-cluster-resource allow-namespace-resource create delete deny-cluster-resource deny-namespace-resource edit "
    "get list remove-destination remove-destination-service-account remove-orphaned-ignore remove-source "
    "remove-source-namespace role set source-integrity windows",
    "proj role": "add-group add-policy create create-token delete delete-token get list list-tokens remove-group "
    "remove-policy",
    "proj source-integrity": "git",
    "proj source-integrity git": "policies",
    "proj source-integrity git policies": "add delete list update",
    "proj windows": "add delete disable-manual-sync disable-sync-overrun enable-manual-sync enable-sync-overrun list "
    "update",
    "repo": "add get list rm",
    "repocreds": "add list rm",
}
GROUPS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {group: frozenset(words.split()) for group, words in _TREE.items()}
)
"""The subcommands of each group by its path; ``""`` is argocd itself."""

ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "account whoami": "account get-user-info",
        "ctx": "context",
        "project": "proj",
        "proj role token-create": "proj role create-token",
        "proj role token-delete": "proj role delete-token",
        "proj role remove-token": "proj role delete-token",
        "proj role list-token": "proj role list-tokens",
        "proj role token-list": "proj role list-tokens",
    }
)
"""Other words for a subcommand, by its path."""

MISSING: Final[Mapping[str, Missing]] = MappingProxyType(
    {
        **dict.fromkeys(("login", "logout", "relogin", "account update-password"), _IDENTITY),
        **dict.fromkeys(
            (
                "account delete-token", "account generate-token", "account session-token", "proj role create-token",
                "proj role delete-token",
            ),
            _TOKENS,
        ),
        **dict.fromkeys(("account get", "account list"), Missing(
            why="shows the accounts of Argo CD, of which this service uses one for you",
            instead="`argocd account get-user-info` says who you are; check_access, what you may do.",
        )),
        **dict.fromkeys(("cluster add", "cluster rm", "cluster rotate-auth", "cluster set"), _CREDENTIALS),
        **dict.fromkeys(("repo add", "repo rm", "repocreds"), _CREDENTIALS),
        **dict.fromkeys(("cert", "gpg", "proj source-integrity"), _TRUST),
        "appset": _SETS,
        "admin": _ADMIN,
        **dict.fromkeys(("configure", "completion"), _LOCAL),
        "context": Missing(
            why="chooses an Argo CD in a file of argocd's own",
            instead="Name it in each command, with --argocd-context NAME; without it the first one is meant.",
        ),
        "app edit": Missing(
            why=_EDITOR.why,
            instead="Use `argocd app set`, or `argocd app patch NAME --type merge --patch '{…}'`.",
            look="app get",
        ),
        "proj edit": Missing(
            why=_EDITOR.why,
            instead="Use `argocd proj set`, or the subcommands of `argocd proj` for one part of it.",
            look="proj get",
        ),
    }
)  # fmt: skip
"""What is not offered, by path; a group's entry stands for all that is below it."""

GLOBAL_VALUE_FLAGS: Final = frozenset(
    {
        "argocd-context", "auth-token", "client-crt", "client-crt-key", "config", "controller-name",
        "grpc-web-root-path", "H", "header", "http-retry-max", "kube-context", "logformat", "loglevel",
        "port-forward-namespace", "redis-compress", "redis-haproxy-name", "redis-name", "repo-server-name", "server",
        "server-crt", "server-name",
    }
)  # fmt: skip
"""Flags of every subcommand that take the next word as their value."""

GLOBAL_SWITCHES: Final = frozenset({"core", "grpc-web", "insecure", "plaintext", "port-forward", "prompts-enabled"})
"""Flags of every subcommand that are on or off."""

SHORT_SWITCHES: Final = frozenset("hmtuy")
"""Short flags that are switches wherever they exist."""
