"""A small process that removes a cluster when the process that started it is gone, however it ended.

An `atexit` hook doesn't run after SIGTERM or SIGKILL, and a library has no business installing signal handlers. The
kernel closes the pipe of a dead process, so the guard only has to read: a word means that its owner took care, the end
of the pipe means that it can't any more.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from devtools.cluster.errors import ClusterError
from devtools.cluster.processes import remove_cluster

_ROOT = Path(__file__).resolve().parents[2]
_RELEASED = b"released\n"


class Guard:
    """Watches over the cluster in `workdir` until `release`."""

    def __init__(self, workdir: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "devtools.cluster.guard", str(workdir)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C goes to the whole foreground group
        )

    def check(self) -> None:
        """Raise ClusterError when nobody watches any more."""
        if self._process.poll() is not None:
            raise ClusterError(f"the guard of the cluster ended by itself, with {self._process.returncode}")

    def release(self) -> None:
        """Let it go without removing anything. May be called twice."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                self._process.communicate(_RELEASED, timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def main() -> None:
    """Wait for the owner's word or its end."""
    workdir = Path(sys.argv[1])
    if sys.stdin.buffer.read() != _RELEASED:
        remove_cluster(workdir)


if __name__ == "__main__":
    main()
