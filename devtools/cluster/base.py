"""What tests and the demo may do with a cluster, whichever it is."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import urlsplit

from devtools.cluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_REQUEST_SECONDS = 60.0
_POLL_SECONDS = 0.1


class TestCluster:
    """A cluster, and an administrator's kubectl for it. A context manager: leaving it calls `stop`."""

    __test__: ClassVar[bool] = False  # it isn't a test, whatever pytest makes of its name

    def __init__(
        self,
        *,
        kubectl: Path,
        kubeconfig: Path,
        server_url: str,
        ca_file: Path,
        audit_log: Path | None = None,
        environment: Mapping[str, str],
    ) -> None:
        self.kubeconfig = kubeconfig
        """An administrator's kubeconfig."""
        self.server_url = server_url
        self.ca_file = ca_file
        """The certificate authority of the API server, PEM."""
        self.audit_log = audit_log
        """The API server's audit log, one JSON event a line; None where it can't be read."""
        self._kubectl = kubectl
        self._environment = dict(environment)

    @property
    def host(self) -> str:
        """The host of the API server's URL."""
        return urlsplit(self.server_url).hostname or ""

    @property
    def port(self) -> int:
        """The port of the API server's URL."""
        return urlsplit(self.server_url).port or 443

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - subprocess.run's name for it
        check: bool = True,
        timeout_seconds: float = _REQUEST_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator and return what it printed.

        Raises:
            ClusterError: it didn't end in time, or (with `check`) it left with another code than 0.
        """
        where = ("--kubeconfig", str(self.kubeconfig))
        return self._run(*where, *arguments, input=input, check=check, timeout_seconds=timeout_seconds)

    def apply_kustomize(self, path: Path) -> subprocess.CompletedProcess[str]:
        """`kubectl apply -k path`, server-side as the manifests are meant to be applied. Raises ClusterError."""
        return self.kubectl("apply", "--server-side", "-k", str(path))

    def await_crd(self, name: str, *, timeout_seconds: float = 30.0) -> None:
        """Wait until objects of a custom resource can be written.

        Not by ``kubectl wait``, which fails when it looks before the first condition is there.

        Raises:
            ClusterError: not within the time.
        """
        path = 'jsonpath={.status.conditions[?(@.type=="Established")].status}'
        deadline = time.monotonic() + timeout_seconds
        while self.kubectl("get", "crd", name, "--ignore-not-found", "-o", path, check=False).stdout != "True":
            if time.monotonic() > deadline:
                raise ClusterError(f"crd {name}: not established after {timeout_seconds:g} s")
            time.sleep(_POLL_SECONDS)

    def service_account_token(
        self, namespace: str, name: str, *, audience: str | None = None, seconds: int = 3600
    ) -> str:
        """Return a new token of a ServiceAccount (TokenRequest), for the API server's audience when none is named.

        Raises:
            ClusterError: the API server refused, for example because there is no such ServiceAccount.
        """
        audiences = [f"--audience={audience}"] if audience is not None else []
        command = ("create", "token", name, "--namespace", namespace, f"--duration={seconds}s", *audiences)
        return self.kubectl(*command).stdout.strip()

    def stop(self) -> None:
        """Take the cluster down, where it is ours. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - subprocess.run's name for it
        check: bool = True,
        timeout_seconds: float = _REQUEST_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        shown = " ".join(("kubectl", *arguments))
        try:
            done = subprocess.run(
                [str(self._kubectl), *arguments],
                input=input or "",
                capture_output=True,
                text=True,
                env=self._environment,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{shown}: no end after {timeout_seconds:g} s") from error
        if check and done.returncode != 0:
            raise ClusterError(f"{shown}: exit code {done.returncode}: {done.stderr.strip()}")
        return done
