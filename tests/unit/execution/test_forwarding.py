"""A CLI that forwards ports to itself: it may listen where the kernel says, and connect there, and no other may."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from k8s_mcp_server.execution.result import ApiAccess
from k8s_mcp_server.execution.sandbox.ports import local_ports
from k8s_mcp_server.policy.limits import Limits
from tests.support.sandboxed import make_executor, pipeline, python_stage

if TYPE_CHECKING:
    from pathlib import Path

    from k8s_mcp_server.execution.result import Result

pytestmark = pytest.mark.unit

LIMITS = Limits(timeout_seconds=30, memory_bytes=256 * 1024 * 1024)
ATTEMPTS = """
import json, socket, sys
port_elsewhere, gateway = map(int, sys.argv[1:])
def tcp(family=socket.AF_INET, protocol=0):
    return socket.socket(family, socket.SOCK_STREAM, protocol)
def serve_itself():
    with tcp() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(server.getsockname(), timeout=5) as client, server.accept()[0] as accepted:
            client.sendall(b"hello")
            assert accepted.recv(5) == b"hello"
def bind(port):
    with tcp() as server:
        server.bind(("127.0.0.1", port))
attempts = {
    "serve itself": serve_itself,
    "connect to the gateway": lambda: socket.create_connection(("127.0.0.1", gateway), timeout=5).close(),
    "connect to a port that nobody is given": lambda: socket.create_connection(("127.0.0.1", port_elsewhere), 5),
    "bind a port of its own choice": lambda: bind(port_elsewhere - 1),
    "make an MPTCP socket": lambda: tcp(protocol=262),
    "send UDP": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "read the hosts": lambda: open("/etc/hosts").close(),
    "read the users": lambda: open("/etc/passwd").close(),
}
outcomes = {}
for name, attempt in attempts.items():
    try:
        attempt()
        outcomes[name] = "allowed"
    except OSError as error:
        outcomes[name] = type(error).__name__
print(json.dumps(outcomes))
"""
WORKS = {"serve itself", "connect to the gateway", "read the hosts"}


def outcomes_of(tmp_path: Path, *, forwards_ports: bool, times: int = 1) -> list[dict[str, str]]:
    """What a process, or several at once, could do."""
    with closing(socket.create_server(("127.0.0.1", 0))) as gateway, closing(_server_elsewhere()) as elsewhere:
        port = gateway.getsockname()[1]
        access = ApiAccess(server_url=f"https://127.0.0.1:{port}", ca_pem="CA", token="one-shot")
        stage = python_stage(ATTEMPTS, str(elsewhere.getsockname()[1]), str(port))
        stage = replace(stage, forwards_ports=forwards_ports)

        async def run() -> list[Result]:
            executor = make_executor(tmp_path)
            commands = [executor.run(pipeline(stage), access=access, limits=LIMITS) for _ in range(times)]
            return await asyncio.gather(*commands)

        return [json.loads(result.stdout) for result in asyncio.run(run())]


def allowed(outcomes: dict[str, str]) -> set[str]:
    return {name for name, outcome in outcomes.items() if outcome == "allowed"}


def _server_elsewhere() -> socket.socket:
    """A listener on a port that the kernel gives nobody by itself."""
    first = local_ports().start
    for port in range(first - 1, first - 1000, -1):
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            continue
    raise AssertionError("no free port below the kernel's range")


def test_it_serves_itself_and_reaches_the_gateway_and_nothing_else(tmp_path: Path) -> None:
    (outcomes,) = outcomes_of(tmp_path, forwards_ports=True)
    assert allowed(outcomes) == WORKS
    assert {outcome for name, outcome in outcomes.items() if name not in WORKS} == {"PermissionError"}


def test_another_cli_neither_serves_nor_reads_the_hosts(tmp_path: Path) -> None:
    (outcomes,) = outcomes_of(tmp_path, forwards_ports=False)
    assert allowed(outcomes) == {"connect to the gateway"}


def test_several_at_once_share_what_takes_long_to_make(tmp_path: Path) -> None:
    assert [allowed(each) for each in outcomes_of(tmp_path, forwards_ports=True, times=3)] == [WORKS] * 3


def test_another_cli_does_not_reach_what_it_serves(tmp_path: Path) -> None:
    serve = (
        "import socket, sys\nserver = socket.socket()\nserver.bind(('127.0.0.1', 0))\nserver.listen()\n"
        "print(server.getsockname()[1], flush=True)\nsys.stdin.read()"
    )
    reach = (
        "import socket, sys\nport = int(sys.stdin.readline())\ntry:\n"
        " socket.create_connection(('127.0.0.1', port), 5)\n print('reached')\nexcept OSError as error:\n"
        " print(type(error).__name__)"
    )
    stages = (replace(python_stage(serve), forwards_ports=True), python_stage(reach))
    access = ApiAccess(server_url="https://127.0.0.1:1", ca_pem="CA", token="one-shot")
    result = asyncio.run(make_executor(tmp_path).run(pipeline(*stages), access=access, limits=LIMITS))
    assert result.stdout == b"PermissionError\n"
