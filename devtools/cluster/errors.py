"""The error of the cluster harness."""

from __future__ import annotations


class ClusterError(Exception):
    """A cluster didn't start, or a command against it failed. The text says which and shows the reason."""
