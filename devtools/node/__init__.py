"""A real node beside the machine: kubelet, containerd, runc, kube-proxy and DNS under a real control plane.

Everything lives in network, mount, process, IPC and host name namespaces of its own, under one process whose end ends
all of it. A virtual cable joins it to the machine: API server, Services and Pods have addresses that the machine
reaches.
"""

from devtools.node.cluster import NodeCluster
from devtools.node.errors import NodeError

__all__ = ["NodeCluster", "NodeError"]
