"""The helm caches of this replica: one folder for each client, none of which another client's command can open."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.execution.workdir import remove_tree

if TYPE_CHECKING:
    from k8s_mcp_server.policy.identity import Client

MOST_BYTES: Final = 64 * 1024 * 1024  # of one client, before a command; a command adds what it may fetch at most
MOST_CLIENTS: Final = 32  # and those whose commands run
FRESH_SECONDS: Final = 300.0
_FOLDER: Final = "helm-cache"


class HelmCache:
    """Gives each client its folder.

    Args:
        parent: where they are made; private to this server.
    """

    def __init__(self, parent: Path) -> None:
        self._root = parent / _FOLDER
        self._lock = threading.Lock()  # commands are prepared in several threads

    def folder(self, client: Client, *, running: frozenset[str] = frozenset()) -> Path:
        """The client's folder, cut to its bound; blocks. The clients who were here longest ago lose theirs.

        Args:
            running: the usernames of those whose commands run now, who keep theirs.
        """
        with self._lock:
            return self._folder(client.username, running)

    def _folder(self, username: str, running: frozenset[str]) -> Path:
        folder = self._of(username)
        for each in (folder / "repository", folder / "content"):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.utime(folder)
        kept = {folder, *map(self._of, running)}
        others = sorted((path for path in self._root.iterdir() if path not in kept), key=_modified)
        for path in others[: max(0, len(others) + 1 - MOST_CLIENTS)]:
            with suppress(OSError):  # one that began since the look writes to it: the next removes the rest
                remove_tree(path)
        _cut(folder)
        return folder

    def _of(self, username: str) -> Path:
        return self._root / hashlib.sha256(username.encode()).hexdigest()[:32]

    def clear(self) -> None:
        """Remove what a process before left."""
        if self._root.exists():
            remove_tree(self._root)


def stale_indexes(folder: Path, names: tuple[str, ...], *, now: float | None = None) -> tuple[str, ...]:
    """The repositories whose index is missing or older than five minutes."""
    now = time.time() if now is None else now
    return tuple(
        name for name in names if now - _modified(folder / "repository" / f"{name}-index.yaml") > FRESH_SECONDS
    )


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _cut(folder: Path) -> None:
    """Remove the oldest files until the rest is within the bound."""
    found = [(status, path) for path in _files(folder) if (status := _status(path)) is not None]
    size = sum(status.st_size for status, _ in found)
    for status, path in sorted(found, key=lambda item: item[0].st_mtime):
        if size <= MOST_BYTES and not path.is_symlink():
            continue
        path.unlink(missing_ok=True)
        size -= status.st_size


def _files(folder: Path) -> list[Path]:
    """Its files and links; what other commands of the client's move or remove meanwhile may be among them, or not."""
    return [Path(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files)]


def _status(path: Path) -> os.stat_result | None:
    """None for a folder, and for what is gone."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return None if stat.S_ISDIR(status.st_mode) else status
