"""`policy who-can`: which of the subjects that policies name may do one thing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8s_mcp_server.authoring.clients import client_of, subject_fields
from k8s_mcp_server.authoring.grants import subjects_of
from k8s_mcp_server.authoring.testing import WORDS
from k8s_mcp_server.policy.compile import CompiledPolicy

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.world import World
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.subjects import Subject
    from k8s_mcp_server.policy.tools import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How the request of one subject is decided, with one tool."""

    subject: Subject
    tool: Tool
    decision: Decision

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        matched = self.decision.matched
        return {
            "subject": subject_fields(self.subject),
            "tool": self.tool.value,
            "verdict": WORDS[self.decision.verdict],
            "reason": self.decision.reason.value,
            "policy": matched.policy if matched else "",
            "rule": matched.rule if matched else "",
            "message": self.decision.message,
        }


def who_can(request: RequestInfo, *, world: World) -> Iterator[Answer]:
    """The decision for each subject of the policies and each tool that they give; denied ones, too."""
    policies = [item for item in world.snapshot.policies.values() if isinstance(item, CompiledPolicy)]
    for subject in subjects_of(policies):
        client = client_of(subject)
        mine = [item for item in world.snapshot.policies_for(client) if isinstance(item, CompiledPolicy)]
        for tool in sorted({tool for policy in mine for tool in policy.tools}):
            yield Answer(subject=subject, tool=tool, decision=world.decide(request, client=client, tool=tool))
