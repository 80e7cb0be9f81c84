"""A `go` made of a few lines of shell, to test what the builder does around `go build`."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.toolchain.catalog import GoTool

_FAKE_GO = """#!/bin/sh
case "$1" in
  env)
    cat "$FAKE_GO/env"
    cat "$FAKE_GO/env-errors" >&2
    exit "$(cat "$FAKE_GO/env-exit")" ;;
  list) echo example.test/a; echo example.test/b; exit 0 ;;
esac
output= previous=
for argument; do
  [ "$previous" = -o ] && output="$argument"
  previous="$argument"
done
printf '%s CGO_ENABLED=%s GOTOOLCHAIN=%s\\n' "$*" "$CGO_ENABLED" "$GOTOOLCHAIN" >> "$FAKE_GO/builds"
echo example.test/a >&2
. "$FAKE_GO/build"
"""
_BUILDS = """
echo '#!/bin/sh' > "$output"
echo 'echo built' >> "$output"
chmod +x "$output"
"""


@dataclass(frozen=True, slots=True)
class FakeGo:
    """The fake `go`, what it answers, and what it was asked for."""

    folder: Path

    def install(self) -> None:
        """Make the executable, which answers and builds until it is told otherwise."""
        self.bin.mkdir(parents=True)
        executable = self.bin / "go"
        executable.write_text(_FAKE_GO)
        executable.chmod(0o755)
        self.answers_env()
        self.builds_by()

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def answers_env(self, *, version: str = "go1.26.8", errors: str = "", code: int = 0) -> None:
        values = f'{{"GOVERSION": "{version}", "GOOS": "linux", "GOARCH": "amd64"}}' if code == 0 else ""
        (self.folder / "env").write_text(values)
        (self.folder / "env-errors").write_text(errors)
        (self.folder / "env-exit").write_text(str(code))

    def builds_by(self, script: str = _BUILDS) -> None:
        """`script` is run for `go build`, with `$output` the file to write."""
        (self.folder / "build").write_text(script)

    @property
    def builds(self) -> list[str]:
        log = self.folder / "builds"
        return log.read_text().splitlines() if log.exists() else []


@dataclass(slots=True)
class Recorder:
    """A `Progress` that writes down what it was told."""

    live: bool = False
    events: list[str] = field(default_factory=list)
    waits: threading.Event = field(default_factory=threading.Event)

    def waiting(self) -> None:
        self.waits.set()

    def started(self, tool: GoTool, *, k: int, n: int) -> None:
        self.events.append(f"{k}/{n} {tool.name} {tool.version} started")

    def compiled(self, packages: int, *, of: int) -> None:
        self.events.append(f"{packages}/{of} packages")

    def ended(self) -> None:
        self.events.append("ended")

    def finished(self, tool: GoTool, *, k: int, n: int, how: str, seconds: float) -> None:
        assert seconds >= 0
        self.events.append(f"{k}/{n} {tool.name} {tool.version} {how}")
