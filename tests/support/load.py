"""MCP clients that keep calling, some over one connection and some over a new one each time, and what they got."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from k8s_mcp_server.serving.form import fields_of

if TYPE_CHECKING:
    from tests.support.agent import Agent

_CALL_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
_STOP_SECONDS = 90.0
_FIRST_SECONDS = 30.0


@dataclass(slots=True)
class Calls:
    """What the clients got so far.

    Args:
        answered: how many calls had a result with the status that was wanted.
        failures: a line per call that had not.
        longest: seconds of the slowest answered call.
    """

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    longest: float = 0.0


class Load:
    """Clients that call from `__enter__` to `__exit__`, in a thread of their own.

    Args:
        agent: who they all are.
        command: of kubectl; what it answers is not looked at beyond its status.
        keeping: clients that keep one connection, as long as the server lets them.
        renewing: clients that open a new one for each call.
    """

    def __init__(self, agent: Agent, command: str, *, keeping: int = 3, renewing: int = 2) -> None:
        self.calls = Calls()
        self._agent = agent
        self._command = command
        self._counts = (keeping, renewing)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        self.more(sum(self._counts), within=_FIRST_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_STOP_SECONDS)
        assert not self._thread.is_alive(), "the clients do not end"

    def more(self, number: int, *, within: float = _CALL_SECONDS) -> None:
        """Return when so many more calls were answered or failed; fail when that takes too long."""
        wanted = self._done() + number
        deadline = time.monotonic() + within
        while self._done() < wanted:
            assert time.monotonic() < deadline, f"{wanted - self._done()} calls short: {self.calls}"
            time.sleep(_PAUSE_SECONDS)

    def _done(self) -> int:
        return self.calls.answered + len(self.calls.failures)

    async def _run(self) -> None:
        keeping, renewing = self._counts
        async with asyncio.TaskGroup() as clients:
            for _ in range(keeping):
                clients.create_task(self._keep_calling(renew=False))
            for _ in range(renewing):
                clients.create_task(self._keep_calling(renew=True))

    async def _keep_calling(self, *, renew: bool) -> None:
        headers = {"Authorization": f"Bearer {self._agent.token}", "Host": self._agent.host}
        while not self._stop.is_set():
            try:
                async with (
                    httpx2.AsyncClient(headers=headers, timeout=_CALL_SECONDS) as http,
                    Client(streamable_http_client(self._agent.url, http_client=http)) as client,
                ):
                    while not self._stop.is_set():
                        await self._call(client)
                        if renew:
                            break
            except Exception as error:  # noqa: BLE001 - whatever a client sees is a finding
                self.calls.failures.append(f"{type(error).__name__}: {_innermost(error)!r}")
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _call(self, client: Client) -> None:
        began = time.monotonic()
        result = await client.call_tool("execute_kubectl", {"command": self._command})
        status = fields_of(result).get("status")
        if status == "succeeded":
            self.calls.answered += 1
            self.calls.longest = max(self.calls.longest, time.monotonic() - began)
        else:
            self.calls.failures.append(" ".join(block.text for block in result.content if block.type == "text")[:300])
        await asyncio.sleep(_PAUSE_SECONDS)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
