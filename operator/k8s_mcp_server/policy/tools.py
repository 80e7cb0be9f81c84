"""The command-line tools that a policy may allow."""

from __future__ import annotations

from enum import StrEnum


class Tool(StrEnum):
    """A bundled CLI, by the name of its binary."""

    KUBECTL = "kubectl"
    HELM = "helm"
    ISTIOCTL = "istioctl"
    ARGOCD = "argocd"
