"""A real istiod and real Envoys beside a cluster whose pods are simulated: for end-to-end tests of istioctl."""

from devtools.istio.istiod import ISTIO_NAMESPACE, Istiod, IstiodPorts
from devtools.istio.mesh import Mesh
from devtools.istio.proxy import EnvoyProxy, Workload

__all__ = ["ISTIO_NAMESPACE", "EnvoyProxy", "Istiod", "IstiodPorts", "Mesh", "Workload"]
