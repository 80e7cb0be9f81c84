"""What each kind of program may touch: a profile is pure data, made anew for each process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from k8s_mcp_server.execution.sandbox.landlock import (
    READ,
    READ_AND_WRITE_FILE,
    RUN,
    USE_FOLDER,
    USE_SOCKETS,
    FileRule,
)
from k8s_mcp_server.execution.sandbox.seccomp import Sockets

if TYPE_CHECKING:
    from k8s_mcp_server.execution.binaries import Program

_DEV_NULL = FileRule(path=Path("/dev/null"), access=READ_AND_WRITE_FILE)
_TIME_ZONES = (
    FileRule(path=Path("/etc/localtime"), access=READ),
    FileRule(path=Path("/usr/share/zoneinfo"), access=READ),
)
_LOADER_CACHE = FileRule(path=Path("/etc/ld.so.cache"), access=READ)
_HOSTS = FileRule(path=Path("/etc/hosts"), access=READ)  # it says what localhost is
_LOCALES = FileRule(path=Path("/usr/lib/locale"), access=READ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a process may touch.

    Args:
        files: the only files that it may open or execute.
        sockets: which it may make.
        connect_ports: the only TCP ports that it may connect to.
        forward_ports: for one that forwards ports to itself: it may bind any port of the kernel's choice, and connect
            to these, among which the kernel chooses.
    """

    files: tuple[FileRule, ...]
    sockets: Sockets = Sockets.NONE
    connect_ports: tuple[int, ...] = ()
    forward_ports: range = range(0)


def cli_profile(
    program: Program,
    *,
    read: tuple[Path, ...],
    write: tuple[Path, ...],
    connect_ports: tuple[int, ...],
    helper: Program | None = None,
    forward_ports: range = range(0),
    sockets_in: Path | None = None,
    fetches: bool = False,
) -> Profile:
    """A bundled CLI: executes nothing but itself, sees its own command's files, connects to the gateway.

    Args:
        program: the CLI; statically linked, so it needs no libraries.
        helper: one more program that it may execute, which is confined as it is itself.
        read: its kubeconfig and the like.
        write: its home.
        connect_ports: the gateway's port, or none.
        forward_ports: see ``Profile``; only where there is a gateway.
        fetches: whether it keeps a cache of what it fetches, as helm does.
        sockets_in: the one folder in which it may make Unix sockets; None for a CLI that makes none.
    """
    usual = Sockets.FETCHING if fetches else Sockets.CONNECTING
    sockets = Sockets.FORWARDING if forward_ports else Sockets.BRIDGING if sockets_in else usual
    return Profile(
        files=(
            *_run(program),
            *(_run(helper) if helper else ()),
            _DEV_NULL,
            *_TIME_ZONES,
            *((_HOSTS,) if forward_ports else ()),
            *(FileRule(path=path, access=READ) for path in read),
            *(FileRule(path=path, access=USE_FOLDER) for path in write),
            *((FileRule(path=sockets_in, access=USE_SOCKETS),) if sockets_in else ()),
        ),
        sockets=sockets if connect_ports else Sockets.NONE,
        connect_ports=connect_ports,
        forward_ports=forward_ports if connect_ports else range(0),
    )


def filter_profile(program: Program, *, write: tuple[Path, ...] = ()) -> Profile:
    """A text filter: its own binary and libraries, no other files, no network.

    Args:
        program: the filter.
        write: a private folder, for ``sort``.
    """
    return Profile(
        files=(
            *_run(program),
            _DEV_NULL,
            _LOADER_CACHE,
            _LOCALES,
            *_TIME_ZONES,
            *(FileRule(path=path, access=USE_FOLDER) for path in write),
        )
    )


def _run(program: Program) -> tuple[FileRule, ...]:
    loader = (FileRule(path=program.loader, access=RUN),) if program.loader else ()
    libraries = (FileRule(path=path, access=READ) for path in program.libraries)
    return (FileRule(path=program.path, access=RUN), *loader, *libraries)
