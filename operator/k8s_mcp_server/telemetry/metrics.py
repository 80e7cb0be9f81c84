"""The Prometheus metrics of one server.

Names follow https://prometheus.io/docs/practices/naming/ with the prefix ``k8s_mcp_``. No label carries a client's,
namespace's or object's name: every value is from a closed set, and what is not becomes ``other``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_CLIS: Final = frozenset({"kubectl", "helm", "istioctl", "argocd"})
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_SANDBOX_LEVELS: Final = ("required", "filesystem", "unavailable")


class Metrics:
    """Every metric of the server, in a registry of its own.

    Args:
        registry: where the metrics are registered; a new one when None.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._commands = self._counter("k8s_mcp_commands", "Commands that ended.", "cli", "outcome")
        self._command_seconds = self._histogram(
            "k8s_mcp_command_duration_seconds", "Duration of commands, in seconds.", "cli", "outcome"
        )
        self._in_flight = self._gauge("k8s_mcp_commands_in_flight", "Commands that are running now.", "cli")
        self._queued = self._gauge("k8s_mcp_commands_queued", "Commands that wait for a free place.")
        self._decisions = self._counter("k8s_mcp_decisions", "Policy decisions on API requests.", "verdict", "reason")
        self._upstream = self._counter(
            "k8s_mcp_upstream_requests", "Requests sent to the API server for commands.", "method", "code"
        )
        self._upstream_seconds = self._histogram(
            "k8s_mcp_upstream_request_duration_seconds",
            "Time from forwarding a request to the head of its answer, in seconds.",
            "method",
        )
        self._argocd = self._counter("k8s_mcp_argocd_calls", "Calls made to Argo CD for commands.", "method", "code")
        self._argocd_seconds = self._histogram(
            "k8s_mcp_argocd_call_duration_seconds",
            "Time from making a call to Argo CD to the head of its answer, in seconds.",
            "method",
        )
        self._authentications = self._counter(
            "k8s_mcp_authentications", "Authentications of MCP clients.", "authenticator", "outcome"
        )
        self._restarts = self._counter("k8s_mcp_operator_restarts", "Restarts of the policy controller.")
        self._dropped = self._counter(
            "k8s_mcp_resync_dropped_objects",
            "Objects that a resync dropped because their deletion was missed.",
        )
        self._events = self._counter("k8s_mcp_events", "Events about policies, by what became of them.", "outcome")
        self._leader = self._gauge("k8s_mcp_leader", "1 where this replica writes the policies' status.")
        self._sandbox = self._gauge("k8s_mcp_sandbox_level", "1 for the level the sandbox runs at.", "level")
        self._build = self._gauge(
            "k8s_mcp_build_info", "1, with the version and the cluster's name.", "version", "cluster"
        )
        self.sandbox_level("unavailable")

    def build(self, *, version: str, cluster: str) -> None:
        """State which version this is, and what the settings call the cluster."""
        self._build.labels(version, cluster).set(1)

    def command_started(self, cli: str) -> None:
        """Count a command in until ``command_finished``."""
        self._in_flight.labels(_known(cli, _CLIS)).inc()

    def command_finished(self, cli: str, *, outcome: str, seconds: float) -> None:
        """Count a started command out, with its outcome (a closed set) and duration."""
        cli = _known(cli, _CLIS)
        self._in_flight.labels(cli).dec()
        self._record_command(cli, outcome=outcome, seconds=seconds)

    def command_refused(self, cli: str, *, outcome: str, seconds: float) -> None:
        """Count a command that was never started."""
        self._record_command(_known(cli, _CLIS), outcome=outcome, seconds=seconds)

    def _record_command(self, cli: str, *, outcome: str, seconds: float) -> None:
        self._commands.labels(cli, outcome).inc()
        self._command_seconds.labels(cli, outcome).observe(seconds)

    def command_queued(self, delta: int) -> None:
        """Add to (or take from) the number of waiting commands."""
        self._queued.inc(delta)

    def decision(self, *, verdict: str, reason: str) -> None:
        """Count one policy decision."""
        self._decisions.labels(verdict, reason).inc()

    def upstream_request(self, *, method: str, code: int, seconds: float) -> None:
        """Count one forwarded request; ``code`` 0 means that no answer came."""
        method = _known(method, _METHODS)
        self._upstream.labels(method, str(code)).inc()
        self._upstream_seconds.labels(method).observe(seconds)

    def argocd_call(self, *, method: str, code: int, seconds: float) -> None:
        """Count one call to Argo CD: its method (a closed set) and gRPC's status, 14 where no answer came."""
        self._argocd.labels(method, str(code)).inc()
        self._argocd_seconds.labels(method).observe(seconds)

    def authentication(self, *, authenticator: str, outcome: str) -> None:
        """Count one authentication of an MCP client."""
        self._authentications.labels(authenticator, outcome).inc()

    def sandbox_level(self, level: str) -> None:
        """State the sandbox's level: ``required``, ``filesystem`` or ``unavailable``."""
        for known in _SANDBOX_LEVELS:
            self._sandbox.labels(known).set(known == level)

    def operator_restarted(self) -> None:
        """Count a restart of the policy controller."""
        self._restarts.inc()

    def resync_dropped(self, count: int) -> None:
        """Count objects whose deletion only a resync noticed."""
        self._dropped.inc(count)

    def event(self, outcome: str) -> None:
        """Count one Event, or one more in a series: ``written``, ``dropped`` as one too many, or ``failed``."""
        self._events.labels(outcome).inc()

    def leader(self, *, is_leader: bool) -> None:
        """State whether this replica holds the Lease."""
        self._leader.set(is_leader)

    def watch_policies(self, *, age: Callable[[], float], counts: Callable[[], Mapping[str, int]]) -> None:
        """Publish the policy snapshot's age in seconds and its number of policies by state, read at each scrape."""
        self.registry.register(_PolicyCollector(age, counts))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=_SECONDS)


class _PolicyCollector(Collector):
    def __init__(self, age: Callable[[], float], counts: Callable[[], Mapping[str, int]]) -> None:
        self._age = age
        self._counts = counts

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "k8s_mcp_policy_snapshot_age_seconds",
            "Seconds since policies and namespaces were last listed in full (+Inf before the first time).",
            value=self._age(),
        )
        policies = GaugeMetricFamily("k8s_mcp_policies", "Policies in the snapshot.", labels=["state"])
        for state, count in self._counts().items():
            policies.add_metric([state], count)
        yield policies


def _known(value: str, known: frozenset[str]) -> str:
    return value if value in known else "other"
