"""What a client may see and do of releases: three ways to a record, and whatever denies take away.

A client gets a release by the right to ``releases`` (its metadata), to ``releases/content`` (all of it), or to the
Secrets themselves. A deny of any of the three takes it: a release *is* a Secret.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from k8s_mcp_server.policy.decision import Decision, Reason, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.gateway.helm.records import ReleaseKey
    from k8s_mcp_server.gateway.helm.requests import ReleaseRequest
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.tools import Tool


class Shown(StrEnum):
    """How much of a release a client sees."""

    NOTHING = "nothing"
    METADATA = "metadata"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denies:
    """What denies leave, of the Secrets by their names and of the releases by theirs."""

    secrets: Decision
    releases: Decision

    def leave(self, key: ReleaseKey, *, namespace: str) -> bool:
        """Whether none takes this revision."""
        return _gives(self.secrets, namespace, key.secret) and _gives(self.releases, namespace, key.release)

    @property
    def denial(self) -> Decision | None:
        """The denial of the whole request, if there is one."""
        return next((each for each in (self.releases, self.secrets) if not each.allowed), None)

    @property
    def take_some(self) -> bool:
        """Whether they take something out of a list."""
        return self.secrets.cut is not None or self.releases.cut is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAccess:
    """The answer to one request about releases.

    Args:
        decision: what is recorded and told; a list's cut is in the others.
        info: what it is about: the request to the Secrets, or the virtual one.
        secrets, metadata, content: the decisions about each way to a release.
        denies: what denies of the Secrets and of ``releases`` leave.
    """

    decision: Decision
    info: RequestInfo
    secrets: Decision
    metadata: Decision
    content: Decision
    denies: Denies

    def shown(self, key: ReleaseKey, *, namespace: str) -> Shown:
        """How much of one revision the client sees."""
        if not self.denies.leave(key, namespace=namespace):
            return Shown.NOTHING
        if _gives(self.secrets, namespace, key.secret) or _gives(self.content, namespace, key.release):
            return Shown.WHOLE
        return Shown.METADATA if _gives(self.metadata, namespace, key.release) else Shown.NOTHING


async def authorize(
    request: ReleaseRequest, *, stored: tuple[RequestInfo, ...], authorizer: Authorizer, client: Client, tool: Tool
) -> ReleaseAccess:
    """The decision about a request of Helm's storage.

    Args:
        stored: every permission that the request to the Secrets needs.
    """
    for way in _ways(request, stored):
        await authorizer.authorize(way, client=client, tool=tool)  # looks up what is not known yet
    return decide_again(request, stored=stored, authorizer=authorizer, client=client, tool=tool)  # at one moment


def decide_again(
    request: ReleaseRequest, *, stored: tuple[RequestInfo, ...], authorizer: Authorizer, client: Client, tool: Tool
) -> ReleaseAccess:
    """As `authorize`, from what is known already, and of one moment."""
    ways = [authorizer.decide(way, client=client, tool=tool) for way in _ways(request, stored)]
    return _combined(request, ways, denies=_denies(request, authorizer, client=client, tool=tool))


def _ways(request: ReleaseRequest, stored: tuple[RequestInfo, ...]) -> tuple[tuple[RequestInfo, ...], ...]:
    """The permissions for each way: as Secrets, as metadata, as content."""
    return stored, request.rights, (request.content_right,) if request.operation.is_read else request.rights


def _denies(request: ReleaseRequest, authorizer: Authorizer, *, client: Client, tool: Tool) -> Denies:
    secrets, releases = (
        authorizer.decide_denies(info, client=client, tool=tool) for info in (request.info, request.rights[0])
    )
    return Denies(secrets=secrets, releases=releases)


def _combined(request: ReleaseRequest, ways: Sequence[Decision], *, denies: Denies) -> ReleaseAccess:
    """The widest way that is open decides; where none is, the denial of the right to releases is told."""
    secrets, metadata, content = ways
    decision, info = metadata, request.rights[0]
    if denies.denial is not None:
        decision = denies.denial
    elif secrets.allowed:  # over all ways, too, the strictest mode wins
        decision, info = replace(secrets, dry_run=secrets.dry_run or metadata.dry_run), request.info
    elif request.problem and metadata.allowed:
        decision = Decision(verdict=Verdict.DENY, reason=Reason.MALFORMED_REQUEST, message=request.problem)
    elif request.operation.is_read and content.allowed and (content.cut is None or not metadata.allowed):
        decision, info = content, request.content_right
    if denies.take_some and decision.verdict is Verdict.EXACT:
        decision = replace(decision, verdict=Verdict.FILTERED)
    return ReleaseAccess(
        decision=decision, info=info, secrets=secrets, metadata=metadata, content=content, denies=denies
    )


def _gives(decision: Decision, namespace: str, name: str) -> bool:
    if not decision.allowed:
        return False
    return decision.cut is None or decision.cut.allows(namespace=namespace, name=name)
