"""Runs buildah with a storage of the project's own, so that nobody else's images are touched."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from devtools.toolchain.cache import default_cache_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUILD_SECONDS: Final = 1200
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


class ImageError(Exception):
    """An image can't be built. The text shows what the builder said."""


class Buildah:
    """One storage of images."""

    def __init__(self) -> None:
        root = default_cache_dir() / "image"
        root.mkdir(parents=True, exist_ok=True)
        self._storage = ("--root", str(root / "storage"), "--runroot", str(root / "run"), "--storage-driver", "overlay")

    def has(self, name: str) -> bool:
        """Whether an image of that name is in the storage."""
        done = self._run("inspect", "--type", "image", name, check=False)
        return done.returncode == 0

    def build(self, context: Path, *, file: Path, name: str, arguments: tuple[str, ...] = ()) -> None:
        """Build `file` in `context`; `arguments` are further ones of `buildah bud`. Raises ImageError."""
        # What the commands of a build fetch, they check against what this machine trusts.
        trust = ("--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro") if _CERTIFICATES.exists() else ()
        common = ("--isolation=chroot", "--network=host", "--pull-never", "--layers", "--timestamp=0", *trust)
        self._run("bud", *common, *arguments, "--file", str(file), "--tag", name, str(context))

    def import_root(self, folder: Path, *, name: str) -> None:
        """Make an image of one layer out of the files in `folder`. Raises ImageError."""
        container = self._run("from", "scratch").stdout.strip()
        try:
            self._run("add", "--quiet", container, str(folder), "/")
            self._run("commit", "--quiet", "--timestamp=0", container, name)
        finally:
            self._run("rm", container, check=False)

    def save(self, name: str, archive: Path) -> None:
        """Write the image to an archive, uncompressed: it's read once, on this machine. Raises ImageError."""
        archive.unlink(missing_ok=True)
        self._run("push", "--quiet", name, f"docker-archive:{archive}:{name}")

    def tag(self, name: str, other: str) -> None:
        """Give the image another name too. Raises ImageError."""
        self._run("tag", name, other)

    @contextlib.contextmanager
    def mounted(self, name: str) -> Iterator[Path]:
        """Yield a folder with the image's files. Raises ImageError."""
        container = self._run("from", "--pull-never", name).stdout.strip()
        try:
            yield Path(self._run("mount", container).stdout.strip())
        finally:
            self._run("rm", container, check=False)

    def configuration(self, name: str) -> dict[str, Any]:
        """The image's `config` (OCI image-spec, config.md): user, labels, entry point. Raises ImageError."""
        values: dict[str, Any] = json.loads(self._run("inspect", "--type", "image", name).stdout)["OCIv1"]["config"]
        return values

    def _run(self, verb: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["buildah", *self._storage, verb, *arguments]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ImageError(f"buildah {verb}: {error}") from error
        if check and done.returncode != 0:
            last = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
            raise ImageError(f"buildah {verb}: exit code {done.returncode}:\n{last}")
        return done
