"""What is counted beside the kernel's limits, and that it ends a command."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from k8s_mcp_server.execution import usage
from k8s_mcp_server.execution.limits import FILE_BYTES
from k8s_mcp_server.execution.result import KilledFor
from k8s_mcp_server.policy.limits import Limits
from tests.support.sandboxed import make_executor, pipeline, python_stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.unit

LIMITS = Limits(timeout_seconds=30, memory_bytes=64 * 1024 * 1024)
MEBIBYTE = 1024 * 1024
START = (
    "import subprocess\nnull = subprocess.DEVNULL\n"
    "p = subprocess.Popen(['sleep', '60'], start_new_session={}, stdout=null, stderr=null)\nprint(p.pid, flush=True)\n"
)

# Each holds some 96 MiB, of which RLIMIT_DATA sees no more than a third at any time.
READ_ONLY = """
import ctypes, mmap, time
libc, kept = ctypes.CDLL(None), []
for _ in range(3):
    piece = mmap.mmap(-1, 32 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, 32 << 20, 4096): piece[at] = 1
    address = ctypes.addressof(ctypes.c_char.from_buffer(piece))
    kept.append(piece)
    assert libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(32 << 20), 1) == 0
print("held", flush=True)
time.sleep(99)
"""
PAGE_TABLES = """
import mmap, time
space = mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
space.madvise(15)  # MADV_NOHUGEPAGE
for at in range(0, 64 << 30, 2 << 20): space[at]
print("held", flush=True)
time.sleep(99)
"""
REMOVED_FILES = """
import mmap, os, time
kept = []
os.chdir(os.environ["HOME"])
for _ in range(3):
    file = os.open("gone", os.O_RDWR | os.O_CREAT)
    os.write(file, bytes(30 << 20))
    os.unlink("gone")
    kept.append(KEEP)
print("held", flush=True)
time.sleep(99)
"""
MAPPED = "mmap.mmap(file, 4096), os.close(file)"  # mmap has a duplicate of the descriptor


@contextmanager
def running(script: str) -> Iterator[tuple[int, int]]:
    """A session's leader that has started one process: both numbers."""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as leader:
        assert leader.stdout is not None
        other = int(leader.stdout.readline())
        try:
            yield leader.pid, other
        finally:
            os.kill(other, 9)
            leader.kill()


def test_a_descendant_in_a_session_of_its_own_belongs_to_the_family() -> None:
    with running(START.format("True") + "p.wait()") as (leader, child):
        assert usage.families([leader]) == {leader: {leader, child}}


def test_an_orphan_in_the_session_belongs_to_the_family() -> None:
    started = START.format("False")
    script = (
        "import subprocess, sys, time\n"
        f"done = subprocess.run([sys.executable, '-c', {started!r}], stdout=subprocess.PIPE, text=True)\n"
        "print(done.stdout, flush=True)\ntime.sleep(60)"
    )
    with running(script) as (leader, orphan):
        assert usage.families([leader])[leader] == {leader, orphan}


def test_a_process_that_has_ended_has_nothing() -> None:
    ended = subprocess.Popen(["sleep", "0"])
    ended.wait()
    assert usage.families([ended.pid]) == {ended.pid: {ended.pid}}
    assert usage.memory_bytes([ended.pid]) == 0
    assert usage.removed_file_bytes([ended.pid]) == 0


def test_page_tables_swap_and_threads_count_and_files_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = {
        "1": "Name:\tVmPTE: x\nVmPTE:\t 4 kB\nVmSwap:\t 8 kB\nRssAnon:\t16 kB\nRssFile:\t 999 kB\nRssShmem:\t32 kB\n"
        "Threads:\t3\n",
        "2": "Name:\tzombie\nThreads:\t1\n",
    }
    for pid, status in text.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "status").write_text(status, encoding="utf-8")
    monkeypatch.setattr(usage, "_PROC", tmp_path)
    assert usage.memory_bytes([1, 2]) == 60 * 1024 + 4 * usage.THREAD_BYTES


def test_a_removed_file_counts_once_while_it_is_held(tmp_path: Path) -> None:
    before = usage.removed_file_bytes([os.getpid()])
    with (tmp_path / "file").open("w+b", buffering=0) as file:
        file.write(bytes(MEBIBYTE))
        assert usage.removed_file_bytes([os.getpid()]) == before
        (tmp_path / "file").unlink()
        with mmap.mmap(file.fileno(), 4096):
            assert usage.removed_file_bytes([os.getpid(), os.getpid()]) == before + MEBIBYTE


def test_a_removed_file_that_is_only_mapped_counts_as_the_largest(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4096))
    script = (
        "import ctypes, os, sys, time\nfile = os.open(sys.argv[1], os.O_RDONLY)\nmap = ctypes.CDLL(None).mmap\n"
        "map.restype = ctypes.c_void_p\nassert map(None, ctypes.c_size_t(4096), 1, 1, file, ctypes.c_long(0))\n"
        "os.close(file)\nos.unlink(sys.argv[1])\nprint(flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert usage.removed_file_bytes([holder.pid]) == FILE_BYTES
        holder.kill()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("script", "killed_for"),
    [
        pytest.param(READ_ONLY, KilledFor.MEMORY, id="memory made read-only"),
        pytest.param(PAGE_TABLES, KilledFor.MEMORY, id="page tables"),
        pytest.param(REMOVED_FILES.replace("KEEP", "file"), KilledFor.DISK, id="removed files"),
        pytest.param(REMOVED_FILES.replace("KEEP", f"({MAPPED})"), KilledFor.DISK, id="removed files, mapped"),
    ],
)
async def test_what_the_kernels_limits_do_not_count_ends_the_command(
    tmp_path: Path, script: str, killed_for: KilledFor
) -> None:
    with anyio.fail_after(20):
        result = await make_executor(tmp_path).run(pipeline(python_stage(script)), access=None, limits=LIMITS)
    assert (result.killed_for, result.exit_code, result.stderr) == (killed_for, None, b"")
