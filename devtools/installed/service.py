"""Runs the service as a local process with the arguments, environment and ServiceAccount of its Deployment."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

from devtools.installed.deployment import NAME, NAMESPACE, Deployment

if TYPE_CHECKING:
    from collections.abc import Callable

    from devtools.cluster import TestCluster

_READY_WITHIN = 60.0
_STOP_WITHIN = 15.0


class InstalledService:
    """One running server process; a context manager that always ends it.

    Args:
        cluster: where ``manifests/`` (or something built on it) was applied.
        tools: folder that holds the bundled CLIs.
        folder: for the token, CA, settings, runtime files and logs of this run.
        extra: further environment; each variable must be in ``DIFFERENCES``.
    """

    def __init__(self, cluster: TestCluster, *, tools: Path, folder: Path, extra: dict[str, str] | None = None) -> None:
        self._cluster = cluster
        self._folder = folder
        self._tools = tools
        self._extra = extra or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self.port = _free_port()
        self.health_port = _free_port()
        self.deployment = Deployment.read(cluster)
        self.environment: dict[str, str] = {}
        self.started_at = 0.0
        """When the process was started, in seconds since the epoch."""
        self.ready_seconds = 0.0
        """How long it took from then until it was ready."""

    @property
    def url(self) -> str:
        """Where MCP clients connect."""
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def health_url(self) -> str:
        """Where ``/livez``, ``/readyz`` and ``/metrics`` are."""
        return f"http://127.0.0.1:{self.health_port}"

    @property
    def audit_log(self) -> Path:
        """The service's audit log of this run (its standard output)."""
        return self._folder / "audit.jsonl"

    @property
    def log(self) -> Path:
        """The service's own log of this run (its standard error)."""
        return self._folder / "service.log"

    @property
    def pid(self) -> int:
        """The process's id; raises RuntimeError before ``start``."""
        if self._process is None:
            raise RuntimeError("the service was not started")
        return self._process.pid

    def start(self) -> Self:
        """Start the process and wait until it is ready; raises RuntimeError with its log's end when it is not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        token = self._write_service_account()
        self.environment = self.deployment.environment(
            here={
                "KUBERNETES_SERVICE_HOST": self._cluster.host,
                "KUBERNETES_SERVICE_PORT": str(self._cluster.port),
                "K8S_MCP_CA_FILE": str(self._cluster.ca_file),
                "K8S_MCP_TOKEN_FILE": str(token),
                "K8S_MCP_CONFIG": str(self.deployment.write_config(self._folder / "config")),
                "K8S_MCP_HOST": "127.0.0.1",
                "K8S_MCP_PORT": str(self.port),
                "K8S_MCP_HEALTH_HOST": "127.0.0.1",
                "K8S_MCP_HEALTH_PORT": str(self.health_port),
                "K8S_MCP_TOOLS_DIR": str(self._tools),
                "K8S_MCP_RUNTIME_DIR": str(self._folder / "run"),
                "PATH": os.defpath,
                **self._extra,
            }
        )
        self.started_at = time.time()
        with self.audit_log.open("ab") as audit, self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "k8s_mcp_server", *self.deployment.args],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=audit,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise
        threading.Thread(target=self._rotate_token, name="token-rotation", daemon=True).start()
        return self

    def stop(self) -> None:
        """End the process: politely, then by force."""
        self._stopping.set()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_STOP_WITHIN)
        with contextlib.suppress(OSError):
            (self._folder / "token").unlink()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write_service_account(self) -> Path:
        token = self._cluster.service_account_token(
            NAMESPACE, self.deployment.service_account, seconds=self.deployment.token_seconds
        )
        target = self._folder / "token"
        fresh = target.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(token, encoding="ascii")
        fresh.replace(target)
        return target

    def _rotate_token(self) -> None:
        # The kubelet replaces a projected token at 80 % of its life; this does the same.
        while not self._stopping.wait(self.deployment.token_seconds * 0.8):
            self._write_service_account()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        answer = "no answer yet"
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"{NAME} ended before it was ready:\n{_tail(self.log)}")
            with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                answer = _get(f"{self.health_url}/readyz")
                if answer == "":
                    self.ready_seconds = time.time() - self.started_at
                    return
            time.sleep(0.02)
        raise RuntimeError(f"{NAME} was not ready after {_READY_WITHIN:.0f} s: {answer}\n{_tail(self.log)}")


def install(cluster: TestCluster, *, on_progress: Callable[[str], None] = lambda _: None) -> None:
    """Apply ``examples/demo`` as the README says: the CRD first, then everything, and scale the Deployment to 0.

    The nodes are simulated: a Pod there would look ready and answer nothing.
    """
    on_progress("custom resource definition")
    install_crd(cluster)
    on_progress("namespaces, RBAC, Deployment, policies, three teams")
    cluster.kubectl("apply", "--kustomize", "examples/demo")
    cluster.kubectl("scale", "deployment", NAME, "--namespace", NAMESPACE, "--replicas=0")


def install_crd(cluster: TestCluster) -> None:
    """Apply the CRD and wait until policies can be written."""
    cluster.kubectl("apply", "--kustomize", "crds")
    cluster.await_crd("mcpaccesspolicies.k8s-mcp.io")


def uninstall(cluster: TestCluster) -> None:
    """Remove what ``install`` applied, and wait until it is gone."""
    cluster.kubectl("delete", "--kustomize", "examples/demo", "--ignore-not-found", timeout_seconds=180)


def _get(url: str) -> str:
    """The empty string when the URL answers 200, else what it said."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - a loopback URL made above
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(path: Path, *, lines: int = 20) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
