"""distribution's registry as a local process, with a user and a password."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from devtools.toolchain import ensure_tools

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.charts.tls import Authority

_UP_WITHIN = 20.0
USER = ("charts", "chart-password")
_HTPASSWD = "charts:$2b$05$abcdefghijklmnopqrstuuOndKiD5Qx3An5/roN.pAfnZTJEhBQfu\n"  # bcrypt of that password


@dataclass
class Registry:
    """An OCI registry over TLS; a context manager.

    Args:
        authority: signs its certificate.
        host: the name that it is called by.
        folder: for its configuration, blobs and log; ``USER`` may log in.
    """

    authority: Authority
    host: str
    folder: Path

    def __enter__(self) -> Self:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        certificate, key = self.authority.certificate(self.host)
        (self.folder / "htpasswd").write_text(_HTPASSWD, encoding="ascii")
        configuration = self.folder / "config.yml"
        configuration.write_text(json.dumps(self._configuration(certificate, key)), encoding="utf-8")
        with (self.folder / "registry.log").open("wb") as log:
            self._process = subprocess.Popen(
                [ensure_tools(["registry"])["registry"], "serve", configuration],
                stdout=log,
                stderr=log,
                env={"OTEL_TRACES_EXPORTER": "none"},
            )
        deadline = time.monotonic() + _UP_WITHIN
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return self
            time.sleep(0.05)
        self.__exit__()
        raise RuntimeError(f"the registry did not come up: {(self.folder / 'registry.log').read_text()[-2000:]}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    @property
    def url(self) -> str:
        """Where charts are."""
        return f"oci://{self.host}:{self.port}/charts"

    def _configuration(self, certificate: Path, key: Path) -> dict[str, object]:
        return {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "blobs")}},
            "http": {
                "addr": f"127.0.0.1:{self.port}",
                "tls": {"certificate": str(certificate), "key": str(key)},
            },
            "auth": {"htpasswd": {"realm": "charts", "path": str(self.folder / "htpasswd")}},
        }
