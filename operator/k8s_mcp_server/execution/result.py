"""What a command is given to reach the API server, and what is known when it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class KilledFor(StrEnum):
    """Why this service ended a command itself; ``none`` is the empty string, so that it reads as false."""

    NONE = ""
    TIMEOUT = "timeout"
    OUTPUT = "output"
    DISK = "disk"
    CPU = "cpu"
    MEMORY = "memory"
    POLICY = "policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiAccess:
    """How one command reaches the gateway; becomes its private kubeconfig.

    Args:
        server_url: ``https://127.0.0.1:PORT``; the only address that the sandbox lets the command connect to.
        ca_pem: the certificate that the gateway is verified with.
        token: the command's one-shot bearer token.
        namespace: the kubeconfig's default namespace; empty means ``default``, as in kubectl.
    """

    server_url: str
    ca_pem: str
    token: str
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a running command is: bytes of output so far, and seconds since it was started."""

    stdout_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A command that has ended, all of its processes with it.

    Args:
        exit_code: that of the rightmost stage that failed, else 0, in the shell's convention (128 + signal); a
            stage that lost its reader did not fail. None when this service ended the command.
        stage_exit_codes: per stage, negative for a signal.
        stdout: at most the limit's bytes; what there was when the command was ended is kept.
        stderr: of all stages that do not send it elsewhere, at most 64 KiB.
        duration_seconds: from the start of the first process to the end of the last.
        stdout_truncated: more output would have come.
        stderr_truncated: more came and was dropped.
        timed_out: the time limit ended the command.
        killed_for: what ended the command, when it was not the command itself.
        cpu_seconds: user and system time of all stages.
        files: what its CLIs wrote in their folder, by relative name; within the output limit.
        files_left_out: names of those that are not in ``files``: too large, too many, or no regular file.
    """

    exit_code: int | None
    stage_exit_codes: tuple[int, ...]
    stdout: bytes
    stderr: bytes
    duration_seconds: float
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    timed_out: bool = False
    killed_for: KilledFor = KilledFor.NONE
    cpu_seconds: float = 0.0
    files: Mapping[str, bytes] = field(default_factory=dict)
    files_left_out: tuple[str, ...] = ()
