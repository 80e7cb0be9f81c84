"""Operations that a command began on releases, and what becomes of them when the command ends in their midst.

Helm writes a revision with a status ``pending-…`` before it acts, and another status when it is done. A process that is
killed in between leaves a release on which Helm refuses every further operation. The gateway sees both writes, so it
can do what Helm would have done: mark the revision ``failed``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from k8s_mcp_server.gateway.helm.records import ReleaseKey
    from k8s_mcp_server.gateway.helm.secrets import ReleaseSecret, StoredRelease
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.request import RequestInfo

MOST_BEGUN: Final = 16  # of one command; helm has one operation under way at a time
_ANSWER_SECONDS: Final = 5.0
_INTERRUPTED: Final = "Interrupted: the command ended before the operation was done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A revision that a command wrote as pending. Not the record itself, which may be large.

    Args:
        key, namespace: of the release.
        decision, info: by which it was allowed.
        digest: SHA-256 of the record as it was sent.
    """

    key: ReleaseKey
    namespace: str
    decision: Decision
    info: RequestInfo
    digest: bytes

    @property
    def path(self) -> str:
        """Of the Secret that holds the revision."""
        return f"/api/v1/namespaces/{self.namespace}/secrets/{self.key.secret}"

    def is_unchanged(self, stored: StoredRelease) -> bool:
        """Whether what is stored is what the command wrote, and nobody else's since."""
        return hashlib.sha256(stored.data.encode()).digest() == self.digest

    @staticmethod
    def ended(stored: StoredRelease) -> bytes:
        """The Secret with the revision marked ``failed``; it replaces this version and no later one."""
        release = stored.release
        record = release.record.failed(_INTERRUPTED)
        ended = replace(release, record=record, labels={**release.labels, "status": record.status})
        return ended.body(resource_version=stored.resource_version)


class Unfinished:
    """The revisions of one command that may be left pending."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, str], Begun] = {}
        self._sending: set[asyncio.Task[Any]] = set()

    def follow(self, sending: asyncio.Task[Any]) -> None:
        """A write is on its way."""
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def left(self) -> tuple[Begun, ...]:
        """Those that are left once the writes on their way have been answered, or after some seconds."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=_ANSWER_SECONDS)
        return tuple(self._begun.values())

    def writing(self, secret: ReleaseSecret, *, decision: Decision, info: RequestInfo) -> None:
        """A revision is about to be sent: from here on nobody knows whether it is stored, until an answer says so."""
        if secret.record.is_pending:
            digest = hashlib.sha256(base64.b64encode(secret.record.encode())).digest()
            self._begun[_place(secret)] = Begun(
                key=secret.key, namespace=secret.namespace, decision=decision, info=info, digest=digest
            )
            if len(self._begun) > MOST_BEGUN:
                del self._begun[next(iter(self._begun))]

    def wrote(self, secret: ReleaseSecret, *, accepted: bool) -> None:
        """The answer came."""
        if accepted is not secret.record.is_pending:
            self._begun.pop(_place(secret), None)

    def deleted(self, secret: ReleaseSecret) -> None:
        """The revision is gone."""
        self._begun.pop(_place(secret), None)


def _place(secret: ReleaseSecret) -> tuple[str, str]:
    return secret.namespace, secret.key.secret
