"""What a policy command cannot work with."""

from __future__ import annotations

from k8s_mcp_server.errors import K8sMcpError


class UnusableInput(K8sMcpError):
    """A file, a name or an option that the command cannot work with; the text says which, and what would do."""
