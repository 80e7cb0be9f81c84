"""The warnings of policies: what their own rules amount to, and who could become one of their clients."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.compile import CompiledPolicy, InvalidPolicy, Policy
from k8s_mcp_server.policy.forging import Forgers
from k8s_mcp_server.policy.notices import Notice, notices, notices_on_subjects

if TYPE_CHECKING:
    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.snapshot import Snapshot

# Looking through all policies for forgers may take this part of the time: with many, it is done less often.
_SHARE: Final = 0.1


class Warnings:
    """Says what should be known about each policy.

    Args:
        environment: decides which namespaces a rule reaches.
        now: the time, aware.
        clock: seconds.
    """

    def __init__(
        self, *, environment: Environment, now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._environment = environment
        self._now = now
        self._clock = clock
        self._snapshot: Snapshot | None = None
        self._forgers: Forgers | None = None
        self._stale_at = -math.inf

    def about(self, policy: Policy, snapshot: Snapshot) -> tuple[Notice, ...]:
        """The warnings about a policy that was given the rules of its roles; an invalid one gives nothing."""
        if isinstance(policy, InvalidPolicy):
            return ()
        return (*notices(policy.rules), *notices_on_subjects(policy, self._forgers_in(snapshot)))

    def _forgers_in(self, snapshot: Snapshot) -> Forgers:
        began = self._clock()
        if self._forgers is not None and (snapshot is self._snapshot or began < self._stale_at):
            return self._forgers
        followed = (snapshot.following(policy) for policy in snapshot.policies.values())
        self._forgers = Forgers.among(
            (policy for policy in followed if isinstance(policy, CompiledPolicy)),
            namespaces=snapshot.namespaces,
            environment=self._environment,
            now=self._now(),
        )
        self._snapshot, ended = snapshot, self._clock()
        self._stale_at = ended + (ended - began) / _SHARE
        return self._forgers
