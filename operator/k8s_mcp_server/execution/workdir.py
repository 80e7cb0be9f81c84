"""A command's private folder: its kubeconfig with the one-shot token, its home, the files that it works with, and
scratch space for ``sort``.

Nobody but the command's own processes can open it (mode 0700, and no other sandbox profile names it), and it is
always removed.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.execution.limits import MEBIBYTE

if TYPE_CHECKING:
    from k8s_mcp_server.execution.pipeline import ChartAccess
    from k8s_mcp_server.execution.result import ApiAccess

QUOTA_BYTES: Final = 64 * MEBIBYTE
QUOTA_ENTRIES: Final = 10_000
MOST_FILES_KEPT: Final = 64
ACCOUNT_PREFIX: Final = "account-"
"""How the folder of `service_account` begins."""

REPOSITORIES: Final = "repositories.yaml"
REGISTRIES: Final = "config.json"
AUTHORITIES: Final = "authorities.pem"
_PREFIX: Final = "command-"
_BLOCK: Final = 512  # the unit of st_blocks (stat(2))


class Workdir:
    """The folders of one command.

    Args:
        parent: where to make it; must exist.
        access: what the kubeconfig says; None for a command without API access, which gets no kubeconfig.
        files: put into ``work`` by their relative names, which have been checked.
    """

    def __init__(self, parent: Path, *, access: ApiAccess | None, files: Mapping[str, bytes] | None = None) -> None:
        self._given = files or {}
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self.access = access
        self.kubeconfig = self.path / "kubeconfig"
        self.authority = self.path / "gateway.crt"
        self.home = self.path / "home"
        self.temporary = self.home / "tmp"
        self.work = self.path / "work"
        try:
            self.temporary.mkdir(parents=True)
            self.work.mkdir()
            for name, content in self._given.items():
                path = self.work / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            if access is not None:
                self.authority.write_text(access.ca_pem, encoding="ascii")
                descriptor = os.open(self.kubeconfig, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(kubeconfig_text(access))
        except OSError:
            self.remove()
            raise

    @property
    def temporary_from_work(self) -> str:
        """The folder for temporary files as seen from the one that commands work in."""
        return os.path.relpath(self.temporary, self.work)

    def scratch(self, name: str) -> Path:
        """Make one more folder, beside the home: for a process that must not see the kubeconfig."""
        path = self.path / name
        path.mkdir(mode=0o700)
        return path

    def charts(self, access: ChartAccess) -> Path:
        """A folder with helm's settings about chart hosts, which it may read; made once."""
        path = self.path / "charts"
        if not path.exists():
            path.mkdir(mode=0o700)
            authorities = (self.access.ca_pem if self.access else "").encode() + b"\n" + access.authorities
            for name, content in (
                (REPOSITORIES, access.repositories),
                (REGISTRIES, access.registries),
                (AUTHORITIES, authorities),
            ):
                (path / name).write_bytes(content)
        return path

    def over_quota(self, *, removed_bytes: int = 0) -> bool:
        """Whether the folder has grown beyond 64 MiB or 10,000 entries; stops counting there.

        Args:
            removed_bytes: size of the files that were in it and are still held open.
        """
        size, entries = removed_bytes, 0
        folders = [self.path]
        while folders:
            try:
                with os.scandir(folders.pop()) as listing:
                    for entry in listing:
                        entries += 1
                        size += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(Path(entry.path))
                        if size > QUOTA_BYTES or entries > QUOTA_ENTRIES:
                            return True
            except OSError:  # removed, or made unreadable, while we look
                continue
        return size > QUOTA_BYTES

    def changed_files(self, *, max_bytes: int) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """What the command has left in ``work`` that was not given: files by name, and the names of those left out.

        Its processes must have ended. Only regular files are read, at most 64, and no symbolic link is followed.

        Args:
            max_bytes: of all of them; a file that does not fit any more is left out.
        """
        kept: dict[str, bytes] = {}
        left_out: list[str] = []
        for name, path in _walk(self.work):
            content = _read_regular(path, max_bytes=max(max_bytes, len(self._given.get(name, b""))))
            if content is not None and content == self._given.get(name):
                continue
            if content is not None and len(content) <= max_bytes and len(kept) < MOST_FILES_KEPT:
                kept[name] = content
                max_bytes -= len(content)
            elif len(left_out) < MOST_FILES_KEPT:
                left_out.append(name)
            else:
                break
        return kept, tuple(left_out)

    def remove(self) -> None:
        """Remove all of it; its processes must have ended. Raises OSError when the file system refuses."""
        remove_tree(self.path)


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    """Everything below ``root`` that is no folder, by its relative name; at most as much as the quota lets be."""
    folders, seen = [root], 0
    while folders and seen <= QUOTA_ENTRIES:
        try:
            with os.scandir(folders.pop(0)) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            else:
                yield str(Path(entry.path).relative_to(root)), Path(entry.path)


def _read_regular(path: Path, *, max_bytes: int) -> bytes | None:
    """At most one byte more than ``max_bytes`` of a regular file; None for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(max_bytes + 1) if S_ISREG(os.fstat(descriptor).st_mode) else None


def remove_leftovers(parent: Path) -> int:
    """Remove what a previous process of this server did not live to remove; how many folders there were."""
    prefixes = (_PREFIX, ACCOUNT_PREFIX)
    leftovers = [path for path in parent.iterdir() if path.name.startswith(prefixes) and path.is_dir()]
    for path in leftovers:
        remove_tree(path)
    return len(leftovers)


def remove_tree(root: Path) -> None:
    """Remove a folder of any depth, made by anyone hostile.

    ``shutil.rmtree`` recurses, so that a thousand nested folders stop it, and gives up at a folder without read
    permission. This one moves each folder's own folders up to the root first; it never follows a symbolic link.
    """
    moved = 0
    pending = [root]
    while pending:
        folder = pending[-1]
        if folder is not root:
            folder.chmod(0o700)
        with os.scandir(folder) as listing:
            entries = list(listing)
        folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)  # noqa: PTH108 - a path made of a scandir entry
        if folder is root:
            if not folders:
                root.rmdir()
                return
            pending.extend(folders)
            continue
        for each in folders:
            moved += 1
            each.chmod(0o700)  # a folder without write permission cannot be moved away from its parent
            pending.insert(1, each.rename(root / f".removed-{moved}"))
        folder.rmdir()
        pending.pop()


def kubeconfig_text(access: ApiAccess) -> str:
    """A kubeconfig (v1 Config, as JSON, which is YAML) with one cluster, user and context, all called ``gateway``."""
    name = "gateway"
    context = {"cluster": name, "user": name} | ({"namespace": access.namespace} if access.namespace else {})
    authority = base64.b64encode(access.ca_pem.encode()).decode()
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": name, "cluster": {"server": access.server_url, "certificate-authority-data": authority}}
            ],
            "users": [{"name": name, "user": {"token": access.token}}],
            "contexts": [{"name": name, "context": context}],
            "current-context": name,
        }
    )
