"""istiod: its charts applied to the cluster, and the real program as a local process.

The chart's Deployment gives the simulated pod that istioctl looks for; port-forwards to it lead to the process. Its
webhooks are called by URL, because a simulated pod's address leads nowhere.
"""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from devtools.cluster.ports import free_ports
from devtools.istio.process import LocalProcess, MeshError
from devtools.toolchain import ensure_tools

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from devtools.cluster import TestCluster

ISTIO_NAMESPACE = "istio-system"
_MODULE = Path(__file__).resolve().parents[2] / "tools" / "istio"
_HELM_SECONDS = 120
_GO_SECONDS = 300
# A plain Envoy has none of Istio's own filters, and nobody serves it certificates: with mTLS its listeners would never
# be ready.
_VALUES = {
    "autoscaleEnabled": False,
    "telemetry": {"enabled": False},
    "meshConfig": {"enableAutoMtls": False},
    "global": {"tag": "1.31.0", "hub": "docker.io/istio"},
}
_SWITCHES = {
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_ENABLE_ALPN_FILTER": "false",
    "PILOT_CERT_PROVIDER": "istiod",
    "ISTIOD_CUSTOM_HOST": "localhost",
    "VALIDATION_WEBHOOK_CONFIG_NAME": "istio-validator",
    "INJECTION_WEBHOOK_CONFIG_NAME": "istio-sidecar-injector",
    "CLUSTER_ID": "Kubernetes",
    "REVISION": "default",
    "SERVICE_ACCOUNT": "istiod",
}
# What istioctl calls the ports of an istiod pod.
_XDS, _SECURE_XDS, _WEBHOOKS, _MONITORING, _HTTP = 15010, 15012, 15017, 15014, 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class IstiodPorts:
    """Where the process listens on 127.0.0.1."""

    xds: int
    secure_xds: int
    webhooks: int
    monitoring: int
    http: int

    @classmethod
    def choose(cls) -> Self:
        """Free ones."""
        xds, secure_xds, webhooks, monitoring, http = free_ports(5)
        return cls(xds=xds, secure_xds=secure_xds, webhooks=webhooks, monitoring=monitoring, http=http)

    @property
    def forwards(self) -> Sequence[Mapping[str, object]]:
        """Where port-forwards to an istiod pod lead."""
        pod_ports = (_XDS, _SECURE_XDS, _WEBHOOKS, _MONITORING, _HTTP)
        return [
            {"ports": [pod_port], "target": {"address": "127.0.0.1", "port": port}}
            for pod_port, port in zip(pod_ports, astuple(self), strict=True)
        ]


class Istiod:
    """The running control plane of one cluster.

    Args:
        cluster: whose port-forwards in ``istio-system`` are ``ports.forwards``.
        ports: where it listens.
        folder: for its files and log.
    """

    def __init__(self, cluster: TestCluster, *, ports: IstiodPorts, folder: Path) -> None:
        self._cluster = cluster
        self._ports = ports
        self._folder = folder
        self._process: LocalProcess | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, *, settings: Mapping[str, str] | None = None) -> None:
        """Install the charts and start the process.

        Args:
            settings: further environment variables of istiod.

        Raises:
            ClusterError: the cluster refused something.
            MeshError: it did not become ready.
        """
        self._install()
        self.run(settings=settings)

    def run(self, *, settings: Mapping[str, str] | None = None) -> None:
        """Start the process, its charts being there. Raises MeshError."""
        ports = self._ports
        program = ensure_tools(["pilot-discovery"])["pilot-discovery"]
        command = [
            str(program),
            "discovery",
            f"--kubeconfig={self._cluster.kubeconfig}",
            "--domain=cluster.local",
            f"--httpAddr=127.0.0.1:{ports.http}",
            f"--grpcAddr=127.0.0.1:{ports.xds}",
            f"--secureGRPCAddr=127.0.0.1:{ports.secure_xds}",
            f"--httpsAddr=127.0.0.1:{ports.webhooks}",
            f"--monitoringAddr=127.0.0.1:{ports.monitoring}",
            "--ctrlz_address=127.0.0.1",
            f"--ctrlz_port={free_ports(1)[0]}",
            "--shutdownDuration=1s",
        ]
        environment = {
            "HOME": str(self._folder),
            "PATH": "/usr/bin:/bin",
            "POD_NAME": self._pod_name(),
            "POD_NAMESPACE": ISTIO_NAMESPACE,
            **_SWITCHES,
            **(settings or {}),
        }
        self._process = LocalProcess(
            "istiod", command, environment=environment, folder=self._folder, log=self._folder / "istiod.log"
        )
        self._process.wait_until(lambda: _answers(f"http://127.0.0.1:{ports.http}/ready"))
        self._process.wait_until(lambda: bool(self._ca_bundle()))
        self._cluster.kubectl("apply", "--filename=-", input=_webhook_for_istioctl(self._ca_bundle()))

    def stop(self) -> None:
        """End the process; the cluster keeps its objects."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _install(self) -> None:
        base = f"https://localhost:{self._ports.webhooks}"
        validation = {"base": {"validationURL": f"{base}/validate"}}
        values = {**_VALUES, **validation, "istiodRemote": {"injectionURL": f"{base}/inject"}}
        self._cluster.kubectl("create", "namespace", ISTIO_NAMESPACE)
        charts = _module_folder() / "manifests" / "charts"
        self._helm("istio-base", charts / "base", values=validation)
        self._helm("istiod", charts / "istio-control" / "istio-discovery", values=values)
        self._cluster.kubectl("wait", "pod", "-lapp=istiod", f"-n{ISTIO_NAMESPACE}", "--for=create", "--timeout=60s")
        self._cluster.kubectl(
            "wait", "pod", "-lapp=istiod", f"-n{ISTIO_NAMESPACE}", "--for=condition=Ready", "--timeout=60s"
        )

    def _helm(self, release: str, chart: Path, *, values: Mapping[str, object]) -> None:
        helm = ensure_tools(["helm"])["helm"]
        command = [str(helm), "install", release, str(chart), f"--namespace={ISTIO_NAMESPACE}", "--values=-"]
        done = subprocess.run(
            command,
            input=json.dumps(values),
            env={"HOME": str(self._folder), "PATH": "/usr/bin:/bin", "KUBECONFIG": str(self._cluster.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=_HELM_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise MeshError(f"helm install {release}: {done.stderr.strip()}")

    def _ca_bundle(self) -> str:
        """The certificate that istiod has written into its webhook; empty before it has."""
        path = "-ojsonpath={.webhooks[0].clientConfig.caBundle}"
        return self._cluster.kubectl("get", "mutatingwebhookconfiguration", "istio-sidecar-injector", path).stdout

    def _pod_name(self) -> str:
        names = self._cluster.kubectl(
            "get", "pod", "-lapp=istiod", f"-n{ISTIO_NAMESPACE}", "-ojsonpath={.items[0].metadata.name}"
        )
        return names.stdout


def _webhook_for_istioctl(ca_bundle: str) -> str:
    """The injection webhook as a real cluster has it: by Service.

    istioctl takes the first by name and reaches the Service's pod by a port-forward. The API server, which could not
    reach it, never calls this one: no namespace has its label.
    """
    service = {"name": "istiod", "namespace": ISTIO_NAMESPACE, "path": "/inject", "port": 443}
    webhook = {
        "name": "rev.namespace.sidecar-injector.istio.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"service": service, "caBundle": ca_bundle},
        "namespaceSelector": {"matchLabels": {"example.com/no-namespace": "has-this"}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    }
    return json.dumps(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "for-istioctl", "labels": {"istio.io/rev": "default", "app": "sidecar-injector"}},
            "webhooks": [webhook],
        }
    )


@cache
def _module_folder() -> Path:
    """Where Go keeps the source of Istio, which has the charts."""
    command = ["go", "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", "istio.io/istio"]
    done = subprocess.run(command, cwd=_MODULE, capture_output=True, text=True, timeout=_GO_SECONDS, check=True)
    return Path(done.stdout.strip())


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - a loopback URL made above
            return bool(answer.status == 200)  # noqa: PLR2004 - OK
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
