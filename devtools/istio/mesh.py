"""A cluster with a mesh: one namespace a team, each with an app, its proxy and some configuration."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from devtools.cluster import KwokCluster
from devtools.istio.istiod import ISTIO_NAMESPACE, Istiod, IstiodPorts
from devtools.istio.proxy import EnvoyProxy, Workload, forwards

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_OFF = """\
{"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
 "metadata": {"name": "default", "namespace": "istio-system"}, "spec": {"mtls": {"mode": "DISABLE"}}}
"""


class Mesh:
    """A running cluster, istiod, and one Envoy in each of some namespaces. A context manager that ends all of it.

    Each namespace ``N`` has the Service and Deployment ``cart``, whose one pod has a proxy; a VirtualService that names
    a subset which no DestinationRule has, which ``analyze`` finds; and a DestinationRule.

    Args:
        namespaces: what to make.
        on_progress: told what happens.
    """

    def __init__(self, namespaces: Sequence[str], *, on_progress: Callable[[str], None] = lambda _: None) -> None:
        self._namespaces = tuple(namespaces)
        self._report = on_progress
        self._ended = contextlib.ExitStack()
        self.ports = IstiodPorts.choose()
        self.workloads: dict[str, Workload] = {}
        """The pod with a proxy of each namespace."""
        self.proxies: dict[str, EnvoyProxy] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._ended.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.close()

    def _start(self) -> None:
        self.folder = Path(self._ended.enter_context(tempfile.TemporaryDirectory(prefix="mesh-")))
        targets = {name: forwards(self.folder / name) for name in self._namespaces}
        self.cluster = self._ended.enter_context(
            KwokCluster.start(
                name="mesh", forwards={ISTIO_NAMESPACE: self.ports.forwards, **targets}, on_progress=self._report
            )
        )
        self._report("istiod")
        self.istiod = Istiod(self.cluster, ports=self.ports, folder=self.folder / "istiod")
        self._ended.callback(self.istiod.stop)
        self.istiod.start()
        self.cluster.kubectl("apply", "--filename=-", input=_OFF)
        for name in self._namespaces:
            self._report(f"namespace {name}, its app and an Envoy")
            self.cluster.kubectl("apply", "--filename=-", input=_objects(name))
            self.workloads[name] = self._workload(name)
            proxy = EnvoyProxy(self.workloads[name], xds_port=self.ports.xds, folder=self.folder / name)
            self._ended.callback(proxy.stop)
            self.proxies[name] = proxy

    def _workload(self, namespace: str) -> Workload:
        where = (f"--namespace={namespace}", "--selector=app=cart")
        self.cluster.kubectl("wait", "pod", *where, "--for=create", "--timeout=50s")
        self.cluster.kubectl("wait", "pod", *where, "--for=condition=Ready", "--timeout=50s")
        pod = json.loads(self.cluster.kubectl("get", "pod", *where, "--output=json").stdout)["items"][0]
        return Workload(namespace=namespace, name=pod["metadata"]["name"], address=pod["status"]["podIP"], app="cart")


def _objects(namespace: str) -> str:
    """A namespace and what is in it, as YAML documents."""
    metadata = {"name": "cart", "namespace": namespace, "labels": {"app": "cart"}}
    labels = {"app": "cart", "version": "v1"}
    container = {"name": "app", "image": "registry.example.com/cart", "ports": [{"containerPort": 8000}]}
    route = {"destination": {"host": "cart", "subset": "v2"}}
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"istio-injection": "enabled"}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": "cart"}, "ports": [{"name": "http", "port": 8000, "targetPort": 8000}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        },
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "cart", "namespace": namespace},
            "spec": {"hosts": ["cart"], "http": [{"route": [route]}]},
        },
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": {"name": "cart", "namespace": namespace},
            "spec": {"host": "cart", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]},
        },
    ]
    return "\n---\n".join(map(json.dumps, objects))
