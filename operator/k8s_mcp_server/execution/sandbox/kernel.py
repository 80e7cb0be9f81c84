"""The few system calls that Python has no function for, through the C library."""

from __future__ import annotations

import ctypes
import os

PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.restype = ctypes.c_int


def system_call(number: int, *arguments: int | bytes | None) -> int:
    """Call the kernel; integers are passed as 64-bit values.

    Raises:
        OSError: with the kernel's error number.
    """
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    ctypes.set_errno(0)
    return _checked(int(_libc.syscall(ctypes.c_long(number), *converted)), what=f"system call {number}")


def prctl(option: int, value: int, pointer: bytes | None = None) -> None:
    """Change an attribute of the calling thread (of the process, for the dumpable flag).

    Raises:
        OSError: with the kernel's error number.
    """
    ctypes.set_errno(0)
    third = ctypes.c_long(0) if pointer is None else pointer
    zero = ctypes.c_long(0)
    _checked(_libc.prctl(option, ctypes.c_long(value), third, zero, zero), what=f"prctl {option}")


def guard_process() -> None:
    """Prepare this process for starting hostile ones: call it once, when the server starts.

    It is hidden from other processes of the same user (PR_SET_DUMPABLE in prctl(2)): they cannot read its
    environment and memory, even where Landlock failed; in turn it leaves no core dumps and cannot read its own
    ``/proc/self/environ``. And it becomes the parent of every process that loses its own, so that
    ``Sandbox.end_strays`` finds them.
    """
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def _checked(result: int, *, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
