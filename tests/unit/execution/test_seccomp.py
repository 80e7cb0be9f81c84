"""The filter's program, run by hand for both architectures: the kernel here can only show one of them."""

from __future__ import annotations

import errno
import signal
import struct

import pytest

from k8s_mcp_server.execution.sandbox.seccomp import Sockets, build_filter
from k8s_mcp_server.execution.sandbox.syscalls import AARCH64, SYSCALLS, X86_64, Architecture

pytestmark = pytest.mark.unit

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
STREAM, DATAGRAM, CLOEXEC, NONBLOCK = 1, 2, 0o2000000, 0o4000
UNIX, INET, INET6, NETLINK, VSOCK, PACKET, SMC = 1, 2, 10, 16, 40, 17, 43
FAST_OPEN = 0x20000000
THREAD_OF_GO = 0x50F00  # VM, FS, FILES, SIGHAND, SYSVSEM, THREAD (runtime/os_linux.go)
THREAD_OF_C = 0x3D0F00
ORDINARY = {"read": (0, 63), "openat": (257, 56), "connect": (42, 203), "execve": (59, 221), "futex": (202, 98)}
BY_ARGUMENTS = {
    "socket", "sendto", "sendmsg", "clone", "clone3", "prlimit64", "tgkill", "fcntl", "ioctl", "prctl", "mmap",
}  # fmt: skip
SHARED, PRIVATE, FIXED, ANONYMOUS, NO_RESERVE, STACK = 0x01, 0x02, 0x10, 0x20, 0x4000, 0x20000
GROWS_DOWN, HUGE = 0x100, 0x40000
both = pytest.mark.parametrize("architecture", [X86_64, AARCH64], ids=lambda each: each.machine)


def run(program: bytes, *, number: int, audit_arch: int, arguments: tuple[int, ...] = ()) -> int:
    """A classic BPF machine with the instructions that the filter uses (linux/filter.h)."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number if number < 2**31 else number - 2**32, audit_arch, 0, *values)
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, value = instructions[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return int(value)
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += if_true if holds else if_false


def call(
    architecture: Architecture,
    name: str,
    *arguments: int,
    sockets: Sockets = Sockets.CONNECTING,
    signals_confined: bool = True,
) -> int:
    number = architecture.number(name)
    assert number is not None
    program = build_filter(sockets=sockets, signals_confined=signals_confined, architecture=architecture)
    return run(program, number=number, audit_arch=architecture.audit_arch, arguments=arguments)


@both
def test_ordinary_calls_pass(architecture: Architecture) -> None:
    program = build_filter(sockets=Sockets.NONE, signals_confined=True, architecture=architecture)
    for numbers in ORDINARY.values():
        number = numbers[architecture.column]
        assert run(program, number=number, audit_arch=architecture.audit_arch) == ALLOW


@both
def test_a_foreign_architecture_is_killed(architecture: Architecture) -> None:
    program = build_filter(sockets=Sockets.CONNECTING, signals_confined=True, architecture=architecture)
    assert run(program, number=0, audit_arch=0x40000003) == KILL


def test_the_x32_numbers_are_killed() -> None:
    program = build_filter(sockets=Sockets.CONNECTING, signals_confined=True, architecture=X86_64)
    assert run(program, number=0x40000000 | 41, audit_arch=X86_64.audit_arch) == KILL
    assert run(program, number=0xFFFFFFFF, audit_arch=X86_64.audit_arch) == KILL


@both
@pytest.mark.parametrize("name", sorted(set(SYSCALLS) - BY_ARGUMENTS))
def test_a_listed_call_is_refused(architecture: Architecture, name: str) -> None:
    if architecture.number(name) is None:
        assert architecture is AARCH64
        return
    assert call(architecture, name) == EPERM


@both
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param((INET, STREAM, 0), ALLOW, id="TCP"),
        pytest.param((INET6, STREAM | CLOEXEC | NONBLOCK, 6), ALLOW, id="TCP over IPv6, as Go asks for it"),
        pytest.param((INET, STREAM, 262), EPERM, id="MPTCP"),
        pytest.param((INET, STREAM, 132), EPERM, id="SCTP"),
        pytest.param((INET, DATAGRAM, 0), EPERM, id="UDP"),
        pytest.param((INET, 3, 1), EPERM, id="raw"),
        pytest.param((UNIX, STREAM, 0), EPERM, id="Unix"),
        pytest.param((NETLINK, 3, 0), EPERM, id="netlink"),
        pytest.param((NETLINK, 3, 4), EPERM, id="netlink, for other processes' sockets"),
        pytest.param((NETLINK, DATAGRAM, 0), EPERM, id="netlink of another type"),
        pytest.param((VSOCK, STREAM, 0), EPERM, id="vsock"),
        pytest.param((PACKET, 3, 0), EPERM, id="packet"),
        pytest.param((SMC, STREAM, 0), EPERM, id="SMC"),
        pytest.param(((1 << 32) | UNIX, STREAM, 0), EPERM, id="Unix, above 32 bits"),
    ],
)
def test_sockets(architecture: Architecture, arguments: tuple[int, ...], expected: int) -> None:
    assert call(architecture, "socket", *arguments) == expected
    assert call(architecture, "socket", *arguments, sockets=Sockets.FORWARDING) == (
        ALLOW if arguments == (NETLINK, 3, 0) else expected
    )
    assert call(architecture, "socket", *arguments, sockets=Sockets.BRIDGING) == (
        ALLOW if (arguments[0] & 0xFFFFFFFF, *arguments[1:]) == (UNIX, STREAM, 0) else expected
    )
    assert call(architecture, "socket", *arguments, sockets=Sockets.NONE) == EPERM


@both
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param((UNIX, STREAM | CLOEXEC | NONBLOCK, 0), ALLOW, id="a stream, as Go makes it"),
        pytest.param((UNIX, DATAGRAM, 0), EPERM, id="datagrams"),
        pytest.param((UNIX, 5, 0), EPERM, id="packets"),
        pytest.param((UNIX, STREAM, 1), EPERM, id="another protocol"),
    ],
)
def test_unix_sockets_of_one_that_speaks_with_itself(
    architecture: Architecture, arguments: tuple[int, ...], expected: int
) -> None:
    assert call(architecture, "socket", *arguments, sockets=Sockets.BRIDGING) == expected


@both
@pytest.mark.parametrize("name", ["bind", "listen", "accept", "accept4"])
def test_only_one_that_speaks_with_itself_may_serve_a_socket(architecture: Architecture, name: str) -> None:
    assert call(architecture, name, sockets=Sockets.FORWARDING) == ALLOW
    assert call(architecture, name, sockets=Sockets.BRIDGING) == ALLOW
    assert call(architecture, name, sockets=Sockets.CONNECTING) == EPERM
    assert call(architecture, name, sockets=Sockets.NONE) == EPERM


@both
@pytest.mark.parametrize("name", sorted(set(SYSCALLS) - BY_ARGUMENTS - {"bind", "listen", "accept", "accept4"}))
def test_one_that_speaks_with_itself_may_call_nothing_else_that_is_listed(
    architecture: Architecture, name: str
) -> None:
    if architecture.number(name) is not None:
        assert call(architecture, name, sockets=Sockets.FORWARDING) == EPERM
        assert call(architecture, name, sockets=Sockets.BRIDGING) == EPERM


@both
def test_fast_open_is_refused_and_other_sending_is_not(architecture: Architecture) -> None:
    assert call(architecture, "sendto", 3, 0, 0, 0) == ALLOW
    assert call(architecture, "sendto", 3, 0, 0, FAST_OPEN | 0x4000) == EPERM
    assert call(architecture, "sendmsg", 3, 0, 0) == ALLOW
    assert call(architecture, "sendmsg", 3, 0, FAST_OPEN) == EPERM


@both
def test_threads_may_be_made_and_processes_may_not(architecture: Architecture) -> None:
    assert call(architecture, "clone", THREAD_OF_GO) == ALLOW
    assert call(architecture, "clone", THREAD_OF_C) == ALLOW
    assert call(architecture, "clone", 17) == EPERM
    assert call(architecture, "clone", 0x01200011) == EPERM
    assert call(architecture, "clone", THREAD_OF_GO | 0x40000000) == EPERM
    assert call(architecture, "clone3") == ENOSYS
    assert call(architecture, "clone", 0x4111) == ALLOW  # vfork, by which a CLI may start its helper
    assert call(architecture, "clone", 0x4011) == EPERM
    assert call(architecture, "clone", 0x0111) == EPERM


@both
def test_limits_of_itself_only(architecture: Architecture) -> None:
    assert call(architecture, "prlimit64", 0) == ALLOW
    assert call(architecture, "prlimit64", 1) == EPERM


@both
def test_where_signals_are_not_confined_none_can_be_sent(architecture: Architecture) -> None:
    assert call(architecture, "tgkill", 1, 1, signal.SIGTERM) == ALLOW
    for number in (0, signal.SIGTERM, signal.SIGKILL, signal.SIGURG):
        assert call(architecture, "tgkill", 1, 1, number, signals_confined=False) == EPERM
    assert call(architecture, "tgkill", 1, 1, signal.SIGPIPE, signals_confined=False) == KILL


@both
@pytest.mark.parametrize("signals_confined", [True, False])
@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        pytest.param("fcntl", 8, EPERM, id="F_SETOWN"),
        pytest.param("fcntl", 15, EPERM, id="F_SETOWN_EX"),
        pytest.param("fcntl", (1 << 32) | 15, EPERM, id="F_SETOWN_EX, above 32 bits"),
        pytest.param("fcntl", 10, EPERM, id="F_SETSIG"),
        pytest.param("fcntl", 1031, EPERM, id="F_SETPIPE_SZ"),
        pytest.param("fcntl", 4, ALLOW, id="F_SETFL"),
        pytest.param("fcntl", 1030, ALLOW, id="F_DUPFD_CLOEXEC"),
        pytest.param("ioctl", 0x8901, EPERM, id="FIOSETOWN"),
        pytest.param("ioctl", (1 << 32) | 0x8902, EPERM, id="SIOCSPGRP, above 32 bits"),
        pytest.param("ioctl", 0x5401, ALLOW, id="TCGETS"),
    ],
)
def test_a_descriptors_signals_have_no_owner(
    architecture: Architecture, name: str, argument: int, expected: int, signals_confined: bool
) -> None:
    assert call(architecture, name, 3, argument, signals_confined=signals_confined) == expected


@both
def test_a_process_cannot_hide_its_descriptors(architecture: Architecture) -> None:
    assert call(architecture, "prctl", 4, 0) == EPERM
    assert call(architecture, "prctl", 0x53564D41, 0) == ALLOW  # PR_SET_VMA, by which Go names its memory


@both
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        pytest.param(PRIVATE | ANONYMOUS, ALLOW, id="private"),
        pytest.param(PRIVATE | ANONYMOUS | STACK | NO_RESERVE, ALLOW, id="a thread's stack"),
        pytest.param(PRIVATE | FIXED, ALLOW, id="a library"),
        pytest.param(SHARED, ALLOW, id="a shared file"),
        pytest.param(SHARED | ANONYMOUS, EPERM, id="shared memory"),
        pytest.param((1 << 32) | SHARED | ANONYMOUS | FIXED, EPERM, id="shared memory, with more bits"),
        pytest.param(3 | ANONYMOUS, EPERM, id="shared memory, validated"),
        pytest.param(PRIVATE | ANONYMOUS | GROWS_DOWN, EPERM, id="counted as stack"),
        pytest.param(PRIVATE | ANONYMOUS | HUGE, EPERM, id="of the huge pages' pool"),
    ],
)
def test_memory_that_no_limit_counts(architecture: Architecture, flags: int, expected: int) -> None:
    assert call(architecture, "mmap", 0, 4096, 3, flags) == expected


@both
def test_the_program_is_within_the_kernels_bounds(architecture: Architecture) -> None:
    for sockets in Sockets:
        program = build_filter(sockets=sockets, signals_confined=False, architecture=architecture)
        assert len(program) // 8 < 4096
