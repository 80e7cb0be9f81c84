"""The certificate of the MCP port, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from starlette.responses import PlainTextResponse

from k8s_mcp_server.errors import ConfigurationError
from k8s_mcp_server.serving.certificate import ServingCertificate
from k8s_mcp_server.serving.connections import ConnectionLimits
from k8s_mcp_server.serving.http_server import HttpServer
from tests.support.certificates import server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class _Mount:
    """A volume of the kubelet's: `tls.crt` and `tls.key` behind a link that is swapped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "..data"
        self.cert = folder / "tls.crt"
        self.key = folder / "tls.key"
        self.put("first")
        for file in (self.cert, self.key):
            file.symlink_to(Path("..data") / file.name)

    def put(self, name: str, *, with_key_of: str | None = None) -> None:
        """Swap in a new pair; or a new certificate beside another one's key."""
        made = self._folder / name
        made.mkdir()
        server_context(made, name=name)
        (made / "tls.crt").write_bytes((made / "ca.crt").read_bytes())
        key = (self._folder / with_key_of if with_key_of else made) / "ca.key"
        (made / "tls.key").write_bytes(key.read_bytes())
        link = self._folder / "new"
        link.symlink_to(name)
        link.rename(self._data)

    def authority(self, name: str) -> ssl.SSLContext:
        """A client that trusts that pair's certificate and no other."""
        return ssl.create_default_context(cafile=str(self._folder / name / "ca.crt"))


@pytest.fixture
def mount(tmp_path: Path) -> _Mount:
    return _Mount(tmp_path)


def _certificate(mount: _Mount, minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ServingCertificate:
    return ServingCertificate(cert_file=mount.cert, key_file=mount.key, minimum=minimum)


@contextlib.asynccontextmanager
async def _serving(certificate: ServingCertificate, limits: ConnectionLimits | None = None) -> AsyncIterator[int]:
    async with asyncio.timeout(30):
        server = HttpServer(_app, host="127.0.0.1", port=0, tls=certificate.context, limits=limits)
        await server.start()
        try:
            yield server.port
        finally:
            await server.stop(grace_seconds=1)


async def _connect(port: int, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, ssl=context)


async def _ask(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> str:
    reader, writer = connection
    writer.write(_REQUEST)
    await reader.readuntil(b"\r\n\r\n")
    return (await reader.readexactly(len(b"https"))).decode()


async def test_a_renewed_certificate_is_for_new_connections_and_the_open_ones_go_on(mount: _Mount) -> None:
    async with _serving(_certificate(mount)) as port:
        kept = await _connect(port, mount.authority("first"))
        assert await _ask(kept) == "https"
        mount.put("second")
        new = await _connect(port, mount.authority("second"))
        assert await _ask(new) == "https"
        assert await _ask(kept) == "https"
        with pytest.raises(ssl.SSLCertVerificationError):
            await _connect(port, mount.authority("first"))
        for _, writer in (kept, new):
            writer.close()


async def test_a_pair_that_does_not_match_leaves_the_earlier_one_in_place(
    mount: _Mount, caplog: pytest.LogCaptureFixture
) -> None:
    async with _serving(_certificate(mount)) as port:
        mount.put("broken", with_key_of="first")
        for _ in range(2):
            one = await _connect(port, mount.authority("first"))
            assert await _ask(one) == "https"
            one[1].close()
        mount.put("mended")
        one = await _connect(port, mount.authority("mended"))
        assert await _ask(one) == "https"
        one[1].close()
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1  # once for each change, not for each connection
    assert "is not the key of" in warnings[0]


@pytest.mark.parametrize(
    ("minimum", "spoken"),
    [
        pytest.param(ssl.TLSVersion.TLSv1_3, False, id="1.3 is the oldest"),
        pytest.param(ssl.TLSVersion.TLSv1_2, True, id="1.2 is the oldest"),
    ],
)
async def test_a_client_of_tls_1_2_is_served_only_where_the_settings_say_so(
    mount: _Mount, minimum: ssl.TLSVersion, spoken: bool
) -> None:
    old = mount.authority("first")
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with _serving(_certificate(mount, minimum)) as port:
        if spoken:
            one = await _connect(port, old)
            assert await _ask(one) == "https"
            one[1].close()
        else:
            with pytest.raises((ssl.SSLError, ConnectionResetError)):  # told so, or only cut off
                await _connect(port, old)


async def test_who_never_ends_the_handshake_is_cut_off(mount: _Mount) -> None:
    async with _serving(_certificate(mount), ConnectionLimits(head_seconds=0.2)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    ("cert", "key", "said"),
    [
        pytest.param("absent", None, "`tls_cert_file` .*absent: No such file", id="no certificate"),
        pytest.param(None, "absent", "`tls_key_file` .*absent: No such file", id="no key"),
        pytest.param("garbage", None, "write PEM files", id="no PEM"),
        pytest.param(None, "other/ca.key", "is not the key of `tls_cert_file`", id="another one's key"),
        pytest.param(None, "locked", "without a passphrase", id="a key with a passphrase"),
    ],
)
async def test_files_that_cannot_be_used_are_named_with_what_is_wrong(
    mount: _Mount, tmp_path: Path, cert: str | None, key: str | None, said: str
) -> None:
    mount.put("other")
    mount.put("used")
    (tmp_path / "garbage").write_text("no certificate", encoding="ascii")
    (tmp_path / "locked").write_bytes(_with_passphrase(mount.key))
    cert_file = tmp_path / cert if cert else mount.cert
    key_file = tmp_path / key if key else mount.key
    with pytest.raises(ConfigurationError, match=said):
        ServingCertificate(cert_file=cert_file, key_file=key_file, minimum=ssl.TLSVersion.TLSv1_3)


def _with_passphrase(file: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
    )


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    await PlainTextResponse(scope["scheme"])(scope, receive, send)
