"""What a command that was taken over finds in a real Pod: no token, no server, no neighbour, no API server."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.node.site import NAMESPACE

if TYPE_CHECKING:
    from tests.e2e.node.site import Site

pytestmark = pytest.mark.e2e

_MCP: Final = 8080
_HEALTH: Final = 8081
_LISTENING: Final = "0A"  # in /proc/net/tcp: net/ipv4/tcp_ipv4.c, include/net/tcp_states.h
_LOOPBACK: Final = "0100007F"

# Prints, as JSON, which attempts worked. It is what the confined process runs, and the free one.
_ATTEMPTS: Final = """\
import json, os, socket, sys
neighbour, api, gateway = sys.argv[1], sys.argv[2], int(sys.argv[3])
token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
def connect(*address):
    socket.create_connection(address, timeout=5).close()
def write(path):
    with open(path, "w"):
        os.unlink(path)
attempts = {
    "read the Pod's token": lambda: open(token).read(),
    "read the token through the server's root": lambda: open("/proc/1/root" + token).read(),
    "read the server's environment": lambda: open("/proc/1/environ").read(),
    "list the server's descriptors": lambda: os.listdir("/proc/1/fd"),
    "read the settings": lambda: open("/etc/k8s-mcp-server/config.yaml").read(),
    "list the commands' folders": lambda: os.listdir("/run/k8s-mcp-server"),
    "write into the commands' folders": lambda: write("/run/k8s-mcp-server/left-by-a-test"),
    "write into /tmp": lambda: write("/tmp/left-by-a-test"),
    "signal the server": lambda: os.kill(1, 0),
    "reach the API server": lambda: connect(api, 443),
    "reach another replica": lambda: connect(neighbour, 8080),
    "reach the server's own health port": lambda: connect("127.0.0.1", 8081),
    "reach the gateway without being given its port": lambda: connect("127.0.0.1", gateway),
    "ask the cluster's DNS": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
    "start a process": lambda: os.posix_spawn("/bin/true", ["true"], {}),
}
worked = []
for name, attempt in attempts.items():
    try:
        attempt()
    except OSError:
        continue
    worked.append(name)
print(json.dumps({"worked": worked, "tried": list(attempts)}))
"""

# The server has hidden itself from processes of its own user as well (PR_SET_DUMPABLE in prctl(2)).
_HIDDEN: Final = {
    "read the token through the server's root",
    "read the server's environment",
    "list the server's descriptors",
}

# Runs the attempts in the replica: twice, as a command is run and as the server itself is.
_HARNESS: Final = f"""\
import json, os, subprocess, sys
from pathlib import Path
from k8s_mcp_server.execution.sandbox.landlock import supported_abi
from k8s_mcp_server.execution.sandbox.probe import python_profile
from k8s_mcp_server.execution.sandbox.spawn import ProcessSpec, Sandbox
attempts = {_ATTEMPTS!r}
executable, profile = python_profile(connect_ports=(1,))
argv = (str(executable), "-I", "-S", "-c", attempts, *sys.argv[1:])
reading, writing = os.pipe()
null = os.open(os.devnull, os.O_RDWR)
spec = ProcessSpec(argv=argv, executable=executable, environment={{}}, folder=Path("/"),
                   stdin=null, stdout=writing, stderr=2)
process = Sandbox(abi=supported_abi()).start(spec, profile=profile).result(timeout=20)
os.close(writing)
confined = os.fdopen(reading).read()
process.wait(20)
free = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
print(json.dumps([json.loads(confined), json.loads(free)]))
"""


def test_nothing_of_the_pod_or_its_neighbours_is_within_a_command_s_reach(site: Site) -> None:
    pod, neighbour = site.pods()
    python = ("/opt/k8s-mcp-server/bin/python", "-c", _HARNESS)
    (gateway,) = _listening(site, pod["metadata"]["name"], loopback=True)
    facts = (neighbour["status"]["podIP"], site.node.layout.api_service, str(gateway))
    name = pod["metadata"]["name"]
    done = site.node.kubectl("exec", name, f"--namespace={NAMESPACE}", "--", *python, *facts)
    confined, free = json.loads(done.stdout)
    assert set(free["tried"]) - set(free["worked"]) == _HIDDEN  # what would always fail is no attempt
    assert confined == {"worked": [], "tried": free["tried"]}


def test_a_replica_listens_for_clients_and_for_probes_and_the_gateway_on_loopback_alone(site: Site) -> None:
    for pod in site.pods():
        name = pod["metadata"]["name"]
        assert _listening(site, name, loopback=False) == {_MCP, _HEALTH}
        assert len(_listening(site, name, loopback=True)) == 1


def _listening(site: Site, pod: str, *, loopback: bool) -> set[int]:
    """The ports that the Pod listens on: those of the loopback address alone, or those of all others."""
    tables = site.node.kubectl("exec", pod, f"--namespace={NAMESPACE}", "--", "cat", "/proc/net/tcp", "/proc/net/tcp6")
    found = re.findall(rf"^ *\d+: (\w+):(\w+) \w+:\w+ {_LISTENING} ", tables.stdout, re.MULTILINE)
    return {int(port, 16) for address, port in found if (address == _LOOPBACK) is loopback}
