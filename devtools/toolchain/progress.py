"""Says what the builder does: a line per tool, and on a terminal a live line under it while a tool is built."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import TextIO

    from devtools.toolchain.catalog import GoTool

_BAR_WIDTH = 24
_REDRAW_SECONDS = 0.1


class Progress(Protocol):
    """What `ensure_tools` reports, in this order; `k` counts from 1 to `n`."""

    live: bool
    """Whether somebody watches: only then is the number of packages worth finding out."""

    def waiting(self) -> None:
        """Another process is building; this one goes on when it has finished."""

    def started(self, tool: GoTool, *, k: int, n: int) -> None:
        """A build begins."""

    def compiled(self, packages: int, *, of: int) -> None:
        """So many packages of the running build are compiled; `of` is 0 when the number isn't known."""

    def finished(self, tool: GoTool, *, k: int, n: int, how: str, seconds: float) -> None:
        """A tool is there; `how` is "built", "in the cache" or "in KUBEBUILDER_ASSETS"."""


class ConsoleProgress:
    """`Progress` for people and logs. Everything goes to stderr: stdout is for paths."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self.live = self._stream.isatty()
        self._headline = ""
        self._began = self._drawn = 0.0

    def waiting(self) -> None:
        """See `Progress`."""
        self._line("another build is running; waiting for it")

    def started(self, tool: GoTool, *, k: int, n: int) -> None:
        """See `Progress`."""
        self._headline = f"[{k}/{n}] {tool.name} {tool.version}"
        self._began, self._drawn = time.monotonic(), 0.0
        if self.live:
            self._draw(f"{self._headline} · fetching its modules")
        else:
            self._line(f"{self._headline} · building")

    def compiled(self, packages: int, *, of: int) -> None:
        """See `Progress`."""
        now = time.monotonic()
        if not self.live or now - self._drawn < _REDRAW_SECONDS:
            return
        self._drawn = now
        filled = min(_BAR_WIDTH, _BAR_WIDTH * packages // of) if of else 0
        bar = "█" * filled + "░" * (_BAR_WIDTH - filled)
        count = f"{packages}/{of}" if of else str(packages)
        self._draw(f"{self._headline} {bar} {count} packages · {_duration(now - self._began)}")

    def finished(self, tool: GoTool, *, k: int, n: int, how: str, seconds: float) -> None:
        """See `Progress`."""
        elapsed = f" · {_duration(seconds)}" if how == "built" else ""
        self._line(f"[{k}/{n}] {tool.name} {tool.version} · {how}{elapsed}")

    def _line(self, text: str) -> None:
        clear = "\r\x1b[K" if self.live else ""
        self._stream.write(f"{clear}{text}\n")
        self._stream.flush()

    def _draw(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        self._stream.write(f"\r\x1b[K{text[:width]}")
        self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
