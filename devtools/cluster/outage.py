"""An API server that goes away and comes back, and one that has forgotten what it was: for tests of such faults."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devtools.cluster.errors import ClusterError
from devtools.cluster.processes import cluster_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from devtools.cluster.kwok import KwokCluster

_PROC = Path("/proc")
_CLIENT_URL = "--listen-client-urls="
_SECONDS = 60.0
_POLL_SECONDS = 0.1
_ETCD_SECONDS = 10


@contextlib.contextmanager
def api_server_away(cluster: KwokCluster) -> Iterator[None]:
    """The API server's process does not run inside of the block, and is ready again after it.

    Raises:
        ClusterError: it does not end, or is not ready again, within its time.
    """
    process = _component(cluster, "kube-apiserver")
    arguments, environment = _words(process / "cmdline"), _words(process / "environ")
    os.kill(int(process.name), signal.SIGKILL)  # asked politely, it would wait for every open watch
    _until(lambda: not _words(process / "cmdline"), what="the API server does not end")
    try:
        yield
    finally:
        log = cluster.workdir / "api-server-again.log"
        again = _start(arguments, environment, log=log)

        def is_ready() -> bool:
            nonlocal again
            if again.poll() is not None:  # one that does not get ready in time ends, and a kubelet starts it again
                again = _start(arguments, environment, log=log)
            return cluster.kubectl("get", "--raw", "/readyz", check=False).returncode == 0

        _until(is_ready, what="the API server is not ready again")


def _start(arguments: Sequence[str], environment: Sequence[str], *, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        process = subprocess.Popen(
            arguments,
            env=dict(word.split("=", 1) for word in environment),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    atexit.register(process.poll)  # it ends with its cluster, and is ours to wait for
    return process


def forget_history(cluster: KwokCluster) -> None:
    """Restart the API server, whose own memory of changes is empty then, on an etcd that has compacted its.

    A watch from before gets 410 afterwards.

    Raises:
        ClusterError: as ``api_server_away``.
    """
    etcd = _words(_component(cluster, "etcd") / "cmdline")
    (address,) = (word.removeprefix(_CLIENT_URL) for word in etcd if word.startswith(_CLIENT_URL))
    with api_server_away(cluster):
        revision = _ask_etcd(f"{address}/v3/kv/range", key="AA==")["header"]["revision"]
        _ask_etcd(f"{address}/v3/kv/compaction", revision=revision, physical=True)


def _ask_etcd(url: str, **question: object) -> dict[str, Any]:
    """By etcd's own JSON gateway (etcd.io/docs, api_grpc_gateway)."""
    data = json.dumps(question).encode()
    with urllib.request.urlopen(url, data=data, timeout=_ETCD_SECONDS) as answer:  # noqa: S310  of our own cluster
        found: dict[str, Any] = json.load(answer)
    return found


def _component(cluster: KwokCluster, name: str) -> Path:
    """The folder in /proc of the component's process."""
    found = [_PROC / str(pid) for pid in cluster_processes(cluster.workdir)]
    (process,) = (process for process in found if Path(_words(process / "cmdline")[0]).name == name)
    return process


def _words(path: Path) -> list[str]:
    """What a file of /proc lists; nothing of a process that has ended."""
    try:
        return [word for word in path.read_text(encoding="utf-8").split("\0") if word]
    except OSError:
        return []


def _until(condition: Callable[[], bool], *, what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what} within {_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
