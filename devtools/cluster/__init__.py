"""Clusters for tests and the demo: one of our own on KWOK, or one that is there already."""

from __future__ import annotations

from devtools.cluster.base import TestCluster
from devtools.cluster.errors import ClusterError
from devtools.cluster.existing import ExistingCluster
from devtools.cluster.kwok import KwokCluster
from devtools.cluster.switches import Switches

__all__ = ["ClusterError", "ExistingCluster", "KwokCluster", "Switches", "TestCluster"]
