"""A cluster that was there before us: the one of the current kubeconfig. We remove only what we made."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.cluster.base import TestCluster
from devtools.cluster.errors import ClusterError
from devtools.toolchain import ensure_tools

if TYPE_CHECKING:
    from typing import Any, Self


class ExistingCluster(TestCluster):
    """The cluster of a context of the kubeconfig that kubectl would use. Its audit log is out of our reach."""

    @classmethod
    def connect(cls, *, context: str | None = None) -> Self:
        """Return the cluster of `context` (default: the current one), whose API server answered.

        Raises:
            ClusterError: there is no such context, or its API server doesn't answer.
            ToolchainError: kubectl can't be had.
        """
        scratch = Path(tempfile.mkdtemp(prefix="k8s-mcp-existing-"))
        cluster = cls(
            kubectl=ensure_tools(["kubectl"])["kubectl"],
            kubeconfig=scratch / "kubeconfig",
            server_url="",
            ca_file=scratch / "ca.crt",
            environment=os.environ,  # the kubeconfig may name a credential helper, which needs it
        )
        try:
            cluster._connect(context)
        except BaseException:
            cluster.stop()
            raise
        return cluster

    def stop(self) -> None:
        """Forget the copies of kubeconfig and certificate; the cluster stays as it is. May be called twice."""
        shutil.rmtree(self.kubeconfig.parent, ignore_errors=True)

    def _connect(self, context: str | None) -> None:
        config = self._minified(context)
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(json.dumps(config), encoding="utf-8")
        server = config["clusters"][0]["cluster"]
        self.server_url = server["server"]
        self.ca_file.write_bytes(base64.b64decode(server.get("certificate-authority-data", "")))
        self.kubectl("get", "--raw", "/readyz")

    def _minified(self, context: str | None) -> dict[str, Any]:
        """The kubeconfig reduced to one context, with its files read in, so that tests depend on nothing else."""
        chosen = (f"--context={context}",) if context else ()
        shown = self._run(*chosen, "config", "view", "--minify", "--flatten", "--raw", "-o", "json").stdout
        config: dict[str, Any] = json.loads(shown)
        if not config.get("clusters"):
            raise ClusterError("the kubeconfig names no cluster: set KUBECONFIG or K8S_CONTEXT")
        return config
