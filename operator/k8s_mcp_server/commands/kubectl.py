"""Early refusals for kubectl that teach: what cannot work here, and what to write instead.

**Not a boundary.** A command line that gets past these checks reaches nothing more than one that does not: the
sandbox has no other files, programs or addresses, and the gateway decides on each request. So a doubtful case is
let through, and kubectl or the gateway answers it.
"""

from __future__ import annotations

import difflib
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.catalog import KUBECTL_VERBS
from k8s_mcp_server.commands.kubectl_files import check_files
from k8s_mcp_server.commands.words import read_kubectl_words, without_flag
from k8s_mcp_server.errors import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from k8s_mcp_server.commands.words import Flag, KubectlWords

_IDENTITY: Final = "The service connects as itself for you, so who asks and where cannot be chosen"
_LOCAL: Final = "Files of kubectl's own have no place here"
FIXED_FLAGS: Final = {
    **dict.fromkeys(
        (
            "as",
            "as-group",
            "as-uid",
            "as-user-extra",
            "certificate-authority",
            "client-certificate",
            "client-key",
            "cluster",
            "context",
            "insecure-skip-tls-verify",
            "kubeconfig",
            "password",
            "proxy-url",
            "s",
            "server",
            "tls-server-name",
            "token",
            "user",
            "username",
        ),
        _IDENTITY,
    ),
    **dict.fromkeys(("cache-dir", "kuberc", "profile", "profile-output"), _LOCAL),
}
# Verbs with a flag of their own of the same name.
_OWN_FLAGS: Final = {
    "create": frozenset({"user"}),
    "set": frozenset({"user"}),
    "debug": frozenset({"profile"}),
}
_VALUELESS: Final = frozenset({"insecure-skip-tls-verify"})

# Verb: what it would do, and what to do instead.
_UNAVAILABLE: Final = {
    "edit": (
        "opens an editor",
        "Write: `kubectl get {operands} -o yaml`; then use `patch`, or `apply -f -` with the stdin argument.",
    ),
    "proxy": ("serves a local port", "Write: `kubectl get --raw /version`, or any other path of the API."),
    "port-forward": (
        "serves a local port",
        "Write: `kubectl describe {operands}`; to ask what answers there, `exec` a client in the pod.",
    ),
    "attach": ("follows a terminal", "Write: `kubectl logs {operands} --tail=100`; `logs --follow` waits for more."),
    "plugin": ("manages local plugins", "Write: `kubectl --help` for kubectl's own verbs."),
    "kuberc": ("manages local preferences", "Write: `kubectl options`; all flags go into the command."),
}
_CONFIG_READS: Final = frozenset({"", "current-context", "get-clusters", "get-contexts", "get-users", "view"})
_EDITORS: Final = frozenset({("apply", "edit-last-applied")})

_TERMINAL_VERBS: Final = frozenset({"exec", "run", "debug"})
_DIFF: Final = "diff"
_READS: Final = frozenset(
    {
        "api-resources",
        "api-versions",
        "describe",
        "events",
        "explain",
        "get",
        "help",
        "logs",
        "options",
        "top",
        "version",
    }
)
_SURELY: Final = 0.75
_KNOWN_ELSEWHERE: Final = {
    "k": "",
    "watch": "get --watch",
    "list": "get",
    "ls": "get",
    "show": "get",
    "ps": "get pods",
    "log": "logs",
    "remove": "delete",
    "rm": "delete",
    "restart": "rollout restart",
    "update": "apply",
    "whoami": "auth whoami",
    "can-i": "auth can-i",
    "ns": "get namespaces",
}


def check_kubectl(words: Sequence[str], files: Collection[str] = ()) -> None:
    """Refuse what cannot work.

    Args:
        words: the words after ``kubectl``.
        files: names of the files that the command is given.

    Raises:
        CommandRefused: with the word for the cause and what to write instead.
    """
    read = read_kubectl_words(words)
    _check_fixed_flags(read, words)
    _check_verb(read, words)
    _check_terminal(read, words)
    if not _asks_for_help(read):
        check_files(read, files=files)


def why_unavailable(subcommand: str) -> str:
    """What a subcommand would do that cannot be done here, such as ``opens an editor``; empty for one that runs."""
    verb, _, sub = subcommand.partition(" ")
    if (verb, sub) in _EDITORS:
        return _UNAVAILABLE["edit"][0]
    if verb == "config" and sub not in _CONFIG_READS:
        return "changes a kubeconfig, and each command has its own"
    return _UNAVAILABLE[verb][0] if verb in _UNAVAILABLE else ""


def kubectl_helper(words: Sequence[str]) -> str:
    """The one other program that the command starts: ``kubectl diff`` leaves the comparing to ``diff``."""
    return _DIFF if read_kubectl_words(words).verb == "diff" else ""


def _check_fixed_flags(read: KubectlWords, words: Sequence[str]) -> None:
    own = _OWN_FLAGS.get(read.verb, frozenset())
    for flag in read.flags:
        cause = FIXED_FLAGS.get(flag.name)
        if cause is None or flag.name in own or (len(flag.name) == 1) is not flag.is_short:
            continue
        raise CommandRefused(
            "FixedTarget",
            f"{cause}: {flag} is not available.",
            instead=f"Write: `kubectl {_without(words, flag=flag)}`",
        )


def _check_verb(read: KubectlWords, words: Sequence[str]) -> None:
    verb = read.verb
    if not verb:
        return
    if verb not in KUBECTL_VERBS:
        raise _unknown_verb(verb, words)
    if _asks_for_help(read):
        return
    sub = read.operands[0] if read.operands else ""
    if verb == "config" and (sub not in _CONFIG_READS or any(flag.name == "raw" for flag in read.flags)):
        raise CommandRefused(
            "NotAvailable",
            "Each command has a kubeconfig of its own, made for it and gone with it.",
            instead="Write: `kubectl auth whoami` for who you are; name the namespace with -n; check_access says the "
            "rest.",
        )
    effect, instead = _UNAVAILABLE.get(verb, ("", ""))
    if (verb, sub) in _EDITORS:
        effect, instead = _UNAVAILABLE["edit"]
        read = replace(read, operands=read.operands[1:])
    if effect:
        ready = instead.format(operands=_quoted(_about(read)) or "…")
        name = f"{verb} {sub}" if sub in KUBECTL_VERBS[verb] else verb
        raise CommandRefused("NotAvailable", f"`kubectl {name}` {effect}.", instead=ready)


def _about(read: KubectlWords) -> list[str]:
    """What the command is about: the resource with its name, and its namespace."""
    operands = [word for word in read.operands if ":" not in word or "/" in word]
    about = operands[:1] if operands and "/" in operands[0] else operands[:2]
    if read.verb in ("attach", "port-forward"):
        about = operands[:1]
        if read.verb == "port-forward" and about and "/" not in about[0]:
            about = ["pod", *about]
    where = next((flag.value for flag in read.flags if flag.name in ("n", "namespace") and flag.value), "")
    return [*about, *(("-n", where) if where else ())]


def _check_terminal(read: KubectlWords, words: Sequence[str]) -> None:
    if read.verb not in _TERMINAL_VERBS:
        return
    if not any(flag.name in ("t", "tty") and flag.value != "false" for flag in read.flags):
        return
    options, rest = _split_at_dashes(words)
    kept = [word for word in options if word not in ("-it", "-ti", "-t", "--tty", "--tty=true", "-i", "--stdin")]
    if read.verb != "exec":
        kept.insert(kept.index(read.verb) + 1, "-i")
    raise CommandRefused(
        "NoTerminal",
        "There is no terminal here: -t cannot work.",
        instead=f"{_write([*kept, *rest])}; text for its input goes into the stdin argument, with -i.",
    )


def _unknown_verb(verb: str, words: Sequence[str]) -> CommandRefused:
    message = f"kubectl has no verb `{verb[:40]}`, and there are no plugins here."
    rest = list(words)
    if "kubectl" in rest:  # watch kubectl …, sudo kubectl …, kubectl kubectl …
        return CommandRefused("UnknownVerb", message, instead=_write(rest[rest.index("kubectl") + 1 :]))
    at = rest.index(verb)
    nearest = _KNOWN_ELSEWHERE.get(verb)
    if nearest is None:
        nearest = _nearest_verb(verb)
    if nearest is None:
        instead = "Start with a verb of kubectl, such as get, describe, logs or apply."
        return CommandRefused("UnknownVerb", message, instead=instead)
    return CommandRefused("UnknownVerb", message, instead=_write([*rest[:at], *nearest.split(), *rest[at + 1 :]]))


def _nearest_verb(verb: str) -> str | None:
    """A verb that was surely meant, or one that changes nothing."""
    near = difflib.get_close_matches(verb, set(KUBECTL_VERBS) - set(_UNAVAILABLE), n=1, cutoff=_SURELY)
    return next(iter(near or difflib.get_close_matches(verb, _READS, n=1)), None)


def _write(words: Sequence[str]) -> str:
    return f"Write: `kubectl {_quoted(words)}`"


def _asks_for_help(read: KubectlWords) -> bool:
    return any(flag.name == "help" or (flag.name == "h" and flag.is_short) for flag in read.flags)


def _without(words: Sequence[str], *, flag: Flag) -> str:
    """The command again, without ``flag`` and the word that is its value."""
    return _quoted(without_flag(words, flag=flag, valueless=_VALUELESS))


def _split_at_dashes(words: Sequence[str]) -> tuple[list[str], list[str]]:
    at = list(words).index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at:])


def _quoted(words: Sequence[str]) -> str:
    return shlex.join(words)
