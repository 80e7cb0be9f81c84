"""The component `tls`: a replica that ends TLS itself, and a certificate that is renewed while it runs."""

from __future__ import annotations

import json
import socket
import ssl
from typing import TYPE_CHECKING, Final

import pytest

from devtools.node.pki import Authority
from tests.e2e.node.site import HOST, NAMESPACE, READER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.node.site import Site
    from tests.support.agent import Agent

pytestmark = pytest.mark.e2e

_SECRET: Final = "k8s-mcp-server-serving"
_POD: Final = "with-tls"
_PORT: Final = 8080
_SECONDS: Final = 10.0
_SWAPPED_WITHIN: Final = 180.0  # the kubelet looks once a minute, and its cache of Secrets may be a minute old
_PING: Final = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who issues the pairs."""
    return Authority(tmp_path_factory.mktemp("issuer") / "pki")


@pytest.fixture(scope="module")
def replica(site: Site, authority: Authority) -> Iterator[str]:
    """The address of a Pod of the service as the Deployment is with the component."""
    _issue(site, authority)
    with site.beside(_POD, site.with_component("tls")) as address:
        yield address
    site.node.kubectl("delete", "secret", _SECRET, f"--namespace={NAMESPACE}")


def test_a_client_that_trusts_the_issuer_is_served_over_tls_1_3(
    replica: str, authority: Authority, agent_factory: Callable[..., Agent]
) -> None:
    with _connection(replica, authority) as connection:
        assert connection.version() == "TLSv1.3"
        assert _status(connection, token=agent_factory(READER).token) == 200


def test_a_renewed_secret_is_served_without_a_restart(
    site: Site, replica: str, authority: Authority, agent_factory: Callable[..., Agent]
) -> None:
    before = _certificate(replica)
    _issue(site, authority)
    site.eventually(lambda: _certificate(replica) != before, within=_SWAPPED_WITHIN)
    with _connection(replica, authority) as connection:
        assert _status(connection, token=agent_factory(READER).token) == 200
    restarts = "jsonpath={.status.containerStatuses[0].restartCount}"
    found = site.node.kubectl("get", "pod", _POD, f"--namespace={NAMESPACE}", f"--output={restarts}")
    assert found.stdout == "0"


def _issue(site: Site, authority: Authority) -> None:
    """A new pair as the Secret."""
    authority.issue("serving", common_name=HOST, hosts=[HOST])
    files = [f"--cert={authority.folder}/serving.crt", f"--key={authority.folder}/serving.key"]
    make = ("create", "secret", "tls", _SECRET, f"--namespace={NAMESPACE}", *files, "--dry-run=client", "--output=yaml")
    site.node.kubectl("apply", "--server-side", "--filename=-", input=site.node.kubectl(*make).stdout)


def _certificate(address: str) -> str:
    return ssl.get_server_certificate((address, _PORT), timeout=_SECONDS)


def _connection(address: str, authority: Authority) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(authority.folder / "ca.crt"))
    return context.wrap_socket(socket.create_connection((address, _PORT), timeout=_SECONDS), server_hostname=HOST)


def _status(connection: ssl.SSLSocket, *, token: str) -> int:
    """Ping over MCP; the answer's HTTP status."""
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nContent-Length: {len(_PING)}\r\n\r\n"
    )
    connection.sendall((head + _PING).encode("ascii"))
    return int(connection.recv(4096).split()[1])
