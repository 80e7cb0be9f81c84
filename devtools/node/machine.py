"""What a machine must be and have to run a node and build an image, and installing what is missing.

A command that is there is taken, whichever package it came from: on a machine with another container engine, Debian's
runc would replace that engine's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from devtools.node.errors import NodeError

PACKAGES: Final = {
    "buildah": "buildah",
    "catatonit": "catatonit",  # pid 1 of the node, and the pause image
    "debootstrap": "debootstrap",
    "git": "git",  # with redis, what the Argo CD of the same run needs
    "ip": "iproute2",
    "nft": "nftables",
    "redis-server": "redis-server",
    "runc": "runc",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
"""The Debian package of each command that is needed."""

CNI_FOLDERS: Final = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
CNI_PLUGINS: Final = ("bridge", "host-local", "loopback")
_CNI_PACKAGE: Final = "containernetworking-plugins"
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_KEYRING_PACKAGE: Final = "debian-archive-keyring"
_FOLDERS: Final = ("/usr/sbin", "/sbin")


def why_impossible() -> str | None:
    """Say in one line why this machine can't run a node, whatever is installed; None when it can."""
    if sys.platform != "linux":
        return f"a node needs Linux, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "a node needs root (namespaces, mounts, cgroups), and this is another user"
    if not _may_make_namespaces():
        return "a node needs namespaces of its own, and this machine doesn't let root make any"
    return None


def missing_packages() -> list[str]:
    """Return the Debian packages that would bring what isn't there, sorted."""
    missing = {package for command, package in PACKAGES.items() if find_command(command) is None}
    if cni_folder() is None:
        missing.add(_CNI_PACKAGE)
    if not _KEYRING.exists():
        missing.add(_KEYRING_PACKAGE)
    return sorted(missing)


def install_packages() -> None:
    """Install what is missing with apt.

    Raises:
        NodeError: there is no apt, or it couldn't.
    """
    packages = missing_packages()
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise NodeError(f"there is no apt-get here; install what these Debian packages have: {' '.join(packages)}")
    print(f"installing {' '.join(packages)}", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", "--quiet", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 and arguments[0] == "install":
            raise NodeError(f"apt-get install {' '.join(packages)} left with {done.returncode}: {done.stderr.strip()}")
    if still := missing_packages():
        raise NodeError(f"these packages were installed and yet what they bring isn't there: {' '.join(still)}")


def find_command(name: str) -> str | None:
    """Return the path of a command; root's PATH doesn't always have the folders of administration."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *_FOLDERS)))


def cni_folder() -> Path | None:
    """Return the folder that has all CNI plugins of ``CNI_PLUGINS``, None when there is none."""
    return next((folder for folder in CNI_FOLDERS if all((folder / name).exists() for name in CNI_PLUGINS)), None)


def _may_make_namespaces() -> bool:
    command = ["unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "true"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
