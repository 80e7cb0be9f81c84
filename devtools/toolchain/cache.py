"""The per-user cache of finished binaries.

A build is written to a temporary folder and renamed into place, so a name that exists is a finished build. Entries
are never changed: whatever could change the bytes (module files, sources, Go version, flags, platform) is in the key.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.toolchain.errors import ToolchainError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.toolchain.catalog import GoTool
    from devtools.toolchain.go import GoVersion

_UNFINISHED = ".unfinished-"


def default_cache_dir() -> Path:
    """Return `$XDG_CACHE_HOME/k8s-mcp-server`, `~/.cache/k8s-mcp-server` when it isn't an absolute path."""
    stated = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG base directory specification: relative paths are to be ignored.
    base = stated if stated.is_absolute() else Path.home() / ".cache"
    return base / "k8s-mcp-server"


@dataclass(frozen=True, slots=True)
class BuildCache:
    """Finished binaries under `root`/tools."""

    root: Path

    @property
    def tools(self) -> Path:
        """The folder that holds one folder per finished build."""
        return self.root / "tools"

    def path(self, tool: GoTool, *, go: GoVersion, flags: tuple[str, ...]) -> Path:
        """Return where the binary of exactly these inputs is, or would be."""
        digest = hashlib.sha256()
        for part in (
            (tool.folder / "go.mod").read_bytes(),
            (tool.folder / "go.sum").read_bytes(),
            *(source.read_bytes() for source in sorted(tool.folder.glob("*.go"))),
            tool.package.encode(),
            "\0".join((go.version, go.os, go.arch, *flags)).encode(),
        ):
            digest.update(hashlib.sha256(part).digest())
        return self.tools / f"{tool.name}-{tool.version}-{digest.hexdigest()[:16]}" / tool.name

    @contextlib.contextmanager
    def lock(self, *, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold the cache for building; `on_wait` is called once when somebody else holds it.

        The kernel releases the lock with its process, however that ends.
        """
        try:
            self.tools.mkdir(parents=True, exist_ok=True)
            handle = (self.root / "toolchain.lock").open("w", encoding="utf-8")
        except OSError as error:
            raise ToolchainError(f"can't write to {self.root}: {error.strerror}; set XDG_CACHE_HOME") from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(handle, fcntl.LOCK_EX)
            self._sweep()
            yield

    @contextlib.contextmanager
    def publish(self, target: Path) -> Iterator[Path]:
        """Yield a path to build to; on success it becomes `target`, on failure nothing is left."""
        scratch = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.tools))
        try:
            yield scratch / target.name
            scratch.chmod(0o755)
            scratch.rename(target.parent)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what interrupted builds left; the caller holds the lock, so nobody is writing there."""
        for leftover in self.tools.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover, ignore_errors=True)
