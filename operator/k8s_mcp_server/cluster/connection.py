"""Where the API server is and how the service proves itself to it.

The kubelet rotates the projected token (and, rarely, the CA bundle) by swapping files: both are read again when the
file behind the path changes, so nobody has to restart.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from k8s_mcp_server.errors import Unavailable

SERVICE_ACCOUNT_DIRECTORY: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_FileVersion = tuple[int, int, int]


class ApiServer:
    """One API server, its CA and the service's own token.

    Args:
        host: name or address; verified against the server's certificate.
        port: TCP port.
        ca_file: PEM bundle that must have signed the server's certificate.
        token_file: the service's bearer token.
    """

    def __init__(self, *, host: str, port: int, ca_file: Path, token_file: Path) -> None:
        self.host = host
        self.port = port
        self.ca_file = ca_file
        self.token_file = token_file
        self._token = ""
        self._token_version: _FileVersion | None = None
        self._context: ssl.SSLContext | None = None
        self._context_version: _FileVersion | None = None

    @classmethod
    def in_cluster(cls, *, host: str, port: int, directory: Path = SERVICE_ACCOUNT_DIRECTORY) -> ApiServer:
        """The API server as a pod sees it, with the files that the kubelet projects into ``directory``."""
        return cls(host=host, port=port, ca_file=directory / "ca.crt", token_file=directory / "token")

    @property
    def server_hostname(self) -> str:
        """The name (or address) that the server's certificate must carry."""
        return self.host

    @property
    def authority(self) -> str:
        """Host and port as a ``Host`` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def token(self) -> str:
        """The bearer token, read again when the file changed.

        Raises:
            Unavailable: the file cannot be read, or holds no token.
        """
        try:
            version = _version(self.token_file)
            if version != self._token_version:
                self._token = self.token_file.read_text(encoding="ascii").strip()
                self._token_version = version
        except (OSError, UnicodeDecodeError) as error:
            message = f"the service's own token cannot be read: {type(error).__name__}"
            raise Unavailable(message) from error
        if not self._token or not self._token.isprintable() or " " in self._token:
            raise Unavailable("the service's own token file holds no usable token")
        return self._token

    def ssl_context(self) -> ssl.SSLContext:
        """A client context that trusts ``ca_file`` only and offers HTTP/1.1; made again when the file changed.

        Raises:
            Unavailable: the bundle cannot be read.
        """
        try:
            version = _version(self.ca_file)
            if self._context is None or version != self._context_version:
                context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.ca_file))
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                context.set_alpn_protocols(["http/1.1"])
                self._context, self._context_version = context, version
        except OSError as error:  # ssl.SSLError is one
            raise Unavailable(f"the cluster's CA cannot be read: {type(error).__name__}") from error
        return self._context


def _version(path: Path) -> _FileVersion:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size
