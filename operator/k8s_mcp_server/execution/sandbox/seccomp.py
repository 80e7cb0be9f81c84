"""The seccomp filter: system calls that no bundled CLI and no filter needs, and that Landlock does not see.

Landlock's port rules alone can be bypassed: MPTCP sockets, TCP fast open (``MSG_FASTOPEN`` connects without the
connect hook), ``listen`` without ``bind``, UDP, netlink and vsock (landlock-lsm/linux issues 15, 41, 54). It also
leaves alone what one process may do to another of the same user through ``prlimit``, ``setpriority`` or
``sched_setaffinity``, and to the owner's files through ``chmod``. Before ABI 6 it leaves signals alone, too. And
RLIMIT_DATA counts private memory only: shared, downward growing and huge-page mappings are refused here, as are
pipes beyond their usual size and ``vmsplice``, which keep pages that no process owns any more.

The filter refuses with EPERM, so that programs print an ordinary error; a call of a foreign architecture kills the
process. Filters are classic BPF over ``struct seccomp_data`` (seccomp(2)).
"""

from __future__ import annotations

import errno
import platform
import signal
import socket
import struct
from ctypes import addressof, create_string_buffer
from enum import Enum
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.execution.sandbox import kernel
from k8s_mcp_server.execution.sandbox.syscalls import ARCHITECTURES, SYSCALLS, X86_64

if TYPE_CHECKING:
    from k8s_mcp_server.execution.sandbox.syscalls import Architecture

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
_NOTHING_DONE = 0x00050000  # the call returns 0, as if it had succeeded
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16
_X32_BIT = 0x40000000
_SECCOMP_MODE_FILTER = 2

_MSG_FASTOPEN = 0x20000000
_SOCK_TYPE_MASK = 0xF
_CLONE_THREAD = 0x00010000
_CLONE_NEW_NAMESPACE = 0x7E020000
_CLONE_VFORK = 0x00004000 | 0x00000100 | signal.SIGCHLD  # what vfork() is, in clone's words

# include/uapi/asm-generic/fcntl.h and ioctls.h: who gets a descriptor's signal, and which
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _F_SETPIPE_SZ = 8, 10, 15, 1031
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902
# include/uapi/asm-generic/mman-common.h and linux/mman.h; bit 0 is MAP_SHARED's and MAP_SHARED_VALIDATE's
_MAP_SHARED_ANONYMOUS = 0x01 | 0x20
_MAP_GROWSDOWN_OR_HUGETLB = 0x0100 | 0x40000

# Decided by their arguments below; all other names in SYSCALLS are refused as they are.
_BY_ARGUMENTS: Final = frozenset(
    {
        "socket", "sendto", "sendmsg", "clone", "clone3", "prlimit64", "tgkill", "fcntl", "ioctl", "prctl", "mmap",
    }
)  # fmt: skip

_OF_MODES: Final = frozenset({"chmod", "fchmodat", "fchmodat2"})

# What serving a socket takes, beside making it.
_SERVING: Final = frozenset({"bind", "listen", "accept", "accept4"})

Instruction = tuple[int, int, int, int]
_ALLOWED: Final[Instruction] = (_RETURN, 0, 0, _ALLOW)


class Sockets(Enum):
    """Which sockets a process may make.

    ``connecting``: TCP over IPv4 and IPv6, protocol 0 or TCP. ``forwarding``: these may be served, too, and a netlink
    socket may ask the kernel for its own addresses, which istioctl's XDS client tells istiod; changing anything
    through it takes a capability that no command has. ``bridging``: ``connecting``, and Unix stream sockets, which may
    be served: argocd speaks gRPC with itself over one. A filter cannot tell which socket is served; Landlock keeps
    TCP sockets from being bound, and Unix ones out of all folders but one. ``fetching``: ``connecting``, and a change
    of a file's mode seems to succeed and does nothing: helm makes one for each file of its cache, and no rule can tell
    those from other files of the owner's.
    """

    NONE = "none"
    CONNECTING = "connecting"
    FORWARDING = "forwarding"
    BRIDGING = "bridging"
    FETCHING = "fetching"


def build_filter(*, sockets: Sockets, signals_confined: bool, architecture: Architecture | None = None) -> bytes:
    """The filter's program.

    Args:
        sockets: which may be made.
        signals_confined: whether Landlock confines signals. Where it does not, no call is left that signals, not
            even the process itself; one that raises SIGPIPE ends by SIGSYS instead, because a program that has lost
            its reader must end as such.
        architecture: whose numbers to use; by default this machine's.

    Raises:
        OSError: ENOSYS on an architecture that has no table here.
    """
    architecture = architecture or ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise OSError(errno.ENOSYS, f"no system call table for {platform.machine()}")
    program = _foreign_calls(architecture)
    allowed = _SERVING if sockets in {Sockets.FORWARDING, Sockets.BRIDGING} else frozenset()
    for name in SYSCALLS.keys() - _BY_ARGUMENTS - allowed:
        number = architecture.number(name)
        if number is not None:
            seems = sockets is Sockets.FETCHING and name in _OF_MODES
            program += _when(number, [_end(_NOTHING_DONE if seems else _EPERM)])
    program += _processes(architecture)
    program += _signals(architecture, signals_confined=signals_confined)
    program += _memory(architecture)
    program += _sockets(architecture, sockets=sockets)
    program.append(_end(_ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def restrict_this_thread(program: bytes) -> None:
    """Install the filter for the calling thread and all that it starts, for good. ``no_new_privs`` must be set.

    Raises:
        OSError: the kernel has no seccomp filters.
    """
    buffer = create_string_buffer(program, len(program))
    header = struct.pack("=HxxxxxxQ", len(program) // 8, addressof(buffer))
    kernel.prctl(kernel.PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header)


def _foreign_calls(architecture: Architecture) -> list[Instruction]:
    program = [_load(_OFFSET_ARCH), (_EQUAL, 1, 0, architecture.audit_arch), _end(_KILL), _load(_OFFSET_NUMBER)]
    if architecture is X86_64:
        program += [(_AT_LEAST, 0, 1, _X32_BIT), _end(_KILL)]
    return program


def _processes(architecture: Architecture) -> list[Instruction]:
    clone, clone3, prlimit = (_known(architecture, name) for name in ("clone", "clone3", "prlimit64"))
    # Threads yes, processes no. vfork stays possible, because the server itself needs it to start the program; some
    # architectures have no such call, and Go says it with clone's flags on all of them.
    vfork = [(_EQUAL, 0, 1, _CLONE_VFORK), _end(_ALLOW)]
    thread = [(_ANY_BIT, 0, 1, _CLONE_THREAD), _end(_ALLOW)]
    namespace = [(_ANY_BIT, 0, 1, _CLONE_NEW_NAMESPACE), _end(_EPERM)]
    return [
        *_when(clone, [_argument(0), *namespace, *thread, *vfork, _end(_EPERM)]),
        *_when(clone3, [_end(_ENOSYS)]),  # its flags are in memory; C libraries fall back to clone
        *_when(prlimit, [_argument(0), (_EQUAL, 1, 0, 0), _end(_EPERM), _end(_ALLOW)]),  # 0 is the caller
    ]


def _signals(architecture: Architecture, *, signals_confined: bool) -> list[Instruction]:
    thread, control, device, process = (_known(architecture, name) for name in ("tgkill", "fcntl", "ioctl", "prctl"))
    itself = [] if signals_confined else _when(thread, [_argument(2), *_refuse(_KILL, signal.SIGPIPE), _end(_EPERM)])
    return [
        *itself,
        *_when(control, [_argument(1), *_refuse(_EPERM, _F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _F_SETPIPE_SZ), _ALLOWED]),
        *_when(device, [_argument(1), *_refuse(_EPERM, _FIOSETOWN, _SIOCSPGRP), _ALLOWED]),
        # A process that is not dumpable would hide its descriptors from this server, too.
        *_when(process, [_argument(0), *_refuse(_EPERM, kernel.PR_SET_DUMPABLE), _ALLOWED]),
    ]


def _memory(architecture: Architecture) -> list[Instruction]:
    block = [
        _argument(3),
        (_ANY_BIT, 0, 1, _MAP_GROWSDOWN_OR_HUGETLB),
        _end(_EPERM),
        (_AND, 0, 0, _MAP_SHARED_ANONYMOUS),
        *_refuse(_EPERM, _MAP_SHARED_ANONYMOUS),
        _ALLOWED,
    ]
    return _when(_known(architecture, "mmap"), block)


def _sockets(architecture: Architecture, *, sockets: Sockets) -> list[Instruction]:
    make, to, message = (_known(architecture, name) for name in ("socket", "sendto", "sendmsg"))
    if sockets is Sockets.NONE:
        return _when(make, [_end(_EPERM)])
    more = _MORE_FAMILIES.get(sockets, [])
    fast_open = [(_ANY_BIT, 0, 1, _MSG_FASTOPEN), _end(_EPERM), _end(_ALLOW)]
    return [
        *_when(to, [_argument(3), *fast_open]),
        *_when(message, [_argument(2), *fast_open]),
        *_when(
            make,
            [
                _argument(0),
                *more,
                (_EQUAL, 2, 0, socket.AF_INET),
                (_EQUAL, 1, 0, socket.AF_INET6),
                _end(_EPERM),
                _argument(1),
                (_AND, 0, 0, _SOCK_TYPE_MASK),
                (_EQUAL, 1, 0, socket.SOCK_STREAM),
                _end(_EPERM),
                _argument(2),
                (_EQUAL, 1, 0, 0),
                (_EQUAL, 0, 1, socket.IPPROTO_TCP),
                _end(_ALLOW),
                _end(_EPERM),
            ],
        ),
    ]


def _when(number: int, block: list[Instruction]) -> list[Instruction]:
    """``block``, entered only for the call ``number``; it must return on every way through it."""
    return [(_EQUAL, 0, len(block), number), *block]


def _refuse(action: int, *values: int) -> list[Instruction]:
    """``action`` when what was loaded is one of ``values``; falls through otherwise."""
    return [instruction for value in values for instruction in ((_EQUAL, 0, 1, value), _end(action))]


def _load(offset: int) -> Instruction:
    return (_LOAD, 0, 0, offset)


def _argument(index: int) -> Instruction:
    return _load(_OFFSET_ARGUMENTS + 8 * index)  # the low half: the kernel reads these arguments as 32 bits


def _end(action: int) -> Instruction:
    return (_RETURN, 0, 0, action)


def _known(architecture: Architecture, name: str) -> int:
    number = architecture.number(name)
    if number is None:
        raise KeyError(name)
    return number


_NETLINK_ROUTE: Final[list[Instruction]] = [  # for the family that was loaded; falls through for any other
    (_EQUAL, 0, 8, socket.AF_NETLINK),
    _argument(1),
    (_AND, 0, 0, _SOCK_TYPE_MASK),
    (_EQUAL, 1, 0, socket.SOCK_RAW),
    _end(_EPERM),
    _argument(2),
    (_EQUAL, 1, 0, socket.NETLINK_ROUTE),
    _end(_EPERM),
    _end(_ALLOW),
]

_UNIX_STREAM: Final[list[Instruction]] = [  # likewise
    (_EQUAL, 0, 8, socket.AF_UNIX),
    _argument(1),
    (_AND, 0, 0, _SOCK_TYPE_MASK),
    (_EQUAL, 1, 0, socket.SOCK_STREAM),
    _end(_EPERM),
    _argument(2),
    (_EQUAL, 1, 0, 0),
    _end(_EPERM),
    _end(_ALLOW),
]
_MORE_FAMILIES: Final = {Sockets.FORWARDING: _NETLINK_ROUTE, Sockets.BRIDGING: _UNIX_STREAM}
