"""Finds out what the sandbox is worth on this machine by confining a process and letting it try.

A version number is not enough: a container's own seccomp profile or a security module may stand in between. The
process is this Python, run under a profile of its own; whatever it manages to do that it must not is the reason
that the report gives.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from k8s_mcp_server.execution.binaries import inspect_program
from k8s_mcp_server.execution.sandbox.landlock import ABI_WITH_SCOPES, ABI_WITH_TCP, READ, FileRule, supported_abi
from k8s_mcp_server.execution.sandbox.level import SandboxLevel, SandboxReport
from k8s_mcp_server.execution.sandbox.profile import Profile, cli_profile
from k8s_mcp_server.execution.sandbox.spawn import ProcessSpec, Sandbox

_SECONDS: Final = 20

# Prints, one a line, what was possible and must not be. What must be possible is tried first, so that a sandbox that
# refuses all is no success.
_ATTEMPTS: Final = """
import fcntl, mmap, os, socket, sys
secret, allowed, forbidden = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
def tcp(protocol=0):
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
def connect(port):
    with tcp() as s:
        s.settimeout(5)
        s.connect(("127.0.0.1", port))
def fast_open():
    with tcp() as s:
        s.sendto(b"x", 0x20000000, ("127.0.0.1", forbidden))
attempts = {
    "read another file": lambda: open(secret).read(),
    "connect to another port": lambda: connect(forbidden),
    "connect to another port by TCP fast open": fast_open,
    "make an MPTCP socket": lambda: tcp(262).close(),
    "make a UDP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
    "make a Unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
    "listen": lambda: tcp().listen(),
    "signal the server": lambda: os.kill(os.getppid(), 0),
    "have the server signalled": lambda: fcntl.fcntl(1, fcntl.F_SETOWN, os.getppid()),
    "share memory": lambda: mmap.mmap(-1, 4096).close(),
    "start a process": os.fork,
}
try:
    connect(allowed)
except OSError as error:
    print("not even reach the allowed port:", error)
for name, attempt in attempts.items():
    try:
        attempt()
    except OSError:
        continue
    print(name)
sys.stdout.flush()
try:
    os.execv("/bin/sh", ["sh", "-c", "echo run another program; echo done"])
except OSError:
    print("done")
"""


def probe() -> SandboxReport:
    """Confine a process and report what it could not do. Takes some 50 ms; blocks."""
    abi = supported_abi()
    if abi < 1:
        return SandboxReport(abi=abi, level=None, reason="the kernel has no Landlock, or it may not be used here")
    try:
        escapes = _escapes(abi)
    except (OSError, subprocess.SubprocessError) as error:
        return SandboxReport(abi=abi, level=None, reason=f"the sandbox cannot be set up: {error}")
    if escapes:
        return SandboxReport(abi=abi, level=None, reason=f"a sandboxed process could {', '.join(escapes)}")
    confined = abi >= ABI_WITH_SCOPES
    if abi < ABI_WITH_TCP:
        reason = f"Landlock ABI {abi} has no TCP ports; ABI {ABI_WITH_TCP} (Linux 6.7) is needed"
        return SandboxReport(abi=abi, level=SandboxLevel.FILESYSTEM, reason=reason)
    return SandboxReport(abi=abi, level=SandboxLevel.REQUIRED, signals_confined=confined)


def python_profile(*, connect_ports: tuple[int, ...] = (), read: tuple[Path, ...] = ()) -> tuple[Path, Profile]:
    """This interpreter, and a CLI's profile that has its libraries, too.

    Raises:
        OSError: the interpreter's libraries cannot be found.
    """
    program = inspect_program("python", path=Path(sys.executable))
    profile = cli_profile(program, read=read, write=(), connect_ports=connect_ports)
    library = Path(os.__file__).parent
    folders = tuple(FileRule(path=path, access=READ) for path in (library, Path("/etc/ld.so.cache")))
    return program.path, replace(profile, files=(*profile.files, *folders))


def _escapes(abi: int) -> tuple[str, ...]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="probe-")))
        secret = folder / "secret"
        secret.write_text("secret", encoding="ascii")
        allowed, forbidden = (stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(2))
        ports = tuple(each.getsockname()[1] for each in (allowed, forbidden))
        output, lines = _run(abi, arguments=(str(secret), *map(str, ports)), port=ports[0])
    if not lines or lines[-1] != "done":
        raise OSError(f"the process that tries it ended early: {output.strip()[:200]}")
    tolerated = {"connect to another port"} if abi < ABI_WITH_TCP else set()
    return tuple(line for line in lines[:-1] if line not in tolerated)


def _run(abi: int, *, arguments: tuple[str, ...], port: int) -> tuple[str, list[str]]:
    executable, profile = python_profile(connect_ports=(port,))
    reading, writing = os.pipe2(os.O_CLOEXEC)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        spec = ProcessSpec(
            argv=(str(executable), "-I", "-S", "-c", _ATTEMPTS, *arguments),
            executable=executable,
            environment={"LANG": "C.UTF-8"},
            folder=Path("/"),
            stdin=null,
            stdout=writing,
            stderr=writing,
        )
        process = Sandbox(abi=abi).start(spec, profile=profile).result(timeout=_SECONDS)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
        os.close(null)
    with process, os.fdopen(reading, encoding="utf-8", errors="replace") as stream:
        try:
            process.wait(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        output = stream.read()
    return output, output.splitlines()
