"""A Git repository that applications are made from, in a folder: Argo CD takes ``file://`` addresses as they are."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SECONDS = 30
_IDENTITY = ("-c", "user.name=fixture", "-c", "user.email=fixture@example.invalid", "-c", "commit.gpgsign=false")


class GitRepository:
    """One repository with one branch, ``main``.

    Args:
        folder: does not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")

    @property
    def url(self) -> str:
        """Its address for Argo CD."""
        return f"file://{self._folder}"

    def commit(self, files: Mapping[str, str]) -> str:
        """Write files, by path in the repository, and commit them; the commit's id."""
        for name, text in files.items():
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self._git("add", "--all")
        self._git(*_IDENTITY, "commit", "--quiet", "--message=fixture")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self._folder), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *arguments],
            cwd=self._folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
        return done.stdout
