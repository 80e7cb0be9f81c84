"""The one way in which a filter gives up."""

from __future__ import annotations

from k8s_mcp_server.errors import K8sMcpError


class Unfilterable(K8sMcpError):
    """The answer does not have the expected shape, so none of it may pass. The text never quotes the answer."""
