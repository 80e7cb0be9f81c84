"""A command's private folder: its kubeconfig with the one-shot token, its home, and scratch space for ``sort``.

Nobody but the command's own processes can open it (mode 0700, and no other sandbox profile names it), and it is
always removed.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.execution.limits import MEBIBYTE

if TYPE_CHECKING:
    from k8s_mcp_server.execution.result import ApiAccess

QUOTA_BYTES: Final = 64 * MEBIBYTE
QUOTA_ENTRIES: Final = 10_000
_PREFIX: Final = "command-"
_BLOCK: Final = 512  # the unit of st_blocks (stat(2))


class Workdir:
    """The folders of one command.

    Args:
        parent: where to make it; must exist.
        access: what the kubeconfig says; None for a command without API access, which gets no kubeconfig.
    """

    def __init__(self, parent: Path, *, access: ApiAccess | None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self.kubeconfig = self.path / "kubeconfig"
        self.home = self.path / "home"
        self.temporary = self.home / "tmp"
        try:
            self.temporary.mkdir(parents=True)
            if access is not None:
                descriptor = os.open(self.kubeconfig, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(kubeconfig_text(access))
        except OSError:
            self.remove()
            raise

    def scratch(self, name: str) -> Path:
        """Make one more folder, beside the home: for a process that must not see the kubeconfig."""
        path = self.path / name
        path.mkdir(mode=0o700)
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

    def remove(self) -> None:
        """Remove all of it; its processes must have ended. Raises OSError when the file system refuses."""
        remove_tree(self.path)


def remove_leftovers(parent: Path) -> int:
    """Remove what a previous process of this server did not live to remove; how many folders there were."""
    leftovers = [path for path in parent.iterdir() if path.name.startswith(_PREFIX) and path.is_dir()]
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
