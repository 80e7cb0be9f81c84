"""A CLI that speaks with itself over a Unix socket, as argocd does: one folder for it, and no other way out."""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from k8s_mcp_server.execution.environment import argocd_environment
from k8s_mcp_server.execution.result import ApiAccess
from k8s_mcp_server.execution.sandbox.landlock import supported_abi
from k8s_mcp_server.execution.sandbox.profile import cli_profile
from k8s_mcp_server.execution.sandbox.spawn import ProcessSpec, Sandbox
from k8s_mcp_server.execution.workdir import Workdir
from tests.support.sandboxed import python_program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

ATTEMPTS = """
import json, os, socket, sys
gateway, elsewhere = map(int, sys.argv[1:3])
temporary, home, outside = sys.argv[3:]
def unix(path, kind=socket.SOCK_STREAM):
    server = socket.socket(socket.AF_UNIX, kind)
    server.bind(path)
    return server
def speak_with_itself():
    path = os.path.join(os.environ["TMPDIR"], "argocd-0123456789abcdef.sock")
    with unix(path) as server:
        server.listen()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(path)
            accepted, _ = server.accept()
            client.sendall(b"hello")
            assert accepted.recv(5) == b"hello"
            accepted.close()
    os.unlink(path)
def bind_tcp(port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("127.0.0.1", port))
attempts = {
    "speak with itself": speak_with_itself,
    "connect to the gateway": lambda: socket.create_connection(("127.0.0.1", gateway), timeout=5).close(),
    "connect to another port": lambda: socket.create_connection(("127.0.0.1", elsewhere), timeout=5).close(),
    "a socket in its home": lambda: unix(home + "/s").close(),
    "a socket outside": lambda: unix(outside + "/s").close(),
    "a datagram socket": lambda: unix(temporary + "/d", socket.SOCK_DGRAM).close(),
    "a pair of sockets": lambda: socket.socketpair()[0].close(),
    "bind a TCP port": lambda: bind_tcp(0),
    "a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close(),
    "an MPTCP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close(),
    "read the kubeconfig": lambda: open(os.path.dirname(home) + "/kubeconfig").close(),
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


def access(port: int) -> ApiAccess:
    return ApiAccess(server_url=f"https://127.0.0.1:{port}", ca_pem="CA", token="one-shot")


def run(script: str, *arguments: str, workdir: Workdir, port: int) -> str:
    """The output of a Python script in the place of argocd."""
    profile = cli_profile(
        python_program(),
        read=(workdir.authority,),
        write=(workdir.home, workdir.work),
        connect_ports=(port,),
        sockets_in=workdir.temporary,
    )
    output, feed = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    spec = ProcessSpec(
        argv=(sys.executable, "-I", "-S", "-c", script, *arguments),
        executable=python_program().path,
        environment=argocd_environment(workdir, memory_bytes=1 << 28, signals_confined=True),
        folder=workdir.work,
        stdin=null,
        stdout=feed,
        stderr=2,
    )
    process = Sandbox(abi=supported_abi()).start(spec, profile=profile).result(timeout=10)
    os.close(feed)
    os.close(null)
    with os.fdopen(output) as reader:
        text = reader.read()
    assert process.wait(timeout=20) == 0
    return text


def test_it_speaks_with_itself_and_with_the_gateway_and_with_nobody_else(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with closing(socket.create_server(("127.0.0.1", 0))) as gateway, closing(_listening()) as elsewhere:
        port = gateway.getsockname()[1]
        workdir = Workdir(tmp_path, access=access(port))
        folders = (str(workdir.temporary), str(workdir.home), str(outside))
        told = run(ATTEMPTS, str(port), str(elsewhere.getsockname()[1]), *folders, workdir=workdir, port=port)
    outcomes = json.loads(told)
    allowed = {name for name, outcome in outcomes.items() if outcome == "allowed"}
    assert allowed == {"speak with itself", "connect to the gateway"}, outcomes


def test_its_environment_is_the_gateway_and_nothing_of_kubernetes(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path, access=access(7))
    environment = argocd_environment(workdir, memory_bytes=1 << 28, signals_confined=True)
    assert not [name for name in environment if name.startswith("KUBE")]
    assert (environment["ARGOCD_SERVER"], environment["ARGOCD_AUTH_TOKEN"]) == ("127.0.0.1:7", "one-shot")
    assert environment["ARGOCD_OPTS"] == f"--grpc-web --server-crt={workdir.authority}"
    assert workdir.authority.read_text() == "CA"


def test_the_path_of_its_socket_is_short_wherever_its_folder_is(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    workdir = Workdir(deep, access=access(7))
    folder = argocd_environment(workdir, memory_bytes=1 << 28, signals_confined=True)["TMPDIR"]
    assert len(f"{folder}/argocd-0123456789abcdef.sock") < 108
    assert (workdir.work / folder).resolve() == workdir.temporary.resolve()


def _listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))
