"""Early refusals for argocd that teach: what cannot work here, and what to write instead.

**Not a boundary.** A command line that gets past these checks reaches nothing more than one that does not: the sandbox
has no other files and no other address, and the gateway decides on each call.
"""

from __future__ import annotations

import difflib
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.argocd.catalog import (
    ALIASES,
    GLOBAL_VALUE_FLAGS,
    GROUPS,
    MISSING,
    SHORT_SWITCHES,
    Missing,
)
from k8s_mcp_server.commands.files import find_file
from k8s_mcp_server.commands.words import Vocabulary, read_words, without_flag
from k8s_mcp_server.errors import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from k8s_mcp_server.commands.words import Flag

ARGOCD: Final = Vocabulary(value_flags=GLOBAL_VALUE_FLAGS, short_switches=SHORT_SWITCHES)
CONTEXT: Final = "argocd-context"
_SERVICE: Final = "The service connects to Argo CD for you, so where to and as whom cannot be chosen"
_KUBERNETES: Final = "Argo CD is reached through its server, never around it"
FIXED: Final = {
    **dict.fromkeys(
        (
            "auth-token", "client-crt", "client-crt-key", "config", "grpc-web-root-path", "H", "header", "insecure",
            "plaintext", "server", "server-crt",
        ),
        _SERVICE,
    ),
    **dict.fromkeys(
        (
            "controller-name", "core", "kube-context", "port-forward", "port-forward-namespace", "redis-compress",
            "redis-haproxy-name", "redis-name", "repo-server-name", "server-name",
        ),
        _KUBERNETES,
    ),
}  # fmt: skip
_VALUELESS: Final = frozenset({"core", "insecure", "plaintext", "port-forward"})
_SHORT_FIXED: Final = frozenset({"H"})
_STDIN: Final = frozenset({"-", "/dev/stdin"})
_FOLDERS: Final = frozenset({"local", "local-repo-root"})
_MANIFESTS: Final = frozenset({"app create", "proj create"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Subcommand:
    """What of a command line's words is the subcommand.

    Args:
        path: in argocd's own words, aliases resolved; as far as they are known.
        unknown: the word after it that is no subcommand, where only subcommands may follow.
    """

    path: str
    unknown: str = ""


def find_subcommand(plain: Sequence[str]) -> Subcommand:
    """The subcommand at the start of the words that are no flags."""
    path = ""
    for word in plain:
        if path not in GROUPS:
            break
        longer = f"{path} {word}".strip()
        longer = ALIASES.get(longer, longer)
        if longer.rpartition(" ")[2] not in GROUPS[path]:
            return Subcommand(path=path, unknown=word)
        path = longer
    return Subcommand(path=path)


def check_argocd(words: Sequence[str], files: Collection[str]) -> None:
    """Refuse what cannot work.

    Args:
        words: the words after ``argocd``.
        files: names of the files that the command is given.

    Raises:
        CommandRefused: with the word for the cause and what to write instead.
    """
    read = read_words(words, vocabulary=ARGOCD)
    for flag in read.flags:
        _check_fixed(flag, words)
    found = find_subcommand(read.plain)
    if found.unknown:
        raise _unknown(found, read.plain, words)
    if not any(flag.name == "help" or (flag.name == "h" and flag.is_short) for flag in read.flags):
        _check_offered(found.path, operands=read.plain[len(found.path.split()) :])
        for flag in read.flags:
            _check_files(flag, path=found.path, files=files)


def argocd_helper(words: Sequence[str]) -> str:
    """The one other program that the command starts: ``argocd app diff`` leaves the showing to ``diff``."""
    return "diff" if find_subcommand(read_words(words, vocabulary=ARGOCD).plain).path == "app diff" else ""


def chosen_instance(words: Sequence[str]) -> str:
    """The instance of Argo CD that the command names; empty for none. The last one counts, as for argocd."""
    flags = read_words(words, vocabulary=ARGOCD).flags
    return next((flag.value or "" for flag in reversed(flags) if flag.name == CONTEXT), "")


def without_instance(words: Sequence[str]) -> tuple[str, ...]:
    """The words without the flag that names an instance: argocd would look for it in a file of its own."""
    flags = [flag for flag in read_words(words, vocabulary=ARGOCD).flags if flag.name == CONTEXT]
    kept = tuple(words)
    for flag in flags:
        kept = without_flag(kept, flag=flag, valueless=frozenset())
    return kept


def _check_fixed(flag: Flag, words: Sequence[str]) -> None:
    cause = FIXED.get(flag.name)
    if cause is None or flag.is_short is not (flag.name in _SHORT_FIXED):
        return
    rest = shlex.join(without_flag(words, flag=flag, valueless=_VALUELESS))
    raise CommandRefused("FixedTarget", f"{cause}: {flag} is not available.", instead=f"Write: `argocd {rest}`")


def _check_offered(path: str, *, operands: Sequence[str]) -> None:
    at = path
    while at:
        missing = MISSING.get(at)
        if missing is not None:
            raise _not_offered(path, missing, operands=operands)
        at = at.rpartition(" ")[0]


def _not_offered(path: str, missing: Missing, *, operands: Sequence[str] = ()) -> CommandRefused:
    shows = [*missing.look.split(), operands[0], "-o", "yaml"] if missing.look and operands else []
    instead = f"Write: `{shlex.join(['argocd', *shows])}`. {missing.instead}" if shows else missing.instead
    return CommandRefused("NotAvailable", f"`argocd {path}` {missing.why}.", instead=instead)


def _check_files(flag: Flag, *, path: str, files: Collection[str]) -> None:
    value = flag.value or ""
    if flag.is_short is not (flag.name == "f") or value in _STDIN or find_file(value, dict.fromkeys(files)):
        return
    if flag.name in _FOLDERS:
        raise CommandRefused(
            "NoFiles",
            f"{flag} renders a local folder with programs that are not here.",
            instead="Commit the change, and use --revision with its branch or commit.",
        )
    if flag.name in {"f", "file"} and path in _MANIFESTS:
        raise _no_file(flag, value, f"argocd {path} {flag} -")
    if flag.name == "values-literal-file":
        raise _no_file(flag, value, f"{flag} /dev/stdin")


def _no_file(flag: Flag, value: str, instead: str) -> CommandRefused:
    what = "an address outside" if value.startswith(("http://", "https://")) else "no file of this command"
    message = f"{flag} {value[:80]} is {what}."
    return CommandRefused(
        "NoFiles", message, instead=f"Pass its content in `files` under that name, or in `stdin`: `{instead}`"
    )


def _unknown(found: Subcommand, plain: Sequence[str], words: Sequence[str]) -> CommandRefused:
    asked = f"{found.path} {found.unknown}".strip()
    message = f"`{f'argocd {found.path}'.strip()}` has no subcommand `{found.unknown[:40]}`."
    offered = [word for word in GROUPS[found.path] if f"{found.path} {word}".strip() not in MISSING]
    near = difflib.get_close_matches(found.unknown, offered, n=1)
    meant = _HABITS.get(asked) or (f"{found.path} {near[0]}".strip() if near else "")
    if not meant:
        return CommandRefused("UnknownVerb", message, instead=f"There are: {', '.join(sorted(offered))}.")
    rest = list(words)
    for typed in plain[: len(asked.split())]:
        rest.remove(typed)
    return CommandRefused("UnknownVerb", message, instead=f"Write: `argocd {shlex.join([*meant.split(), *rest])}`")


_HABITS: Final = {
    "apps": "app list",
    "application": "app",
    "applications": "app list",
    "list": "app list",
    "get": "app get",
    "sync": "app sync",
    "projects": "proj list",
    "repos": "repo list",
    "clusters": "cluster list",
    "app status": "app get",
    "app describe": "app get",
    "app show": "app get",
    "app refresh": "app get --refresh",
    "app rm": "app delete",
    "app update": "app set",
    "app restart": "app actions run",
    "app log": "app logs",
    "app events": "app get",
    "proj rm": "proj delete",
    "whoami": "account get-user-info",
    "can-i": "account can-i",
}
