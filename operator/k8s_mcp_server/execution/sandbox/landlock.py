"""Landlock rulesets: which files a process may open, and which TCP ports it may connect to.

Numbers are those of include/uapi/linux/landlock.h. A ruleset denies all that it handles; each rule gives some of it
back for a file, for a folder and all below it, or for a port. What Landlock does not handle (``chmod``, ``stat``,
UDP, MPTCP and more) is the business of ``seccomp``.
"""

from __future__ import annotations

import os
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING

from k8s_mcp_server.execution.sandbox import kernel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_CREATE_VERSION = 1
_RULE_PATH, _RULE_PORT = 1, 2
_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPE_ABSTRACT_UNIX_AND_SIGNAL = 3

ABI_WITH_TCP = 4
ABI_WITH_SCOPES = 6


class FileAccess(IntFlag):
    """Rights to files and folders; the later ones exist only from the ABI given in ``_HANDLED_BITS``."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ = FileAccess.READ_FILE | FileAccess.READ_DIR
RUN = FileAccess.READ_FILE | FileAccess.EXECUTE
READ_AND_WRITE_FILE = FileAccess.READ_FILE | FileAccess.WRITE_FILE
USE_FOLDER = (
    READ
    | FileAccess.WRITE_FILE
    | FileAccess.REMOVE_DIR
    | FileAccess.REMOVE_FILE
    | FileAccess.MAKE_DIR
    | FileAccess.MAKE_REG
    | FileAccess.REFER
    | FileAccess.TRUNCATE
)
USE_SOCKETS = FileAccess.MAKE_SOCK | FileAccess.REMOVE_FILE
_ON_FILES = FileAccess.EXECUTE | READ_AND_WRITE_FILE | FileAccess.TRUNCATE | FileAccess.IOCTL_DEV
_HANDLED_BITS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # ABI: number of file rights


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRule:
    """What may be done with a file, or with a folder and all below it. A path that does not exist gives nothing."""

    path: Path
    access: FileAccess


def supported_abi() -> int:
    """The kernel's Landlock ABI; 0 when it has none, or none that this process may use."""
    try:
        return kernel.system_call(_CREATE_RULESET, None, 0, _CREATE_VERSION)
    except OSError:
        return 0


class Ruleset:
    """An open ruleset, good for any number of processes until it is closed.

    Args:
        abi: the ABI to use, at most ``supported_abi()``; below 4 there are no port rules, below 6 signals are not
            confined.
        files: the only files that may be opened; None leaves files, and scopes, to another ruleset.
        connect_ports: the only TCP ports that may be connected to (on any address: Landlock knows ports, not
            hosts); None leaves ports to another ruleset.
        bind_any_port: whether a socket may be bound to a port of the kernel's choice.

    Raises:
        OSError: the kernel refused.
    """

    def __init__(
        self,
        *,
        abi: int,
        files: Iterable[FileRule] | None,
        connect_ports: Iterable[int] | None = (),
        bind_any_port: bool = False,
    ) -> None:
        self._handled = FileAccess((1 << _HANDLED_BITS[min(abi, 5)]) - 1 if files is not None else 0)
        network = _BIND_TCP | _CONNECT_TCP if abi >= ABI_WITH_TCP and connect_ports is not None else 0
        scopes = _SCOPE_ABSTRACT_UNIX_AND_SIGNAL if abi >= ABI_WITH_SCOPES and files is not None else 0
        size = 8 if abi < ABI_WITH_TCP else 16 if abi < ABI_WITH_SCOPES else 24
        attributes = struct.pack("=QQQ", self._handled, network, scopes)[:size]
        self._descriptor = kernel.system_call(_CREATE_RULESET, attributes, size, 0)
        try:
            os.set_inheritable(self._descriptor, False)  # noqa: FBT003 - the parameter has no name
            for rule in files or ():
                self._allow_path(rule)
            for port in (connect_ports or ()) if network else ():
                self._add(_RULE_PORT, struct.pack("=QQ", _CONNECT_TCP, port))
            if network and bind_any_port:
                self._add(_RULE_PORT, struct.pack("=QQ", _BIND_TCP, 0))
        except BaseException:
            self.close()
            raise

    def restrict_this_thread(self) -> None:
        """Confine the calling thread, and all that it starts, for good. ``no_new_privs`` must be set.

        Raises:
            OSError: the kernel refused.
        """
        kernel.system_call(_RESTRICT_SELF, self._descriptor, 0)

    def close(self) -> None:
        """Give the descriptor back; processes that were confined stay so."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _allow_path(self, rule: FileRule) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            descriptor = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
            try:
                access = rule.access & self._handled
                if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                    access &= _ON_FILES
                self._add(_RULE_PATH, struct.pack("=Qi", access, descriptor))
            finally:
                os.close(descriptor)

    def _add(self, kind: int, rule: bytes) -> None:
        kernel.system_call(_ADD_RULE, self._descriptor, kind, rule, 0)
