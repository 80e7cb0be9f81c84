"""The base image of the Dockerfile, made of Debian's packages: what a registry would give under the same name.

Debian's own image of that name is made the same way (debootstrap's smallest variant, without documentation). Ours has
`ca-certificates` from the start.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from devtools.image.buildah import ImageError

if TYPE_CHECKING:
    from devtools.image.buildah import Buildah

RELEASE: Final = "trixie"
BASE: Final = f"docker.io/library/debian:{RELEASE}-slim"
_MIRROR: Final = "http://deb.debian.org"
_KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SECONDS: Final = 900
_LEFT_OUT: Final = ("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "var/cache/apt")
_SOURCES: Final = f"""\
Types: deb
URIs: {_MIRROR}/debian
Suites: {RELEASE} {RELEASE}-updates
Components: main
Signed-By: {_KEYRING}

Types: deb
URIs: {_MIRROR}/debian-security
Suites: {RELEASE}-security
Components: main
Signed-By: {_KEYRING}
"""
_NO_CACHES: Final = 'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
_NO_DOCUMENTATION: Final = "".join(f"path-exclude /{folder}/*\n" for folder in _LEFT_OUT[:-1])


def ensure_base(buildah: Buildah) -> None:
    """Make the base image unless the storage has it. Raises ImageError."""
    if buildah.has(BASE):
        return
    with tempfile.TemporaryDirectory(prefix="k8s-mcp-base-", dir="/var/tmp") as scratch:
        root = Path(scratch) / "root"
        _debootstrap(root)
        _slim(root)
        buildah.import_root(root, name=BASE)


def _debootstrap(root: Path) -> None:
    options = ("--variant=minbase", "--include=ca-certificates", f"--keyring={_KEYRING}")
    command = ["debootstrap", *options, RELEASE, str(root), f"{_MIRROR}/debian"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"debootstrap: {error}") from error
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise ImageError(f"debootstrap: exit code {done.returncode}:\n{last}")


def _slim(root: Path) -> None:
    for name in _LEFT_OUT:
        for entry in (root / name).iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    lists = root / "var/lib/apt/lists"
    shutil.rmtree(lists)
    (lists / "partial").mkdir(parents=True)
    (root / "etc/dpkg/dpkg.cfg.d/no-documentation").write_text(_NO_DOCUMENTATION, encoding="ascii")
    (root / "etc/apt/apt.conf.d/no-caches").write_text(_NO_CACHES, encoding="ascii")
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    (root / f"etc/apt/sources.list.d/{RELEASE}.sources").write_text(_SOURCES, encoding="ascii")
