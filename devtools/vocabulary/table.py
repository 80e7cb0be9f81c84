"""``docs/kubectl.md``: what each documented command asked for, in the words of a policy."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from devtools.subcommands import HEAD, refused, tree, works
from devtools.toolchain.catalog import catalog
from k8s_mcp_server.commands.catalog import KUBECTL_VERBS
from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.policy.decision import Reason, Verdict
from k8s_mcp_server.policy.sensitive import is_sensitive, is_workload_write
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from devtools.vocabulary.compare import Compared
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.request import RequestInfo

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "kubectl.md"
_INTRODUCTION = """# What kubectl's commands need

Each row shows one command as it was run through the gateway, and what it asked of the API server: resources with
their group, and the verbs. A rule with `namespaces` (or `namespaceSelector`) gives the second column, one with
`clusterScoped: true` the third. The kinds are examples: another kind needs the same verbs on its own resource. What
discovery needs (`/api`, `/apis`, `/openapi`, `/version`) is given with any policy, and left out here.

- † is sensitive: a rule must name this resource literally, `*` does not reach it.
- ‡ writes pods: it needs a namespace that enforces Pod Security, or `allowPrivilegedWorkloads: true`.
- ° is given for a namespace where the client has any rule; a list shows just those namespaces.
- ∀ asks for all namespaces at once; the answer is cut to those that a rule gives.

Not every part of a row is indispensable: without the right to list events, `describe` says less, but it works.

`kubectl auth can-i` and `auth whoami` are answered for the client itself. `port-forward` is refused before it runs, as
the last table says; its rows in the first ones say what the gateway would decide. Local files are those of the `files`
argument, and what a command writes comes back. `top` is not covered with a real metrics-server: its rows were observed
with custom resources of the same group and names.

Written by `make tables` from observed requests; `make test` compares, and fails where kubectl has a subcommand that is
not here.
"""
_ALSO_COMMANDS: Final = frozenset({"apply", "cluster-info", "create"})  # groups that do something by themselves
_SECTIONS: Final = {
    "Reading": (
        "get", "describe", "logs", "events", "explain", "api-resources", "api-versions", "version",
        "cluster-info", "top",
    ),
    "Creating, changing, deleting": (
        "create", "apply", "diff", "replace", "patch", "label", "annotate", "set", "delete", "expose", "autoscale",
    ),
    "Workloads": ("run", "rollout", "scale", "wait", "debug"),
    "Inside of pods": ("exec", "port-forward", "cp"),
    "Nodes, certificates, rights": ("cordon", "uncordon", "drain", "taint", "certificate", "auth"),
}  # fmt: skip
_PLACEHOLDERS: Final = (
    (re.compile(r"-?\{mark\}"), "-x"),
    (re.compile(r"\{namespace\}"), "NAMESPACE"),
    (re.compile(r"\{folder\}"), "FOLDER"),
    (re.compile(r" < ([a-z-]+)$"), r"  # \1"),
)
_READING: Final = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True, order=True)
class Need:
    """One permission.

    Args:
        resource: with its group and subresource, or a path.
        verb: of the request.
        marks: what else a policy's author must know (see the document's list).
        in_cluster: whether a rule for the cluster gives it, and not one for namespaces.
    """

    resource: str
    marks: str
    in_cluster: bool
    verb: str


def render(compared: Iterable[Compared], kubectl: Path) -> str:
    """The whole document.

    Args:
        kubectl: the binary whose subcommands it tells of.
    """
    compared = list(compared)
    documented = [item for item in compared if item.step.is_documented]
    parts = [_INTRODUCTION]
    for title, verbs in _SECTIONS.items():
        rows = [_row(item) for verb in verbs for item in documented if item.step.words[0] == verb]
        head = ["| command | in its namespace | in the cluster |", "|---|---|---|"]
        parts.append("\n".join([f"## {title}", "", *head, *dict.fromkeys(rows), ""]))
    rows = [_subcommand_row(path, compared) for path in _paths(kubectl)]
    title = f"## Every subcommand of kubectl {catalog()['kubectl'].version}"
    parts.append("\n".join([title, "", *HEAD, *rows, ""]))
    return "\n".join(parts)


def _paths(kubectl: Path) -> list[str]:
    found = tree(kubectl)
    return sorted(path for path, subcommand in found.items() if not subcommand.is_group or path in _ALSO_COMMANDS)


def _subcommand_row(path: str, compared: Sequence[Compared]) -> str:
    """What became of the first command that was run of it; one of those that other sections show, where there are."""
    try:
        parse_command(f"kubectl {path} TYPE/NAME", cli=Tool.KUBECTL, files=("kustomization.yaml",))
    except CommandRefused as refusal:
        if refusal.reason == "NotAvailable":
            return refused(path, why=refusal.message.rstrip("."), instead=refusal.instead)
    shown = min((item for item in compared if _is_of(path, item)), key=_is_worse)
    if not _worked(shown):
        raise ValueError(f"no command shows that `kubectl {path}` works: {_shown(shown)}: {shown.through.stderr}")
    found = needs(shown)
    cells = (_cell(found, in_cluster=False), _cell(found, in_cluster=True))
    return works(path, example=f"kubectl {_shown(shown)}", needs=[cell for cell in cells if cell])


def _worked(item: Compared) -> bool:
    return item.through.code in (0, None) or (item.step.words[0] == "diff" and item.through.code == 1)  # it differs


def _is_worse(item: Compared) -> tuple[bool, ...]:
    """The best example works, is shown elsewhere too, changes what it says, and is about a namespace."""
    is_dry = any(word.startswith("--dry-run") for word in item.step.words)
    found = needs(item)
    in_cluster = bool(found) and all(need.in_cluster for need in found)
    return not _worked(item), not item.step.is_documented, is_dry, in_cluster


def _is_of(path: str, item: Compared) -> bool:
    words = path.split()
    is_group = path in _ALSO_COMMANDS
    following = [word for word in item.step.words[len(words) :] if not word.startswith("-")]
    mine = list(item.step.words[: len(words)]) == words
    return mine and not (is_group and following[:1] and following[0] in KUBECTL_VERBS[path])


def unlisted(compared: Iterable[Compared]) -> set[str]:
    """Documented verbs of kubectl that no section lists."""
    listed = {verb for verbs in _SECTIONS.values() for verb in verbs}
    return {item.step.words[0] for item in compared if item.step.is_documented} - listed


def _shown(item: Compared) -> str:
    command = item.step.line
    for pattern, text in _PLACEHOLDERS:
        command = pattern.sub(text, command)
    return command


def _row(item: Compared) -> str:
    command = _shown(item).replace("|", r"\|")
    found = needs(item)
    if not found:
        return f"| `kubectl {command}` | nothing | nothing |"
    return f"| `kubectl {command}` | {_cell(found, in_cluster=False)} | {_cell(found, in_cluster=True)} |"


def needs(item: Compared) -> list[Need]:
    """What the command had to be allowed, without what everybody may."""
    if item.step.words[:2] == ("auth", "can-i"):
        return []  # it asks about a permission, and needs none
    requests = [
        (asked.request, asked.decision) for asked in item.asked if asked.decision.reason is not Reason.ALWAYS_ALLOWED
    ]
    found = {_need(request, decision) for request, decision in requests}
    # Whether a command that waits still finds something to wait for is a matter of time: some of these mean all.
    if item.step.words[0] in {"delete", "wait"} or item.step.words[:2] == ("rollout", "status"):
        waited = [need for need in found if need.verb in _READING]
        found |= {replace(need, verb=verb) for need in waited for verb in _READING}
    if "--watch" in item.step.words:  # ended as soon as the list is printed, maybe before it watches
        found |= {replace(need, verb="watch") for need in found if need.verb == "list"}
    return sorted(found)


def _need(request: RequestInfo, decision: Decision) -> Need:
    if not request.is_resource_request:
        return Need(request.path, "", in_cluster=True, verb=request.verb)
    resource, _, subresource = request.full_resource.partition("/")
    name = f"{resource}.{request.api_group}" if request.api_group else resource
    marks = ("†" if is_sensitive(request) else "") + ("‡" if is_workload_write(request) else "")
    is_namespace = (resource, request.api_group) == ("namespaces", "")
    in_cluster = is_namespace or not request.namespace
    if is_namespace and request.verb in _READING:
        marks += "°"
    elif in_cluster and decision.verdict is Verdict.FILTERED:
        in_cluster, marks = False, marks + "∀"
    if request.namespace.startswith("kube-"):
        marks += f" in `{request.namespace}`:"
    return Need(f"{name}/{subresource}" if subresource else name, marks, in_cluster=in_cluster, verb=request.verb)


def _cell(found: Sequence[Need], *, in_cluster: bool) -> str:
    verbs: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for need in found:
        if need.in_cluster is in_cluster:
            verbs[need.resource, need.marks].append(need.verb)
    return "<br>".join(f"`{resource}`{marks} {', '.join(words)}" for (resource, marks), words in verbs.items())
