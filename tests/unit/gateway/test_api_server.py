"""The service's own credentials, as the kubelet puts and replaces them."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.gateway.tls import server_context

pytestmark = pytest.mark.unit


@pytest.fixture
def api_server(tmp_path: Path) -> ApiServer:
    (tmp_path / "ca.crt").write_text(server_context()[1], encoding="ascii")
    (tmp_path / "token").write_text("first\n", encoding="ascii")
    return ApiServer.in_cluster(host="10.0.0.1", port=443, directory=tmp_path)


def test_the_files_are_those_of_the_projected_volume(api_server: ApiServer, tmp_path: Path) -> None:
    assert (api_server.ca_file, api_server.token_file) == (tmp_path / "ca.crt", tmp_path / "token")
    assert (api_server.host, api_server.port, api_server.server_hostname) == ("10.0.0.1", 443, "10.0.0.1")


def test_a_token_is_stripped_and_read_again_when_its_file_is_rewritten(api_server: ApiServer) -> None:
    assert api_server.token() == "first"
    api_server.token_file.write_text("second", encoding="ascii")
    assert api_server.token() == "second"


def test_a_token_is_read_again_when_a_symbolic_link_is_swapped(tmp_path: Path) -> None:
    """The kubelet renames ``..data`` to a new folder; sizes and even times may be the same."""
    for version in ("1", "2"):
        folder = tmp_path / f"..v{version}"
        folder.mkdir()
        (folder / "token").write_text(f"token-{version}", encoding="ascii")
        os.utime(folder / "token", ns=(1, 1))
    data = tmp_path / "..data"
    data.symlink_to("..v1")
    (tmp_path / "token").symlink_to("..data/token")
    api_server = ApiServer.in_cluster(host="h", port=443, directory=tmp_path)
    assert api_server.token() == "token-1"
    (tmp_path / "..new").symlink_to("..v2")
    (tmp_path / "..new").replace(data)
    assert api_server.token() == "token-2"


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"line\nline", b"\xff", b"a\rb"])
def test_a_file_that_holds_no_token_is_unavailable(api_server: ApiServer, content: bytes) -> None:
    api_server.token()
    api_server.token_file.write_bytes(content)
    with pytest.raises(Unavailable):
        api_server.token()


def test_a_token_file_that_is_gone_is_unavailable(api_server: ApiServer) -> None:
    api_server.token()
    api_server.token_file.unlink()
    with pytest.raises(Unavailable):
        api_server.token()


def test_the_tls_context_verifies_and_is_made_again_for_a_new_ca(api_server: ApiServer) -> None:
    first = api_server.ssl_context()
    assert first.verify_mode is ssl.CERT_REQUIRED
    assert first.check_hostname
    assert len(first.get_ca_certs()) == 1
    assert api_server.ssl_context() is first
    api_server.ca_file.write_text(server_context()[1] * 2, encoding="ascii")
    assert api_server.ssl_context() is not first


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_that_cannot_be_read_is_unavailable(api_server: ApiServer, content: str | None) -> None:
    if content is None:
        api_server.ca_file.unlink()
    else:
        api_server.ca_file.write_text(content, encoding="ascii")
    with pytest.raises(Unavailable):
        api_server.ssl_context()
