"""Outside a cluster: the token of the service's own ServiceAccount, by somebody's kubeconfig.

The kubeconfig's owner may be an administrator; what serves clients must not be. So kubectl asks, as its owner, for a
token of the installed ServiceAccount (TokenRequest), and the service works with that: its RBAC is the ceiling, as in
a Pod. Client certificates, exec plugins and contexts are kubectl's business.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from k8s_mcp_server.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_TOKEN_SECONDS: Final = 3600
_RENEW_SECONDS: Final = 0.8 * _TOKEN_SECONDS  # as the kubelet does
_RETRY_SECONDS: Final = 30.0
_KUBECTL_SECONDS: Final = 60.0
_CLUSTER: Final = "{.clusters[0].cluster}"  # of the context alone, and nothing of its user
_UNSUPPORTED: Final = ("insecure-skip-tls-verify", "proxy-url", "tls-server-name")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeconfig:
    """A kubeconfig and the kubectl that reads it.

    Args:
        kubectl: the program.
        file: the kubeconfig.
        context: which of its contexts; empty means the current one.
    """

    kubectl: Path
    file: Path
    context: str = ""

    def run(self, *words: str) -> str:
        """What kubectl prints.

        Raises:
            ConfigurationError: it is not there, takes too long or fails; the text has its last line.
        """
        chosen = (f"--context={self.context}",) if self.context else ()
        command = [str(self.kubectl), f"--kubeconfig={self.file}", *chosen, *words]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_KUBECTL_SECONDS, check=False
            )
        except OSError as error:
            raise ConfigurationError(
                f"{self.kubectl}: {error.strerror}; set `tools_dir` to the folder of the CLIs"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise ConfigurationError(f"kubectl {words[0]}: no answer after {_KUBECTL_SECONDS:.0f} s") from error
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise ConfigurationError(f"{self.file}: kubectl {words[0]}: {lines[-1]}")
        return done.stdout


class BorrowedAccount:
    """The files of a ServiceAccount that the kubelet would mount in a Pod, kept by way of a kubeconfig.

    Args:
        kubeconfig: of somebody who may create tokens of the ServiceAccount.
        namespace: the ServiceAccount's.
        name: the ServiceAccount's.
        folder: a private one, for the files.

    Raises:
        ConfigurationError: the kubeconfig cannot be used, or gives no token.
    """

    def __init__(self, kubeconfig: Kubeconfig, *, namespace: str, name: str, folder: Path) -> None:
        self._kubeconfig = kubeconfig
        self._account = (namespace, name)
        self.ca_file = folder / "ca.crt"
        self.token_file = folder / "token"
        cluster: dict[str, Any] = json.loads(
            kubeconfig.run("config", "view", "--minify", "--flatten", "--raw", f"--output=jsonpath={_CLUSTER}") or "{}"
        )
        self.host, self.port = self._address(cluster)
        self.ca_file.write_bytes(self._authority(cluster))
        self.renew()

    def renew(self) -> None:
        """Put a new token in place of the old one.

        Raises:
            ConfigurationError: there is none to be had.
        """
        namespace, name = self._account
        token = self._kubeconfig.run(
            "create", "token", name, f"--namespace={namespace}", f"--duration={_TOKEN_SECONDS}s"
        )
        fresh = self.token_file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(token, encoding="ascii")
        fresh.replace(self.token_file)

    async def keep_renewing(self) -> None:
        """Renew in time, for ever. Where that fails, the old token holds to its end, and then everything is denied."""
        wait = _RENEW_SECONDS
        while True:
            await asyncio.sleep(wait)
            try:
                await asyncio.to_thread(self.renew)
                wait = _RENEW_SECONDS
            except ConfigurationError as error:
                logger.warning("the service's own token cannot be renewed: %s", error)
                wait = _RETRY_SECONDS

    def _address(self, cluster: dict[str, Any]) -> tuple[str, int]:
        where = self._kubeconfig.file
        if unsupported := [key for key in _UNSUPPORTED if cluster.get(key)]:
            raise ConfigurationError(f"{where}: `{unsupported[0]}` is not supported")
        url = urlsplit(cluster.get("server", ""))
        if url.scheme != "https" or not url.hostname or url.path.strip("/"):
            raise ConfigurationError(
                f"{where}: `server` must be https://HOST:PORT, and is {url.geturl() or 'not there'}"
            )
        return url.hostname, url.port or 443

    def _authority(self, cluster: dict[str, Any]) -> bytes:
        try:
            data = base64.b64decode(cluster["certificate-authority-data"], validate=True)
        except (KeyError, binascii.Error) as error:
            raise ConfigurationError(f"{self._kubeconfig.file}: the cluster has no certificate authority") from error
        return data
