"""`policy who-can`: which of the subjects that policies name may do one thing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8s_mcp_server.authoring.clients import client_of, subject_fields
from k8s_mcp_server.authoring.grants import subjects_of
from k8s_mcp_server.authoring.testing import WORDS
from k8s_mcp_server.authoring.world import rules_of
from k8s_mcp_server.policy.compile import CompiledPolicy
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.scopes import TeamNamespaces
from k8s_mcp_server.policy.subjects import Subject, SubjectKind

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.world import World
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.tools import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How the request of one subject is decided, with one tool."""

    subject: Subject
    tool: Tool
    decision: Decision

    @property
    def verdict(self) -> str:
        """``allow``, ``filtered``, ``deny``, or ``unknown`` where it is as the subject's own RBAC has it."""
        return "unknown" if self.decision.reason is Reason.RBAC_UNAVAILABLE else WORDS[self.decision.verdict]

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        matched = self.decision.matched
        return {
            "subject": subject_fields(self.subject),
            "tool": self.tool.value,
            "verdict": self.verdict,
            "reason": self.decision.reason.value,
            "policy": matched.policy if matched else "",
            "rule": matched.rule if matched else "",
            "message": self.decision.message,
        }


def who_can(request: RequestInfo, *, world: World) -> Iterator[Answer]:
    """The decision for each subject of the policies and each tool that they give; denied ones, too.

    A glob of groups is asked for as it is, and for each team that rules go by and it takes in, where that is answered
    otherwise.
    """
    policies = [item for item in world.snapshot.policies.values() if isinstance(item, CompiledPolicy)]
    teams = tuple(_team_groups(policies, world=world))
    for subject in subjects_of(policies):
        told = list(_answers(subject, request, world=world))
        yield from told
        for team in (item for item in teams if _takes_in(subject, item)):
            yield from (item for item in _answers(team, request, world=world) if item.verdict != told[0].verdict)


def _answers(subject: Subject, request: RequestInfo, *, world: World) -> Iterator[Answer]:
    client = client_of(subject)
    mine = [item for item in world.snapshot.policies_for(client) if isinstance(item, CompiledPolicy)]
    for tool in sorted({tool for policy in mine for tool in policy.tools}):
        yield Answer(subject=subject, tool=tool, decision=world.decide(request, client=client, tool=tool))


def _team_groups(policies: Iterable[CompiledPolicy], *, world: World) -> Iterator[Subject]:
    """The groups of the teams that namespaces are labelled with."""
    scopes = {rule.scope for _, rule in rules_of(policies) if isinstance(rule.scope, TeamNamespaces)}
    for scope in sorted((item for item in scopes if item.group_prefix), key=str):
        teams = {item.labels.get(scope.label) for item in world.snapshot.namespaces.values()} - {None, ""}
        yield from (
            Subject(kind=SubjectKind.GROUP, name=f"{scope.group_prefix}{team}") for team in sorted(map(str, teams))
        )


def _takes_in(subject: Subject, other: Subject) -> bool:
    return (
        subject.kind is other.kind
        and subject.name.endswith("*")
        and other.name.startswith(subject.name.removesuffix("*"))
    )
