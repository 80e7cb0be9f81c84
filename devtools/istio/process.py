"""One local process of the mesh: its log, its readiness, its end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.1
_SHOWN_LINES = 20


class MeshError(RuntimeError):
    """A part of the mesh did not start, or ended."""


class LocalProcess:
    """A program that runs until ``stop``.

    Args:
        name: for messages.
        command: what is run; its output goes into ``log``.
        environment: all of it.
        folder: where it runs.
        log: a file that is made anew.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        self._name = name
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                list(command),
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until ``ready`` says so.

        Raises:
            MeshError: the process ended, or a minute passed.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:])
                raise MeshError(f"{self._name} is not ready (exit code {self._process.poll()}):\n{tail}")
            time.sleep(_POLL_SECONDS)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """It does nothing until the end of the block, and its connections stay."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_SECONDS)
