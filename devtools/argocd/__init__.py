"""A real Argo CD beside a test cluster: server, repository server, controller and Redis as local processes."""

from __future__ import annotations

from devtools.argocd.control_plane import ArgoCDControlPlane
from devtools.argocd.repository import GitRepository

__all__ = ["ArgoCDControlPlane", "GitRepository"]
