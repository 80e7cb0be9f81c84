"""The components of the node, and the files that configure them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from devtools.node.layout import API_PORT, DNS_PORT, DOMAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devtools.node.layout import Layout

TOOLS: Final = (
    "etcd",
    "kubectl",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "coredns",
)
"""The tools of the catalog that a node needs."""

PAUSE_IMAGE: Final = "localhost/pause:1"
CONTAINERD_SOCKET: Final = "/run/containerd/containerd.sock"
_ETCD: Final = "http://127.0.0.1:2379"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One process of the node, which is started again when it ends.

    Args:
        name: of the tool.
        flags: by name; a value of None is a flag without one.
        words: arguments that are no flags.
        environment: further variables.
    """

    name: str
    flags: Mapping[str, str | None] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        """The command line after the program."""
        flags = (f"--{name}" if value is None else f"--{name}={value}" for name, value in self.flags.items())
        return [*flags, *self.words]


def components(layout: Layout) -> list[Component]:
    """Return the processes of the node in the order of their start."""
    return [*_control_plane(layout), *_node(layout)]


def files(layout: Layout) -> Mapping[str, str]:
    """Return the components' settings by file name, for ``layout.configuration``."""
    return {
        "audit.yaml": _document(
            "audit.k8s.io/v1", "Policy", omitStages=["RequestReceived"], rules=[{"level": "Metadata"}]
        ),
        "kubelet.yaml": _kubelet(layout),
        "kube-proxy.yaml": _kube_proxy(layout),
        "containerd.toml": _containerd(layout),
        "10-bridge.conflist": _cni(layout),
        "resolv.conf": f"nameserver {layout.dns_service}\nsearch {DOMAIN}\n",
        "Corefile": (
            f".:{DNS_PORT} {{\n  bind {layout.address}\n  errors\n"
            f"  kubernetes {DOMAIN} {{\n    kubeconfig {layout.pki}/coredns.kubeconfig\n  }}\n}}\n"
        ),
    }


def objects(layout: Layout) -> str:
    """Return what must be in the API server for the node to work: the rights of its parts, and the DNS Service."""
    protocols = ("UDP", "TCP")
    service = {
        "clusterIP": layout.dns_service,
        "ports": [{"name": f"dns-{p.lower()}", "port": 53, "protocol": p, "targetPort": DNS_PORT} for p in protocols],
    }
    items = [
        _binding("node-proxier", role="system:node-proxier", user="system:kube-proxy"),
        _binding("coredns", role="view", user="coredns"),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": service,
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "ports": [{"name": f"dns-{p.lower()}", "port": DNS_PORT, "protocol": p} for p in protocols],
            "endpoints": [{"addresses": [layout.address]}],
        },
    ]
    return _document("v1", "List", items=items)


def _control_plane(layout: Layout) -> list[Component]:
    pki = layout.pki
    serving = {"bind-address": "127.0.0.1", "leader-elect": "false"}
    return [
        Component(
            name="etcd",
            flags={
                "data-dir": str(layout.root / "etcd"),
                "listen-client-urls": _ETCD,
                "advertise-client-urls": _ETCD,
                "listen-peer-urls": "http://127.0.0.1:2380",
                "unsafe-no-fsync": None,  # nothing here outlives the machine
                "log-level": "warn",
            },
        ),
        Component(name="kube-apiserver", flags=_api_server(layout)),
        Component(
            name="kube-controller-manager",
            flags={
                **serving,
                "kubeconfig": f"{pki}/kube-controller-manager.kubeconfig",
                "use-service-account-credentials": "true",
                "service-account-private-key-file": f"{pki}/service-account.key",
                "root-ca-file": f"{pki}/ca.crt",
                "cluster-signing-cert-file": f"{pki}/ca.crt",
                "cluster-signing-key-file": f"{pki}/ca.key",
            },
        ),
        Component(name="kube-scheduler", flags={**serving, "kubeconfig": f"{pki}/kube-scheduler.kubeconfig"}),
    ]


def _api_server(layout: Layout) -> Mapping[str, str | None]:
    pki = layout.pki
    return {
        "etcd-servers": _ETCD,
        "secure-port": str(API_PORT),
        "advertise-address": layout.address,
        "service-cluster-ip-range": layout.services,
        "tls-cert-file": f"{pki}/kube-apiserver.crt",
        "tls-private-key-file": f"{pki}/kube-apiserver.key",
        "client-ca-file": f"{pki}/ca.crt",
        "service-account-issuer": f"https://kubernetes.default.svc.{DOMAIN}",
        "service-account-key-file": f"{pki}/service-account.pub",
        "service-account-signing-key-file": f"{pki}/service-account.key",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "kubelet-client-certificate": f"{pki}/kube-apiserver.crt",
        "kubelet-client-key": f"{pki}/kube-apiserver.key",
        "kubelet-certificate-authority": f"{pki}/ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        "audit-policy-file": f"{layout.configuration}/audit.yaml",
        "audit-log-path": str(layout.audit_log),
        "audit-log-maxsize": "8192",  # megabytes; the default, 100, would rotate it away from tests that read it
    }


def _node(layout: Layout) -> list[Component]:
    configuration = layout.configuration
    return [
        Component(name="containerd", flags={"config": f"{configuration}/containerd.toml"}),
        Component(
            name="kubelet",
            flags={
                "config": f"{configuration}/kubelet.yaml",
                "kubeconfig": f"{layout.pki}/kubelet.kubeconfig",
                "hostname-override": layout.name,
                "node-ip": layout.address,
            },
        ),
        Component(name="kube-proxy", flags={"config": f"{configuration}/kube-proxy.yaml"}),
        Component(name="coredns", words=("-conf", f"{configuration}/Corefile")),
    ]


def _kubelet(layout: Layout) -> str:
    pki = layout.pki
    return _document(
        "kubelet.config.k8s.io/v1beta1",
        "KubeletConfiguration",
        failCgroupV1=False,
        cgroupDriver="cgroupfs",
        cgroupRoot=f"/{layout.name}",
        containerRuntimeEndpoint=f"unix://{CONTAINERD_SOCKET}",
        authentication={
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        authorization={"mode": "Webhook"},
        tlsCertFile=f"{pki}/kubelet.crt",
        tlsPrivateKeyFile=f"{pki}/kubelet.key",
        address=layout.address,
        clusterDNS=[layout.dns_service],
        clusterDomain=DOMAIN,
        resolvConf=f"{layout.configuration}/resolv.conf",
        failSwapOn=False,
        # The disk is the machine's: how full it is, is not this node's business.
        evictionHard={"memory.available": "200Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        imageGCHighThresholdPercent=100,
        imageGCLowThresholdPercent=99,
        nodeStatusUpdateFrequency="4s",
    )


def _kube_proxy(layout: Layout) -> str:
    return _document(
        "kubeproxy.config.k8s.io/v1alpha1",
        "KubeProxyConfiguration",
        mode="nftables",
        hostnameOverride=layout.name,
        clusterCIDR=layout.pods,
        clientConnection={"kubeconfig": f"{layout.pki}/kube-proxy.kubeconfig"},
        # All 0: it would write sysctls of the whole machine otherwise.
        conntrack={"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    )


def _containerd(layout: Layout) -> str:
    cri = "io.containerd.cri.v1"
    runtime = f"plugins.'{cri}.runtime'"
    return f"""version = 4
[grpc]
  address = '{CONTAINERD_SOCKET}'
[plugins.'{cri}.images'.pinned_images]
  sandbox = '{PAUSE_IMAGE}'
[{runtime}]
  restrict_oom_score_adj = true
[{runtime}.cni]
  bin_dirs = ['{layout.cni}']
  conf_dir = '/etc/cni/net.d'
[{runtime}.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[{runtime}.containerd.runtimes.runc.options]
  BinaryName = '{layout.runc}'
[plugins.'io.containerd.nri.v1.nri']
  disable = true
"""


def _cni(layout: Layout) -> str:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": layout.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "1.0.0", "name": "bridge", "plugins": [bridge]}, indent=2)


def _binding(name: str, *, role: str, user: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


def _document(api_version: str, kind: str, **fields: object) -> str:
    """A YAML document, written as the subset of it that is JSON."""
    return json.dumps({"apiVersion": api_version, "kind": kind, **fields}, indent=2)
