"""Whether a command may start now: places in this replica, and each client's share of them.

A client can hold at most its own limit of places, running and waiting together, so that the first-come queue stays
fair: nobody can fill it alone. Refusals say when to try again.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.errors import K8sMcpError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from k8s_mcp_server.policy.identity import Authenticator, Client
    from k8s_mcp_server.policy.limits import Limits
    from k8s_mcp_server.telemetry.metrics import Metrics

_SECONDS_PER_MINUTE: Final = 60
_RETRY_WHEN_BUSY: Final = 2.0
_CLIENTS_REMEMBERED: Final = 10_000


class NotAdmittedError(K8sMcpError):
    """A command that cannot start now.

    Args:
        reason: stable word: ``TooManyCommands`` and ``RateLimited`` are the client's own, ``QueueFull``,
            ``QueueTimeout`` and ``Draining`` the replica's.
        message: what is exhausted.
        retry_after: seconds after which it may work.
    """

    def __init__(self, reason: str, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def is_own_limit(self) -> bool:
        """Whether the client's own limit was reached, not the replica's."""
        return self.reason in {"TooManyCommands", "RateLimited"}


@dataclass(slots=True, kw_only=True)
class _Share:
    """One client's places and tokens. A full bucket holds a minute's worth of commands."""

    tokens: float
    refilled_at: float
    held: int = field(default=0)

    def refill(self, *, now: float, per_minute: int) -> None:
        earned = (now - self.refilled_at) * per_minute / _SECONDS_PER_MINUTE
        self.tokens = min(float(per_minute), self.tokens + max(0.0, earned))
        self.refilled_at = now


class Admission:
    """Places for commands in this replica. Lives in one event loop.

    Args:
        max_running: commands of all clients at once.
        max_queued: commands that wait; more are refused.
        queue_seconds: how long one waits.
        metrics: told of the queue's length.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        max_running: int,
        max_queued: int,
        queue_seconds: float,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._places = asyncio.Semaphore(max_running)
        self._max_queued = max_queued
        self._queue_seconds = queue_seconds
        self._metrics = metrics
        self._clock = clock
        self._waiting = 0
        self._running = 0
        self._draining = False
        self._freed = asyncio.Event()
        self._shares: dict[tuple[Authenticator, str], _Share] = {}

    @property
    def running(self) -> int:
        """Commands that hold a place now."""
        return self._running

    @property
    def draining(self) -> bool:
        """Whether new commands are refused because the replica stops."""
        return self._draining

    async def wait_until_idle(self) -> None:
        """Until no command holds a place."""
        while self._running:
            self._freed.clear()
            await self._freed.wait()

    def drain(self) -> None:
        """Refuse new commands from now on."""
        self._draining = True

    @asynccontextmanager
    async def place(self, client: Client, *, limits: Limits, processes: int = 1) -> AsyncIterator[None]:
        """Hold a place for one command of ``client``.

        Args:
            client: whose share it is taken from.
            limits: the client's.
            processes: how many of the client's own places it takes: one for each time that it runs a CLI. More than
                the client may have take them all, so that a pipeline can run where nothing else does.

        Raises:
            NotAdmittedError: a limit is reached, or the wait was too long.
        """
        if self._draining:
            raise NotAdmittedError("Draining", "this replica is stopping", retry_after=_RETRY_WHEN_BUSY)
        share = self._share(client, limits=limits)
        wanted = min(processes, limits.concurrent_commands)
        if share.held + wanted > limits.concurrent_commands:
            raise NotAdmittedError(
                "TooManyCommands",
                f"you have {share.held} commands running or waiting, counting each CLI of a pipeline, and may have "
                f"{limits.concurrent_commands}; this one counts {wanted}",
                retry_after=_RETRY_WHEN_BUSY,
            )
        if share.tokens < 1:
            wait = (1 - share.tokens) * _SECONDS_PER_MINUTE / limits.commands_per_minute
            raise NotAdmittedError(
                "RateLimited",
                f"you may run {limits.commands_per_minute} commands a minute",
                retry_after=math.ceil(wait * 10) / 10,
            )
        if self._places.locked() and self._waiting >= self._max_queued:
            raise NotAdmittedError("QueueFull", "too many commands wait already", retry_after=_RETRY_WHEN_BUSY)
        share.tokens -= 1
        share.held += wanted
        try:
            await self._take_place()
            try:
                yield
            finally:
                self._running -= 1
                self._freed.set()
                self._places.release()
        finally:
            share.held -= wanted

    async def _take_place(self) -> None:
        self._waiting += 1
        self._metrics.command_queued(1)
        try:
            async with asyncio.timeout(self._queue_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise NotAdmittedError(
                "QueueTimeout", "no place became free in time", retry_after=_RETRY_WHEN_BUSY
            ) from None
        finally:
            self._waiting -= 1
            self._metrics.command_queued(-1)
        self._running += 1

    def _share(self, client: Client, *, limits: Limits) -> _Share:
        now = self._clock()
        key = (client.authenticator, client.username)
        share = self._shares.get(key)
        if share is None:
            self._forget_full_buckets(now)
            share = self._shares[key] = _Share(tokens=float(limits.commands_per_minute), refilled_at=now)
        share.refill(now=now, per_minute=limits.commands_per_minute)
        return share

    def _forget_full_buckets(self, now: float) -> None:
        """When very many clients are remembered, drop those whose bucket is full again anyway."""
        if len(self._shares) < _CLIENTS_REMEMBERED:
            return
        self._shares = {
            key: share
            for key, share in self._shares.items()
            if share.held or now - share.refilled_at < _SECONDS_PER_MINUTE
        }
