"""What a hostile program tries. ``attacks.py FACTS`` prints, as JSON, what each attempt came to.

``FACTS`` is a JSON object with the paths, ports and process id of the service under attack. An attempt that works has
the outcome ``allowed``; one that does not has the name of its error number. Only the standard library is used, and
nothing of the service.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
X86 = os.uname().machine == "x86_64"
FAST_OPEN = 0x20000000
F_SETOWN, F_SETSIG, F_SETOWN_EX = 8, 10, 15


def main() -> None:
    facts = json.loads(sys.argv[1])
    outcomes = {}
    for name, attempt in attempts(facts).items():
        try:
            attempt()
        except OSError as error:
            outcomes[name] = errno.errorcode.get(error.errno or 0, repr(error))
        except MemoryError:
            outcomes[name] = "MemoryError"
        else:
            outcomes[name] = "allowed"
    sys.stdout.write(json.dumps(outcomes))


def attempts(facts: dict[str, Any]) -> dict[str, Callable[[], object]]:
    return {
        **files(facts),
        **programs(facts),
        **network(facts),
        **processes(facts),
        **kernel(facts),
        **memory(facts),
        **limits(facts),
    }


def files(facts: dict[str, Any]) -> dict[str, Callable[[], object]]:
    token, home, server = Path(facts["token"]), Path(os.environ["HOME"]), facts["server"]
    victims, runtime = Path(facts["victims"]), Path(facts["runtime_dir"])
    own = home / "own"
    own.write_text("own", encoding="ascii")
    return {
        "read own kubeconfig": lambda: Path(os.environ["KUBECONFIG"]).read_text(encoding="ascii"),
        "write into own home": lambda: (home / "note").write_text("x", encoding="ascii"),
        "write over own kubeconfig": lambda: Path(os.environ["KUBECONFIG"]).write_text("x", encoding="ascii"),
        "write beside own home": lambda: (home.parent / "note").write_text("x", encoding="ascii"),
        "read the pod's token": token.read_text,
        "read the token through the server's root": lambda: Path(f"/proc/{server}/root{token}").read_text(
            encoding="ascii"
        ),
        "read the token through own root": lambda: Path(f"/proc/self/root{token}").read_text(encoding="ascii"),
        "link the token into own home": lambda: (home / "hard").hardlink_to(token),
        "make a symbolic link": lambda: (home / "soft").symlink_to(token),
        "move a file into own home": lambda: (victims / "move").rename(home / "moved"),
        "read another command's kubeconfig": lambda: Path(facts["other_kubeconfig"]).read_text(encoding="ascii"),
        "list the commands' folders": lambda: list(runtime.iterdir()),
        "watch the commands' folders": lambda: call(254 if X86 else 27, inotify(), bytes(runtime), 0x100),
        "write elsewhere": lambda: (victims / "new").write_text("x", encoding="ascii"),
        "overwrite a file of the server": lambda: (victims / "overwrite").write_text("x", encoding="ascii"),
        "truncate a file of the server": lambda: os.truncate(victims / "truncate", 0),
        "remove a file of the server": (victims / "remove").unlink,
        "change a file's mode": lambda: (victims / "mode").chmod(0o600),
        "change a file's owner": lambda: os.chown(victims / "owner", os.getuid(), os.getgid()),
        "change a file's times": lambda: os.utime(victims / "times"),
        "set an extended attribute": lambda: os.setxattr(victims / "attribute", "user.x", b"x"),
        "read /etc/passwd": Path("/etc/passwd").read_text,
        "list /proc": lambda: list(Path("/proc").iterdir()),
        "read the server's environment": Path(f"/proc/{server}/environ").read_bytes,
        "read the server's command line": Path(f"/proc/{server}/cmdline").read_bytes,
        "read the server's memory map": Path(f"/proc/{server}/maps").read_bytes,
        "open the server's memory": lambda: os.open(f"/proc/{server}/mem", os.O_RDWR),
        "list the server's descriptors": lambda: list(Path(f"/proc/{server}/fd").iterdir()),
        "read the server's root link": Path(f"/proc/{server}/root").readlink,
        "make a FIFO": lambda: os.mkfifo(home / "fifo"),
        "make a device": lambda: os.mknod(home / "null", 0o20600, os.makedev(1, 3)),
    }


def programs(_: dict[str, Any]) -> dict[str, Callable[[], object]]:
    return {
        "fork": fork,
        "start a process by clone3": clone3,
        "start a thread": lambda: threading.Thread(target=int).start(),
        "make an executable in memory": lambda: os.memfd_create("x"),
    }


def network(facts: dict[str, Any]) -> dict[str, Callable[[], object]]:
    other = ("127.0.0.1", facts["other_port"])
    return {
        "connect to the gateway": lambda: tcp().connect(("127.0.0.1", facts["gateway_port"])),
        "connect to another port": lambda: tcp().connect(other),
        "connect to another port by IPv6": lambda: tcp(socket.AF_INET6).connect(("::1", facts["other_port_v6"])),
        "connect by MPTCP": lambda: tcp(protocol=262).connect(other),
        "make an SCTP socket": lambda: tcp(protocol=132),
        "connect by fast open in sendto": lambda: tcp().sendto(b"x", FAST_OPEN, other),
        "connect by fast open in sendmsg": lambda: tcp().sendmsg([b"x"], [], FAST_OPEN, other),
        "connect by fast open in sendmmsg": lambda: call(307 if X86 else 269, tcp().fileno(), b"\0" * 64, 1, FAST_OPEN),
        "connect by the fast open option": lambda: with_option(30).connect(other),
        "listen without bind": lambda: tcp().listen(),
        "bind a port": lambda: tcp().bind(("127.0.0.1", 0)),
        "send UDP": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(
            b"x", ("127.0.0.1", facts["udp_port"])
        ),
        "make a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "make a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "connect to a Unix socket": lambda: socket.socket(socket.AF_UNIX).connect(facts["unix_path"]),
        "connect to an abstract Unix socket": lambda: socket.socket(socket.AF_UNIX).connect(
            "\0" + facts["unix_abstract"]
        ),
        "make a socket pair": socket.socketpair,
        "make a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "make a vsock": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
        "make a socket with a family above 32 bits": lambda: call(
            41 if X86 else 198, (1 << 32) | socket.AF_UNIX, socket.SOCK_STREAM, 0
        ),
    }


def processes(facts: dict[str, Any]) -> dict[str, Callable[[], object]]:
    server = facts["server"]
    return {
        "signal the server": lambda: os.kill(server, 0),
        "signal a thread of the server": lambda: call(234 if X86 else 131, server, server, 0),
        "signal a thread of the server by tkill": lambda: call(200 if X86 else 130, server, 0),
        "queue a signal to the server": lambda: call(129 if X86 else 138, server, 0, b"\0" * 128),
        "signal the server by pidfd": lambda: signal.pidfd_send_signal(os.pidfd_open(server), 0),
        "give a pipe to the server": lambda: fcntl.fcntl(pipe(), F_SETOWN, server),
        "give a pipe to a thread of the server": lambda: fcntl.fcntl(
            pipe(), F_SETOWN_EX, struct.pack("=ii", 0, server)
        ),
        "give a pipe to the server by a number above 32 bits": lambda: call(
            72 if X86 else 25, pipe(), (1 << 32) | F_SETOWN, server
        ),
        "choose a pipe's signal": lambda: fcntl.fcntl(pipe(), F_SETSIG, signal.SIGKILL),
        "give a socket to the server": lambda: fcntl.ioctl(tcp(), 0x8901, struct.pack("=i", server)),
        "give a socket to the server's group": lambda: fcntl.ioctl(tcp(), 0x8902, struct.pack("=i", server)),
        "hide its descriptors": lambda: call(157 if X86 else 167, 4, 1),
        "signal its own group": lambda: os.killpg(os.getpgrp(), 0),
        "limit the server": lambda: resource.prlimit(
            server, resource.RLIMIT_CORE, resource.prlimit(server, resource.RLIMIT_CORE)
        ),
        "read the server's limits": lambda: resource.prlimit(server, resource.RLIMIT_NOFILE),
        "slow the server": lambda: os.setpriority(os.PRIO_PROCESS, server, os.getpriority(os.PRIO_PROCESS, server)),
        "pin the server": lambda: os.sched_setaffinity(server, os.sched_getaffinity(server)),
        "reschedule the server": lambda: os.sched_setscheduler(
            server, os.sched_getscheduler(server), os.sched_param(0)
        ),
        "change the server's I/O priority": lambda: call(251 if X86 else 30, 1, server, 0),
        "attach to the server": lambda: call(101 if X86 else 117, 0x4206, server, 0, 0),
        "read the server's memory": lambda: read_memory(server, facts["address"]),
        "take a descriptor of the server": lambda: call(438, os.pidfd_open(server), facts["descriptor"], 0),
        "compare with the server": lambda: call(312 if X86 else 272, os.getpid(), server, 0, 0, 0),
        "read its own environment": Path("/proc/self/environ").read_bytes,
    }


def kernel(_: dict[str, Any]) -> dict[str, Callable[[], object]]:
    return {
        "unshare a user namespace": lambda: call(272 if X86 else 97, 0x10000000),
        "enter a namespace": lambda: call(308 if X86 else 268, os.pidfd_open(os.getpid()), 0x10000000),
        "mount": lambda: call(165 if X86 else 40, b"none", b"/mnt", b"tmpfs", 0, None),
        "change the root": lambda: os.chroot("/"),
        "use the kernel's keys": lambda: call(250 if X86 else 219, 0, -3, 0),
        "add a key": lambda: call(248 if X86 else 217, b"user", b"x", b"x", 1, -3),
        "load BPF": lambda: call(321 if X86 else 280, 0, b"\0" * 128, 128),
        "use userfaultfd": lambda: call(323 if X86 else 282, 1),
        "count performance events": lambda: call(298 if X86 else 241, b"\0" * 128, 0, -1, -1, 0),
        "use io_uring": lambda: call(425, 1, b"\0" * 256),
        "make shared memory": lambda: call(29 if X86 else 194, 0, 4096, 0o1600),
        "make a message queue": lambda: call(68 if X86 else 186, 0, 0o1600),
        "open a POSIX queue": lambda: call(240 if X86 else 180, b"x", 0o102, 0o600, None),
        "change the personality": lambda: call(135 if X86 else 92, 0xFFFFFFFF),
    }


def memory(_: dict[str, Any]) -> dict[str, Callable[[], object]]:
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return {
        "share anonymous memory": lambda: mmap.mmap(-1, 4096, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS),
        "share anonymous memory, validated": lambda: mmap.mmap(-1, 4096, flags=3 | mmap.MAP_ANONYMOUS),
        "map memory that grows downwards": lambda: mmap.mmap(-1, 4096, flags=private | 0x100),
        "map huge pages": lambda: mmap.mmap(-1, 2**21, flags=private | 0x40000),
        "enlarge a pipe": lambda: fcntl.fcntl(pipe(), 1031, 65536),
        "keep memory in a pipe": keep_in_pipe,
        "make a ring for asynchronous I/O": lambda: call(206 if X86 else 0, 8, bytes(8)),
    }


def limits(facts: dict[str, Any]) -> dict[str, Callable[[], object]]:
    return {
        "allocate beyond its memory": lambda: mmap.mmap(
            -1, facts["memory"], flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        ),
        "write a file beyond the limit": lambda: (Path(os.environ["HOME"]) / "big").write_bytes(
            b"\0" * facts["file_bytes"]
        ),
        "open many files": lambda: [os.open(os.devnull, os.O_RDONLY) for _ in range(2000)],
    }


def call(number: int, *arguments: int | bytes | None) -> int:
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = int(LIBC.syscall(ctypes.c_long(number), *converted))
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def pipe() -> int:
    return os.pipe()[1]


def keep_in_pipe() -> None:
    page = ctypes.create_string_buffer(4096)
    call(278 if X86 else 75, pipe(), struct.pack("=QQ", ctypes.addressof(page), 4096), 1, 0)


def inotify() -> int:
    return call(294 if X86 else 26, 0)


def tcp(family: int = socket.AF_INET, protocol: int = 0) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM, protocol)
    made.settimeout(5)
    return made


def with_option(option: int) -> socket.socket:
    made = tcp()
    made.setsockopt(socket.IPPROTO_TCP, option, 1)
    return made


def fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def clone3() -> None:
    child = call(435, struct.pack("=11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0), 88)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def read_memory(pid: int, address: int) -> None:
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("=QQ", ctypes.addressof(buffer), 8)
    remote = struct.pack("=QQ", address, 8)
    call(310 if X86 else 270, pid, local, 1, remote, 1, 0)


if __name__ == "__main__":
    main()
