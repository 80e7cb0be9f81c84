"""The certificate of the MCP port, read again when its files change.

An issuer such as cert-manager renews the Secret and the kubelet swaps the mounted files: new connections get the new
certificate, and those that are open go on.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

from k8s_mcp_server.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_FileVersion = tuple[int, int, int]

logger = logging.getLogger(__name__)


class ServingCertificate:
    """A certificate and its key, in files.

    Args:
        cert_file: PEM, the server's own certificate first, then those that lead to the CA.
        key_file: PEM, without a passphrase.
        minimum: the oldest version of TLS that is spoken.

    Raises:
        ConfigurationError: a file is missing, is no PEM, or the key is not that of the certificate.
    """

    def __init__(self, *, cert_file: Path, key_file: Path, minimum: ssl.TLSVersion) -> None:
        self._cert_file = cert_file
        self._key_file = key_file
        self._minimum = minimum
        self._versions = self._read_versions()
        self._current = self._load()
        # What the server listens with: each handshake begins in it, and goes on in the one that is current then. A
        # context that is in use can't be changed itself, because a key that doesn't match leaves it with half a pair.
        self.context = self._load()
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called in every handshake, also where the client names no server (OpenSSL's servername callback)."""
        try:
            versions = self._read_versions()
            if versions != self._versions:
                self._versions = versions
                self._current = self._load()
                logger.info("serving with the renewed certificate of %s", self._cert_file)
        except ConfigurationError as error:
            logger.warning("the certificate cannot be renewed, the earlier one stays: %s", error)
        connection.context = self._current

    def _read_versions(self) -> tuple[_FileVersion, _FileVersion]:
        return _version("tls_cert_file", self._cert_file), _version("tls_key_file", self._key_file)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._minimum
        context.set_alpn_protocols(["http/1.1"])
        try:
            # With a passphrase stated, OpenSSL doesn't ask for one on the terminal.
            context.load_cert_chain(self._cert_file, self._key_file, password="")
        except ssl.SSLError as error:
            raise ConfigurationError(self._explain(error)) from error
        except OSError as error:
            raise ConfigurationError(f"`tls_cert_file` or `tls_key_file`: {error.strerror}") from error
        return context

    def _explain(self, error: ssl.SSLError) -> str:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"`tls_key_file` {self._key_file} is not the key of `tls_cert_file` {self._cert_file}"
        return (
            f"`tls_cert_file` {self._cert_file} and `tls_key_file` {self._key_file}: write PEM files, the key without "
            f"a passphrase ({error.reason or 'not readable'})"
        )


def _version(key: str, path: Path) -> _FileVersion:
    try:
        with path.open("rb"):
            status = path.stat()
    except OSError as error:
        raise ConfigurationError(f"`{key}` {path}: {error.strerror}") from error
    return status.st_mtime_ns, status.st_ino, status.st_size
