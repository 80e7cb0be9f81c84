"""Starts a confined process without running Python in the child.

Landlock domains, no_new_privs and seccomp filters belong to a *thread*, and what the thread starts inherits them.
So a fresh thread confines itself, starts the program by plain ``subprocess.Popen`` (vfork and exec) and ends; the
server's other threads stay free. This takes about 1.5 ms however large the server is, where ``preexec_fn`` forks
it: 37 ms at 500 MB. The thread is never used twice: domains stack up to 16 deep. It must not need an import, a file
or a lock that confinement takes away, and no PR_SET_PDEATHSIG: the child's "parent" is the thread, which ends at
once.
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8s_mcp_server.execution.limits import limit_stacks
from k8s_mcp_server.execution.sandbox import kernel, seccomp
from k8s_mcp_server.execution.sandbox.children import Children
from k8s_mcp_server.execution.sandbox.landlock import ABI_WITH_SCOPES, Ruleset
from k8s_mcp_server.execution.sandbox.ports import PortRulesets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from k8s_mcp_server.execution.sandbox.profile import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One process to start.

    Args:
        argv: its words; the first is only its name.
        executable: what is executed.
        environment: its whole environment.
        folder: its current folder.
        stdin: descriptor; so are ``stdout`` and ``stderr``. They stay open in this process.
    """

    argv: tuple[str, ...]
    executable: Path
    environment: Mapping[str, str]
    folder: Path
    stdin: int
    stdout: int
    stderr: int


class Sandbox:
    """Starts processes under the kernel's confinement. A server has one: its children are the whole process's.

    Args:
        abi: the Landlock ABI to use; 0 is refused, because nothing runs unconfined.

    Attributes:
        signals_confined: whether Landlock confines signals; where it does not, a process cannot signal even itself.

    Raises:
        OSError: the kernel has no Landlock, or this machine's architecture no filter.
    """

    def __init__(self, *, abi: int) -> None:
        if abi < 1:
            raise OSError("the kernel has no Landlock")
        limit_stacks()
        self._abi = abi
        self.signals_confined = abi >= ABI_WITH_SCOPES
        self._children = Children()
        self._filters = {
            sockets: seccomp.build_filter(sockets=sockets, signals_confined=self.signals_confined)
            for sockets in seccomp.Sockets
        }
        self._forwarding = PortRulesets(abi=abi)

    def start(self, spec: ProcessSpec, *, profile: Profile) -> Future[subprocess.Popen[bytes]]:
        """Start the process as the leader of its own session; the future has it, or the OSError of a refusal."""
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox")
        future = pool.submit(self._start, spec, profile)
        pool.shutdown(wait=False)
        return future

    def ended(self, pid: int) -> None:
        """Say that a process which ``start`` started has been reaped."""
        self._children.ended(pid)

    def end_strays(self) -> int:
        """Kill and reap processes that left their group; how many there were. Reads ``/proc``, which takes some ms.

        The filter leaves one way to make a process, vfork, because the start of a program needs it. A program taken
        over by native code can use it, too, and its child can leave the group that is killed. It keeps the sandbox
        and all limits; here it ends.
        """
        return self._children.end_strays()

    def _start(self, spec: ProcessSpec, profile: Profile) -> subprocess.Popen[bytes]:
        with self._children.starting() as started:
            process = self._start_confined(spec, profile)
            started(process.pid)
            return process

    def _start_confined(self, spec: ProcessSpec, profile: Profile) -> subprocess.Popen[bytes]:
        forwarding = self._forwarding.of(profile) if profile.forward_ports else None
        ports = profile.connect_ports if forwarding is None else None
        ruleset = Ruleset(abi=self._abi, files=profile.files, connect_ports=ports)
        try:
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
            if forwarding is not None:
                forwarding.restrict_this_thread()
            ruleset.restrict_this_thread()
            seccomp.restrict_this_thread(self._filters[profile.sockets])
            return subprocess.Popen(
                [word.encode() for word in spec.argv],
                executable=str(spec.executable).encode(),
                env={name.encode(): value.encode() for name, value in spec.environment.items()},
                cwd=spec.folder,
                stdin=spec.stdin,
                stdout=spec.stdout,
                stderr=spec.stderr,
                start_new_session=True,
                close_fds=True,
            )
        finally:
            ruleset.close()
