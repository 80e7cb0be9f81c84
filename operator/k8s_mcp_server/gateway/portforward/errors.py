"""Why a port-forward's bytes are not passed on."""

from __future__ import annotations

from k8s_mcp_server.errors import K8sMcpError


class ForwardRefused(K8sMcpError):
    """The client's bytes are no port-forward of the planned kind, or ask for something that was not planned."""
