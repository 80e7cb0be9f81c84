"""A proxy that is no proxy: whoever may write workloads says what answers on their admin port.

It runs in the agent's own namespace and leads istioctl, which runs in the service's Pod, elsewhere.
"""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

import pytest

from tests.e2e.istio.conftest import OTHER, OWN, rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.istio import Mesh
    from devtools.istio.proxy import EnvoyProxy
    from tests.e2e.istio.conftest import MeshAgent
    from tests.support.agent import Answer

pytestmark = pytest.mark.e2e

MARK = "hidden-from-the-agent"
FIGURES = "x envoy-stats"  # prints what it gets as it is
_WITHIN = 30.0


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@contextlib.contextmanager
def pretending(proxy: EnvoyProxy, answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[None]:
    """For as long as the block lasts, this answers every request to the proxy's admin port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """A Unix socket's clients have no address to log."""

    with proxy.replaced() as path, _Server(str(path), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield
        finally:
            server.shutdown()
            serving.join(_WITHIN)


def leading_to(url: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers with a redirect."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", url)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_istioctl_is_led_to_no_other_host(team: MeshAgent, mesh: Mesh, scheme: str) -> None:
    """The port is one that istioctl may connect to, because it could have been given it."""
    with socket.create_server((_address(), 0)) as elsewhere:
        url = f"{scheme}://{_address()}:{elsewhere.getsockname()[1]}/stats"
        with pretending(mesh.proxies[OWN], leading_to(url)):
            answer = team.istioctl(f"{FIGURES} $POD", timeout=20)
        connections, _, _ = select.select([elsewhere], [], [], 0)
    assert not connections
    assert (answer.status, url in answer.text) == ("failed", True), answer.text


def test_istioctl_is_led_into_no_other_clients_port_forward(
    team: MeshAgent, make_agent: Callable[..., MeshAgent], mesh: Mesh
) -> None:
    """While another client's istioctl waits for an answer, the port that it listens on is in reach of ours."""
    owner = make_agent(rule("proxyconfigs", "get", namespace=OTHER))
    hosts: list[str] = []
    is_asked, may_end = threading.Event(), threading.Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        hosts.append(request.headers["Host"])
        if len(hosts) == 1:
            is_asked.set()
            may_end.wait(_WITHIN)
        request.send_response(200)
        request.end_headers()
        request.wfile.write(MARK.encode())

    results: list[Answer] = []
    waiting = threading.Thread(target=lambda: results.append(owner.istioctl(f"{FIGURES} $OTHER", timeout=50)))
    with pretending(mesh.proxies[OTHER], answer):
        waiting.start()
        assert is_asked.wait(_WITHIN)
        url = f"http://{hosts[0]}/stats"
        with pretending(mesh.proxies[OWN], leading_to(url)):
            led = team.istioctl(f"{FIGURES} $POD", timeout=20)
        may_end.set()
        waiting.join(_WITHIN)
    assert not waiting.is_alive()
    assert (MARK in led.everything, len(hosts)) == (False, 1), led.text
    assert url in led.text
    assert "redirected from elsewhere" in results[0].everything


def _address() -> str:
    """This host's address towards others; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as chosen:
        chosen.connect(("192.0.2.1", 9))
        return str(chosen.getsockname()[0])
