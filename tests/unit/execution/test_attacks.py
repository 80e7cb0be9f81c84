"""What a hostile process can and cannot do under a CLI's profile, in the kernel's own words."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.execution.executor import Executor
from k8s_mcp_server.execution.limits import FILE_BYTES
from k8s_mcp_server.execution.result import ApiAccess
from k8s_mcp_server.execution.sandbox.landlock import ABI_WITH_TCP, supported_abi
from k8s_mcp_server.execution.sandbox.spawn import Sandbox
from k8s_mcp_server.policy.limits import Limits
from tests.support.sandboxed import attacker_binaries, pipeline, python_stage

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.unit

ATTACKS = Path(__file__).with_name("attacks.py")
LIMITS = Limits(timeout_seconds=30, memory_bytes=256 * 1024 * 1024)
REFUSED = {"EACCES", "EPERM"}

MUST_WORK = (
    "read own kubeconfig",
    "write into own home",
    "connect to the gateway",
    "start a thread",
)
# Attempts that any user can make without the sandbox, on any kernel: the control run shows that they are real.
REAL_ATTACKS = (
    "read the pod's token",
    "read another command's kubeconfig",
    "list the commands' folders",
    "watch the commands' folders",
    "write beside own home",
    "write elsewhere",
    "write over own kubeconfig",
    "move a file into own home",
    "overwrite a file of the server",
    "truncate a file of the server",
    "remove a file of the server",
    "change a file's mode",
    "change a file's owner",
    "change a file's times",
    "make a symbolic link",
    "make a FIFO",
    "read the server's environment",
    "read the server's command line",
    "read the server's memory map",
    "read the server's root link",
    "list the server's descriptors",
    "list /proc",
    "read /etc/passwd",
    "read the token through own root",
    "read its own environment",
    "link the token into own home",
    "fork",
    "make an executable in memory",
    "connect to another port",
    "connect to another port by IPv6",
    "connect by the fast open option",
    "listen without bind",
    "bind a port",
    "send UDP",
    "connect to a Unix socket",
    "connect to an abstract Unix socket",
    "make a socket pair",
    "signal the server",
    "signal a thread of the server",
    "signal a thread of the server by tkill",
    "signal the server by pidfd",
    "limit the server",
    "slow the server",
    "pin the server",
    "reschedule the server",
    "give a pipe to the server",
    "give a pipe to a thread of the server",
    "give a pipe to the server by a number above 32 bits",
    "choose a pipe's signal",
    "give a socket to the server",
    "hide its descriptors",
    "share anonymous memory",
    "map memory that grows downwards",
    "enlarge a pipe",
    "keep memory in a pipe",
    "make a ring for asynchronous I/O",
)
OTHER_ATTACKS = (
    "read the token through the server's root",
    "set an extended attribute",
    "open the server's memory",
    "make a device",
    "start a process by clone3",
    "connect by MPTCP",
    "make an SCTP socket",
    "connect by fast open in sendto",
    "connect by fast open in sendmsg",
    "connect by fast open in sendmmsg",
    "make a raw socket",
    "make a packet socket",
    "make a netlink socket",
    "make a vsock",
    "make a socket with a family above 32 bits",
    "queue a signal to the server",
    "read the server's limits",
    "change the server's I/O priority",
    "attach to the server",
    "read the server's memory",
    "take a descriptor of the server",
    "compare with the server",
    "unshare a user namespace",
    "enter a namespace",
    "mount",
    "change the root",
    "use the kernel's keys",
    "add a key",
    "load BPF",
    "use userfaultfd",
    "count performance events",
    "use io_uring",
    "make shared memory",
    "make a message queue",
    "open a POSIX queue",
    "change the personality",
    "give a socket to the server's group",
    "share anonymous memory, validated",
    "map huge pages",
)
LIMITED = {
    "allocate beyond its memory": {"ENOMEM"},
    "write a file beyond the limit": {"EFBIG"},
    "open many files": {"EMFILE"},
}
HARMLESS = ("signal its own group",)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A service worth attacking: this process, with its files, ports, memory and descriptors."""
    root = tmp_path_factory.mktemp("service")
    token = root / "serviceaccount" / "token"
    victims, runtime = root / "victims", root / "runtime"
    other = runtime / "command-other" / "kubeconfig"
    for path in (token, other):
        path.parent.mkdir(parents=True)
        path.write_text("secret", encoding="ascii")
    victims.mkdir()
    names = ("move", "overwrite", "truncate", "remove", "mode", "owner", "times", "attribute")
    for name in names:
        (victims / name).write_text("x", encoding="ascii")
    secret = ctypes.create_string_buffer(b"TOPSECRET")
    with ExitStack() as stack:

        def listening(address: Any, *, family: socket.AddressFamily) -> socket.socket:
            made = stack.enter_context(closing(socket.socket(family, socket.SOCK_STREAM)))
            made.bind(address)
            made.listen(64)
            return made

        gateway = listening(("127.0.0.1", 0), family=socket.AF_INET)
        forbidden = listening(("127.0.0.1", 0), family=socket.AF_INET)
        forbidden_v6 = listening(("::1", 0), family=socket.AF_INET6)
        # A short name of its own: a Unix socket's path has at most 107 bytes.
        folder = stack.enter_context(_short_folder())
        listening(str(folder / "s"), family=socket.AF_UNIX)
        listening("\0" + folder.name, family=socket.AF_UNIX)
        udp = stack.enter_context(closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))
        udp.bind(("127.0.0.1", 0))
        yield {
            "server": os.getpid(),
            "token": str(token),
            "victims": str(victims),
            "runtime_dir": str(runtime),
            "other_kubeconfig": str(other),
            "gateway_port": gateway.getsockname()[1],
            "other_port": forbidden.getsockname()[1],
            "other_port_v6": forbidden_v6.getsockname()[1],
            "udp_port": udp.getsockname()[1],
            "unix_path": str(folder / "s"),
            "unix_abstract": folder.name,
            "address": ctypes.addressof(secret),
            "descriptor": gateway.fileno(),
            "memory": LIMITS.memory_bytes,
            "file_bytes": FILE_BYTES + 1,
        }


def _short_folder() -> Any:
    import tempfile

    class Folder(tempfile.TemporaryDirectory[str]):
        def __enter__(self) -> Path:  # type: ignore[override]  # a Path is what the tests want
            return Path(super().__enter__())

    return Folder(prefix="s")


@pytest.fixture(scope="module")
def confined(facts: dict[str, Any]) -> dict[str, str]:
    """Each attempt's outcome, made from inside the sandbox."""
    return attack(facts, abi=supported_abi())


@pytest.fixture(scope="module")
def confined_without_scopes(facts: dict[str, Any]) -> dict[str, str]:
    """The same as on a kernel whose Landlock leaves signals alone."""
    return attack(facts, abi=ABI_WITH_TCP)


def attack(facts: dict[str, Any], *, abi: int) -> dict[str, str]:
    runtime = Path(facts["runtime_dir"])
    executor = Executor(binaries=attacker_binaries(), sandbox=Sandbox(abi=abi), runtime_dir=runtime)
    access = ApiAccess(server_url=f"https://127.0.0.1:{facts['gateway_port']}", ca_pem="CA", token="one-shot")
    stage = python_stage(ATTACKS.read_text(encoding="utf-8"), json.dumps(facts))
    result = asyncio.run(executor.run(pipeline(stage), access=access, limits=LIMITS))
    assert result.exit_code == 0, result.stderr.decode()
    outcomes: dict[str, str] = json.loads(result.stdout)
    return outcomes


@pytest.fixture(scope="module")
def free(
    facts: dict[str, Any],
    confined: dict[str, str],
    confined_without_scopes: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """The same attempts by a process of the same user without a sandbox, after the confined ones."""
    assert confined
    assert confined_without_scopes
    folder = tmp_path_factory.mktemp("free")
    home = folder / "home"
    home.mkdir()
    (folder / "kubeconfig").write_text("{}", encoding="ascii")
    done = subprocess.run(
        [sys.executable, "-I", str(ATTACKS), json.dumps({**facts, "file_bytes": 1, "memory": 4096})],
        env={"HOME": str(home), "KUBECONFIG": str(folder / "kubeconfig")},
        capture_output=True,
        timeout=30,
        check=True,
    )
    outcomes: dict[str, str] = json.loads(done.stdout)
    return outcomes


@pytest.mark.parametrize("attempt", MUST_WORK)
def test_a_command_can_do_what_it_needs(attempt: str, confined: dict[str, str]) -> None:
    assert confined[attempt] == "allowed"


@pytest.mark.parametrize("attempt", [*REAL_ATTACKS, *OTHER_ATTACKS])
def test_a_command_cannot(attempt: str, confined: dict[str, str]) -> None:
    # EXDEV: how Landlock refuses a link between folders. ENOSYS: clone3, so that C libraries fall back to clone.
    assert confined[attempt] in REFUSED | {"ENOSYS", "EXDEV"}


@pytest.mark.parametrize("attempt", [*REAL_ATTACKS, *OTHER_ATTACKS])
def test_a_command_cannot_without_landlocks_scopes_either(
    attempt: str, confined_without_scopes: dict[str, str]
) -> None:
    assert confined_without_scopes[attempt] in REFUSED | {"ENOSYS", "EXDEV"}


def test_without_landlocks_scopes_a_command_can_do_what_it_needs(confined_without_scopes: dict[str, str]) -> None:
    assert {confined_without_scopes[attempt] for attempt in MUST_WORK} == {"allowed"}


@pytest.mark.parametrize("number", [signal.SIGPIPE, signal.SIGTERM, 0])
def test_without_landlocks_scopes_the_server_is_not_signalled(number: int, tmp_path: Path) -> None:
    """SIGPIPE ends the process that sends it, whomever it was for."""
    script = (
        "import ctypes, os, sys\nlibc, pid, x86 = ctypes.CDLL(None), int(sys.argv[1]), os.uname().machine == 'x86_64'\n"
        "print(libc.syscall(234 if x86 else 131, pid, pid, int(sys.argv[2])))"
    )
    executor = Executor(binaries=attacker_binaries(), sandbox=Sandbox(abi=ABI_WITH_TCP), runtime_dir=tmp_path)
    with subprocess.Popen(["sleep", "60"]) as victim:
        stage = python_stage(script, str(victim.pid), str(int(number)))
        result = asyncio.run(executor.run(pipeline(stage), access=None, limits=LIMITS))
        assert victim.poll() is None
        victim.kill()
    expected = (b"", (-signal.SIGPIPE,)) if number == signal.SIGPIPE else (b"-1\n", (0,))
    assert (result.stdout, result.stage_exit_codes) == expected


@pytest.mark.parametrize("attempt", REAL_ATTACKS)
def test_without_the_sandbox_the_same_process_can(attempt: str, free: dict[str, str]) -> None:
    assert free[attempt] == "allowed"


@pytest.mark.parametrize("attempt", LIMITED)
def test_a_command_is_bounded_when_it_tries_to(attempt: str, confined: dict[str, str]) -> None:
    assert confined[attempt] in LIMITED[attempt]


def test_every_attempt_is_judged(confined: dict[str, str]) -> None:
    assert set(confined) == {*MUST_WORK, *REAL_ATTACKS, *OTHER_ATTACKS, *LIMITED, *HARMLESS}
