"""Says what the builder does: a line per tool, and on a terminal a live line under it while a tool is built."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import TextIO

    from devtools.toolchain.catalog import GoTool

_BAR_WIDTH = 24
_CLEAR = "\r\x1b[K"
_REDRAW_SECONDS = 0.2


class Progress(Protocol):
    """What `ensure_tools` reports; `k` counts from 1 to `n`.

    A tool that is there only gets `finished`. One that is built gets `started`, `compiled` per package, `ended`
    whether or not the build worked, and `finished` if it did.
    """

    live: bool
    """Whether somebody watches: only then is the number of packages worth finding out."""

    def waiting(self) -> None:
        """Another process is building; this one goes on when that has finished."""

    def started(self, tool: GoTool, *, k: int, n: int) -> None:
        """A build begins."""

    def compiled(self, packages: int, *, of: int) -> None:
        """So many packages of the running build are compiled; `of` is 0 when the number isn't known."""

    def ended(self) -> None:
        """The running build is over."""

    def finished(self, tool: GoTool, *, k: int, n: int, how: str, seconds: float) -> None:
        """A tool is there; `how` is "built", "in the cache" or "in KUBEBUILDER_ASSETS"."""


class ConsoleProgress:
    """`Progress` for people and logs. Everything goes to stderr: stdout is for paths.

    Args:
        stream: where it goes; stderr when None.
        only_builds: say nothing of tools that are there already.
    """

    def __init__(self, stream: TextIO | None = None, *, only_builds: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._only_builds = only_builds
        self.live = self._stream.isatty()
        self._headline = ""
        self._count = (0, 0)
        self._began = 0.0
        self._over = threading.Event()
        self._drawing: threading.Thread | None = None

    def waiting(self) -> None:
        """See `Progress`."""
        self._write("another build is running; waiting for it\n")

    def started(self, tool: GoTool, *, k: int, n: int) -> None:
        """See `Progress`."""
        self._headline = f"[{k}/{n}] {tool.name} {tool.version}"
        self._count, self._began = (0, 0), time.monotonic()
        if not self.live:
            self._write(f"{self._headline} · building\n")
            return
        self._over.clear()
        self._drawing = threading.Thread(target=self._draw_until_over, name="progress", daemon=True)
        self._drawing.start()

    def compiled(self, packages: int, *, of: int) -> None:
        """See `Progress`."""
        self._count = (packages, of)

    def ended(self) -> None:
        """See `Progress`."""
        if self._drawing is not None:
            self._over.set()
            self._drawing.join()
            self._drawing = None
            self._write(_CLEAR)

    def finished(self, tool: GoTool, *, k: int, n: int, how: str, seconds: float) -> None:
        """See `Progress`."""
        if self._only_builds and how != "built":
            return
        elapsed = f" · {_duration(seconds)}" if how == "built" else ""
        self._write(f"[{k}/{n}] {tool.name} {tool.version} · {how}{elapsed}\n")

    def _draw_until_over(self) -> None:
        over = False
        while not over:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"{_CLEAR}{self._live_line()[:width]}")
            over = self._over.wait(_REDRAW_SECONDS)

    def _live_line(self) -> str:
        packages, of = self._count
        filled = min(_BAR_WIDTH, _BAR_WIDTH * packages // of) if of else 0
        bar = "█" * filled + "░" * (_BAR_WIDTH - filled)
        doing = f"{packages} of {of} packages" if of else f"{packages} packages" if packages else "building"
        return f"{self._headline} {bar} {doing} · {_duration(time.monotonic() - self._began)}"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
