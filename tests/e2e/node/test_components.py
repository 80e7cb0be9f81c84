"""Components that change the Pod, on a node: what they mount and set is there, and the replica is ready."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.node.site import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.node.site import Site

pytestmark = pytest.mark.e2e

_SECRET: Final = "k8s-mcp-server-argocd"
_SETTINGS: Final = "/etc/k8s-mcp-server"


def test_istio_gives_the_pod_a_range_of_local_ports_of_its_own(site: Site) -> None:
    with _ready(site, "istio-rbac") as pod:
        assert _read(site, pod, "/proc/sys/net/ipv4/ip_local_port_range").split() == ["61000", "65095"]


def test_argocd_s_token_and_authority_stand_beside_the_settings(site: Site) -> None:
    literals = ("--from-literal=token=of Argo CD", "--from-literal=ca.crt=its authority")
    site.node.kubectl("create", "secret", "generic", _SECRET, f"--namespace={NAMESPACE}", *literals)
    try:
        with _ready(site, "argocd") as pod:
            assert _read(site, pod, f"{_SETTINGS}/argocd/main/token") == "of Argo CD"
            assert _read(site, pod, f"{_SETTINGS}/argocd/main/ca.crt") == "its authority"
            assert "cluster_name" in _read(site, pod, f"{_SETTINGS}/config.yaml")
    finally:
        site.node.kubectl("delete", "secret", _SECRET, f"--namespace={NAMESPACE}")


@contextmanager
def _ready(site: Site, component: str) -> Iterator[str]:
    """A Pod of the service with the component, when it is ready."""
    pod = f"with-{component}"
    with site.beside(pod, site.with_component(component)):
        site.node.kubectl("wait", f"pod/{pod}", f"--namespace={NAMESPACE}", "--for=condition=Ready", "--timeout=60s")
        yield pod


def _read(site: Site, pod: str, path: str) -> str:
    return site.node.kubectl("exec", pod, f"--namespace={NAMESPACE}", "--", "cat", path).stdout
