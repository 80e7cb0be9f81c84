"""A real Envoy as the sidecar of a simulated pod.

It runs in a network namespace of its own, for its listeners bind every address; it reaches istiod, and is reached,
through Unix sockets.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devtools.istio.process import LocalProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

ADMIN_PORT = 15000


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A simulated pod and the app that it is of."""

    namespace: str
    name: str
    address: str
    app: str


class EnvoyProxy:
    """One Envoy, connected to istiod as the workload's proxy.

    Args:
        workload: whose proxy it is.
        xds_port: of istiod on 127.0.0.1, plain text.
        folder: for its files and log; a short path, because Unix sockets have short names.
    """

    def __init__(self, workload: Workload, *, xds_port: int, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        bootstrap = folder / "bootstrap.json"
        bootstrap.write_text(json.dumps(_bootstrap(workload, folder=folder)), encoding="utf-8")
        self._processes: list[LocalProcess] = []
        try:
            relay = self._start("relay", ["socat", f"UNIX-LISTEN:{folder}/xds,fork", f"TCP:127.0.0.1:{xds_port}"])
            relay.wait_until((folder / "xds").is_socket)
            options = f"-c {bootstrap} --concurrency 1 --disable-hot-restart -l warn"
            command = f"ip link set lo up && exec {_executable()} {options}"
            envoy = self._start("envoy", ["unshare", "-rn", "sh", "-c", command])
            envoy.wait_until((folder / "admin").is_socket)
        except BaseException:
            self.stop()
            raise

    def log_levels(self) -> str:
        """What it logs, by its own admin interface."""
        connection = http.client.HTTPConnection("localhost")
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection.sock:
            connection.sock.connect(str(self._folder / "admin"))
            connection.request("POST", "/logging")
            return connection.getresponse().read().decode()

    def silent(self) -> AbstractContextManager[None]:
        """For as long as the block lasts it takes connections and answers nothing."""
        return self._processes[-1].paused()

    @contextlib.contextmanager
    def replaced(self) -> Iterator[Path]:
        """For as long as the block lasts, port-forwards to it reach what listens on this Unix socket."""
        admin, aside = self._folder / "admin", self._folder / "admin.aside"
        admin.rename(aside)
        try:
            yield admin
        finally:
            admin.unlink(missing_ok=True)
            aside.rename(admin)

    def stop(self) -> None:
        """End it."""
        for process in self._processes:
            process.stop()
        self._processes.clear()

    def _start(self, name: str, command: Sequence[str]) -> LocalProcess:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self._folder)}
        log = self._folder / f"{name}.log"
        process = LocalProcess(name, command, environment=environment, folder=self._folder, log=log)
        self._processes.append(process)
        return process


def forwards(folder: Path) -> Sequence[Mapping[str, object]]:
    """Where port-forwards to the pod of the proxy in ``folder`` lead: to its admin interface."""
    return [{"ports": [ADMIN_PORT], "command": ["socat", "-", f"UNIX-CONNECT:{folder}/admin"]}]


def _executable() -> Path:
    return Path(sysconfig.get_path("purelib")) / "envoy" / "_bin" / "envoy"


def _bootstrap(workload: Workload, *, folder: Path) -> dict[str, Any]:
    namespace, name = workload.namespace, workload.name
    config_source = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": {
            "id": f"sidecar~{workload.address}~{name}.{namespace}~{namespace}.svc.cluster.local",
            "cluster": f"{workload.app}.{namespace}",
            "metadata": {
                "NAME": name,
                "NAMESPACE": namespace,
                "CLUSTER_ID": "Kubernetes",
                "MESH_ID": "cluster.local",
                "ISTIO_VERSION": "1.31.0",
                "INSTANCE_IPS": workload.address,
                "SERVICE_ACCOUNT": "default",
                "LABELS": {"app": workload.app, "version": "v1", "security.istio.io/tlsMode": "istio"},
                "NODE_NAME": "node-0",
                "INTERCEPTION_MODE": "REDIRECT",
                "PROXY_CONFIG": {},  # without it istiod does not count the connection as a proxy
            },
        },
        "admin": {"address": {"pipe": {"path": f"{folder}/admin"}}},
        "dynamic_resources": {
            "lds_config": config_source,
            "cds_config": config_source,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
        "static_resources": {"clusters": [_cluster("xds-grpc", folder / "xds"), _cluster("sds-grpc", folder / "sds")]},
    }


def _cluster(name: str, path: Path) -> dict[str, Any]:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(path)}}}}]}],
        },
    }
