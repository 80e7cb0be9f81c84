"""What a command of helm, istioctl or argocd needs, told from its words: nothing is run.

istioctl's plan is the one that its commands run under, so the answer is whole. helm and argocd learn some of what they
ask for from answers (the objects of a chart, the project of an application); that is said, and not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.argocd.check import ARGOCD, chosen_instance, find_subcommand
from k8s_mcp_server.commands.argocd.rights import argocd_rights
from k8s_mcp_server.commands.helm.rights import OBJECT_VERBS, helm_rights
from k8s_mcp_server.commands.helm.words import read_helm
from k8s_mcp_server.commands.istioctl.check import planned
from k8s_mcp_server.commands.words import read_words
from k8s_mcp_server.policy.abilities import verbs_given
from k8s_mcp_server.policy.case import Case
from k8s_mcp_server.policy.patterns import Names
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from k8s_mcp_server.commands.istioctl.parts import Surroundings
    from k8s_mcp_server.execution.pipeline import Pipeline
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.policy.abilities import Right
    from k8s_mcp_server.policy.case import DecisionContext
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo

Alternatives = Sequence["RequestInfo"]
"""Requests of which one will be made; which one, only a run tells."""
_ONE_OF: Final = "*"
_OF_APPLICATIONS: Final = frozenset({"applications", "logs"})
_NAMELESS: Final = frozenset({"list", "create"})  # verbs that RBAC, and so helm's releases, has without a name


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a command needs.

    Args:
        rights: each must be given, by one of its alternatives.
        notes: what else only a run can tell, in sentences.
    """

    rights: tuple[Alternatives, ...] = ()
    notes: tuple[str, ...] = ()

    def and_(self, other: Needs) -> Needs:
        """Those of both."""
        notes = tuple(dict.fromkeys((*self.notes, *other.notes)))
        return Needs(rights=(*self.rights, *other.rights), notes=notes)


def needs_of(
    pipeline: Pipeline, *, context: DecisionContext, around: Surroundings, files: Collection[str] = ()
) -> Needs:
    """What all stages of a pipeline of such a CLI need.

    Args:
        context: whose rules say which of Argo CD's projects come into question.
        around: the namespace of commands that name none, and that of istiod.
        files: names of the command's files.

    Raises:
        CommandRefused: a stage is not offered.
    """
    needs = Needs()
    for stage in pipeline.stages:
        words = stage.argv[1:]
        if stage.program != context.tool:
            continue
        if context.tool is Tool.ISTIOCTL:
            needs = needs.and_(_of_istioctl(words, around, files=files))
        elif context.tool is Tool.HELM:
            needs = needs.and_(_of_helm(words, namespace=around.namespace))
        else:
            needs = needs.and_(_of_argocd(words, context))
    return needs


def tool_of(line: str, *, default: Tool) -> Tool:
    """The CLI that a command line begins with."""
    first = next(iter(line.split()), "")
    return Tool(first) if first in set(Tool) else default


async def decided(
    needs: Needs, *, authorizer: Authorizer, client: Client, tool: Tool
) -> list[tuple[RequestInfo, Decision]]:
    """Each right with the answer to it: to an alternative that is allowed, where one is."""
    found = []
    for alternatives in needs.rights:
        answers = [
            (request, await authorizer.authorize((request,), client=client, tool=tool)) for request in alternatives
        ]
        found.append(next((each for each in answers if each[1].allowed), answers[0]))
    return found


def _of_istioctl(words: Sequence[str], around: Surroundings, *, files: Collection[str]) -> Needs:
    _, plan = planned(words, around, files=files)
    note = "It goes on without what your other rules do not give; the result's not_seen names that."
    return Needs(rights=tuple((right,) for right in plan.rights), notes=(note,) if plan.may_see_less else ())


def _of_helm(words: Sequence[str], *, namespace: str) -> Needs:
    command = read_helm(words)
    if command.asks_for_help:
        return Needs()
    place = "" if command.has("all-namespaces") else command.value("namespace") or namespace
    release = command.operands[0] if command.operands else ""
    rights = tuple(
        (replace(right.request(), namespace=place, name="" if right.verb in _NAMELESS else release),)
        for right in helm_rights(command)
    )
    verbs = OBJECT_VERBS.get(command.name)
    note = f"It also needs {verbs} on each object of the chart; `helm template` shows these." if verbs else ""
    return Needs(rights=rights, notes=(note,) if note else ())


def _of_argocd(words: Sequence[str], context: DecisionContext) -> Needs:
    read = read_words(words, vocabulary=ARGOCD)
    path = find_subcommand(read.plain).path
    if any(flag.name == "help" or (flag.name == "h" and flag.is_short) for flag in read.flags):
        return Needs()
    operands = read.plain[len(path.split()) :]
    name = operands[0] if operands else ""
    project = next((flag.value or "" for flag in read.flags if flag.name == "project"), "")
    rights, notes = [], []
    for right in argocd_rights(path):
        found = tuple(
            _alternatives(right, context, name=name, project=project, instance=chosen_instance(words))
            if right.request().resource in _OF_APPLICATIONS and name
            else [replace(right.request(), name=name)]
        )
        rights.append(found)
        if found[0].name != name and not project:
            notes.append(f"Which project {name[:80]} belongs to, only a run can tell.")
        if right.verb.endswith(_ONE_OF):
            notes.append("Which resource it is about, only a run can tell.")
    return Needs(rights=tuple(rights), notes=tuple(dict.fromkeys(notes)))


def _alternatives(
    right: Right, context: DecisionContext, *, name: str, project: str, instance: str
) -> Iterator[RequestInfo]:
    """The application in each project that a rule speaks of; one of them at least, which nobody may have."""
    prefix = f"{instance}:" if instance else ""
    asked = replace(right.request(), name=f"{prefix}{project or _ONE_OF}/{name}")
    given: list[RequestInfo] = []
    seen: list[RequestInfo] = []
    for _, rule in Case.of(asked, context).rules():
        if not rule.has_resource(asked):
            continue
        projects = [project] if project else _projects(rule.resource_names, name, instance=instance)
        named = [replace(asked, name=f"{prefix}{each}/{name}") for each in projects]
        seen += named
        given += [replace(each, verb=verb) for verb in verbs_given(rule, right) for each in named]
    yield from dict.fromkeys(given or seen) or [asked]


def _projects(names: Names | None, application: str, *, instance: str) -> list[str]:
    """The projects in which names of a rule may mean the application."""
    if names is None:
        return ["example"]
    found = []
    for text in names.texts:
        own, colon, rest = text.partition(":")
        if colon and own != instance:
            continue
        project, slash, last = (rest if colon else text).partition("/")
        if not slash or Names.of([last]).matches(application):
            found.append(project.replace(_ONE_OF, "example"))
    return found
