"""The error of the node."""

from __future__ import annotations

from devtools.cluster import ClusterError


class NodeError(ClusterError):
    """The machine can't run a node, or the node didn't start. The text says why and what to do."""
