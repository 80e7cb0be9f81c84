"""The command that a denial suggests is one of the CLI that was denied, and needs nothing that is missing."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_mcp_server.policy.tools import Tool
from tests.support.asking import ask, policy, rule

pytestmark = pytest.mark.unit

MESHES = "istioctl.istio.io"
PROXIES = rule("get list", "proxystatuses proxyconfigs", groups=MESHES)
ANALYSES = rule("list", "analyses", groups=MESHES)
MESH = rule("get", "meshes", groups=MESHES, clusterScoped=True)
TOKENS = rule("create", "tokens", groups=MESHES, namespaces=["istio-system"])
RELEASES = rule("list", "releases", groups="helm.sh")
APPS = rule("get", "applications", groups="argocd.argoproj.io", clusterScoped=True, resourceNames=["team-a/*"])


@pytest.mark.parametrize(
    ("tool", "text", "rules", "command"),
    [
        (Tool.ISTIOCTL, "get proxysecrets.istioctl.istio.io -n team-a", [PROXIES], ""),
        (
            Tool.ISTIOCTL,
            "get proxysecrets.istioctl.istio.io -n team-a",
            [PROXIES, TOKENS],
            "istioctl proxy-status -n team-a",
        ),
        (Tool.ISTIOCTL, "get proxysecrets.istioctl.istio.io -n team-a", [PROXIES, MESH], "istioctl version"),
        (Tool.ISTIOCTL, "get meshes.istioctl.istio.io", [PROXIES, ANALYSES], "istioctl analyze -n team-a"),
        (Tool.HELM, "delete releases.helm.sh web -n team-a", [RELEASES], "helm list -n team-a"),
        (Tool.HELM, "list releases.helm.sh -n team-b", [RELEASES], "helm list -n team-a"),
        (Tool.ARGOCD, "sync applications.argocd.argoproj.io team-a/web", [APPS], "argocd app list"),
        (Tool.ARGOCD, "get clusters.argocd.argoproj.io", [APPS], "argocd app list"),
    ],
)
def test_what_is_suggested_instead_works(tool: Tool, text: str, rules: list[Any], command: str) -> None:
    decision = ask(text, policy("some", *rules, tools=[tool.value]), tool=tool)
    assert not decision.allowed
    assert decision.next_command == command
