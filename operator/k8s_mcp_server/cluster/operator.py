"""The operator thread: an event loop of its own for what the service itself asks of the API server.

Listing and compiling thousands of policies must not delay an agent's request by more than the interpreter's
own switching. A supervisor starts the work again when it dies, ever more slowly.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from k8s_mcp_server.errors import Unavailable

if TYPE_CHECKING:
    from k8s_mcp_server.cluster.store import PolicyStore, Resource

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
Main = Callable[[asyncio.Event], Coroutine[Any, Any, None]]


class Call(Protocol):
    """Runs ``work`` in the operator's loop and waits for its result in the caller's (see ``OperatorThread.call``)."""

    async def __call__(self, work: Callable[[], Awaitable[Result]], *, timeout: float) -> Result:  # noqa: ASYNC109  crosses loops
        """The result of ``work``; raises Unavailable when there is none in time."""
        ...


FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 30.0
_STEADY_SECONDS: Final = 60.0
_PUBLISH_SECONDS: Final = 0.1


class Backoff:
    """Waits that double with each failure and start over after a steady run. In seconds."""

    def __init__(self, *, first: float = FIRST_BACKOFF, longest: float = LONGEST_BACKOFF) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def after(self, *, ran_for: float) -> float:
        """How long to wait after a run that lasted so long."""
        if ran_for >= _STEADY_SECONDS:
            self._next = self._first
        wait, self._next = self._next, min(self._next * 2, self._longest)
        return wait


class OperatorThread:
    """Runs ``main`` in a thread and event loop of its own, and again when it fails.

    Args:
        main: the work; ends when its event is set, and closes what it opened.
        backoff: how long to wait between two runs.
        restarted: called at each restart.
    """

    def __init__(
        self, main: Main, *, backoff: Backoff | None = None, restarted: Callable[[], None] = lambda: None
    ) -> None:
        self._main = main
        self._backoff = backoff or Backoff()
        self._restarted = restarted
        self._thread = threading.Thread(target=lambda: asyncio.run(self._supervise()), name="operator", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; returns when its loop runs. Only once."""
        self._thread.start()
        self._started.wait()

    def stop(self, *, timeout: float = 5.0) -> bool:
        """End the thread, waiting for at most ``timeout`` seconds. Says whether it ended."""
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(timeout)
        return not self._thread.is_alive()

    async def call(self, work: Callable[[], Awaitable[Result]], *, timeout: float) -> Result:  # noqa: ASYNC109  crosses loops
        """Run ``work`` in the operator thread's loop and wait for its result in this one.

        Args:
            work: called in the other loop.
            timeout: seconds to wait for the result.

        Raises:
            Unavailable: the thread does not run, ended meanwhile, or took too long; or ``work`` raised it.
        """
        outcome: Future[Result] = Future()
        if self._loop is None or not self.alive:
            raise Unavailable("the operator thread does not run")
        try:
            self._loop.call_soon_threadsafe(lambda: _start(work, outcome))
        except RuntimeError as error:
            raise Unavailable("the operator thread has ended") from error
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(outcome)
        except TimeoutError as error:
            raise Unavailable("the operator thread took too long") from error

    async def _supervise(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                await self._main(self._stop)
            except Exception:
                logger.exception("The operator failed; it is started again.")
            if not self._stop.is_set():
                self._restarted()
                wait = self._backoff.after(ran_for=time.monotonic() - began)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), wait)


def _start(work: Callable[[], Awaitable[Result]], outcome: Future[Result]) -> None:
    async def run() -> Result:
        return await work()

    def finish(task: asyncio.Task[Result]) -> None:
        if outcome.cancelled():
            return
        if task.cancelled():
            outcome.set_exception(Unavailable("the operator thread is ending"))
        elif (error := task.exception()) is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(task.result())

    if outcome.set_running_or_notify_cancel():
        asyncio.get_running_loop().create_task(run()).add_done_callback(finish)


class Publisher:
    """Makes events visible at once when they are rare and in batches when they are many: each snapshot is built anew.

    Args:
        store: what is published.
        interval: seconds between two snapshots at least.
    """

    def __init__(self, store: PolicyStore, *, interval: float = _PUBLISH_SECONDS) -> None:
        self._store = store
        self._interval = interval
        self._earliest = 0.0
        self._pending: asyncio.TimerHandle | None = None

    def take(self, resource: Resource, event_type: str | None, body: Mapping[str, Any]) -> None:
        """Take one event, in the operator's loop."""
        if self._store.apply(resource, event_type, body) and self._pending is None:
            loop = asyncio.get_running_loop()
            self._pending = loop.call_at(max(loop.time(), self._earliest), self._publish)

    def _publish(self) -> None:
        self._pending = None
        self._earliest = asyncio.get_running_loop().time() + self._interval
        self._store.publish()
