"""A real chart repository and a real OCI registry on this machine, over TLS under a CA of their own."""

from __future__ import annotations

from devtools.charts.registry import USER, Registry
from devtools.charts.repository import ChartHost, Page
from devtools.charts.tls import Authority

__all__ = ["USER", "Authority", "ChartHost", "Page", "Registry"]
