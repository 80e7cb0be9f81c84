"""Puts the service together and runs it: the one place that knows every layer.

    settings → cluster, gateway, executor → serving (MCP port), health port

Start: what is below first, the MCP port last. Stop: readiness says no, requests are still taken for a moment (until
nobody sends new ones here), then commands end within their limits, and what is below goes last.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import signal
import socket
import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.authoring.resources import Served
from k8s_mcp_server.backends import api_server, argocd_instances
from k8s_mcp_server.cluster.client import ApiClient
from k8s_mcp_server.cluster.cluster import Cluster
from k8s_mcp_server.commands.parse import CHECKS
from k8s_mcp_server.execution.executor import Executor
from k8s_mcp_server.execution.sandbox.level import SandboxLevel, SandboxReport
from k8s_mcp_server.execution.sandbox.spawn import Sandbox
from k8s_mcp_server.frontend import DISTRIBUTION, Foundations, Frontend, NoExecutor
from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.gateway.gateway import Gateway
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.admission import Admission
from k8s_mcp_server.serving.health import health_app
from k8s_mcp_server.serving.helm.cache import HelmCache
from k8s_mcp_server.serving.http_server import HttpServer
from k8s_mcp_server.serving.kubectl_cache import KubectlCache
from k8s_mcp_server.telemetry.audit import AuditLog, RequestAudit
from k8s_mcp_server.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from k8s_mcp_server.execution.binaries import Binaries
    from k8s_mcp_server.settings import Settings

_REVALIDATE_SECONDS: Final = 1.0
_CLEANUP_SECONDS: Final = 10.0
_INTERRUPTED_GRACE: Final = 1.0

logger = logging.getLogger(__name__)


class NotReady(StrEnum):
    """Why this replica takes no commands, beside what the cluster's own reasons are."""

    DRAINING = "Draining"
    SANDBOX_UNAVAILABLE = "SandboxUnavailable"
    TOOL_MISSING = "ToolMissing"


class Application:
    """One replica.

    Args:
        settings: as loaded.
        report: what the sandbox is worth on this node.
        binaries: the programs of this machine.

    Raises:
        ConfigurationError: the settings cannot be used together, or an address cannot be listened on.
    """

    def __init__(self, settings: Settings, *, report: SandboxReport, binaries: Binaries) -> None:
        self._settings = settings
        self._is_draining = False
        self._is_sandboxed = report.satisfies(SandboxLevel(settings.sandbox.value))
        self._level = report.level.value if report.level and self._is_sandboxed else "unavailable"
        self._served = tuple(
            tool for tool in CHECKS if binaries.is_cli(tool) and (tool is not Tool.ARGOCD or settings.argocd_instances)
        )
        metrics = Metrics()
        metrics.sandbox_level(self._level)
        metrics.build(version=importlib.metadata.version(DISTRIBUTION), cluster=settings.cluster_name)
        audit = AuditLog(
            sys.stdout, cluster=settings.cluster_name, requests=RequestAudit(settings.audit_requests.value)
        )
        environment = _environment(settings)
        self._api_server = api_server(settings)
        self.cluster = Cluster(
            self._api_server,
            environment=environment,
            metrics=metrics,
            identity=settings.pod_name or socket.gethostname(),
            resync_seconds=settings.resync,
        )
        authorizer = Authorizer(
            store=self.cluster.store,
            discovery=self.cluster.discovery,
            access=self.cluster.access,
            environment=environment,
            clock=self.cluster.now,
        )
        self.gateway = Gateway(
            api_server=self._api_server,
            authorizer=authorizer,
            metrics=metrics,
            audit=audit,
            service_account=f"system:serviceaccount:{settings.namespace}:{settings.service_account}",
            argocd=argocd_instances(settings, metrics=metrics),
        )
        self.executor = (
            Executor(binaries=binaries, sandbox=Sandbox(abi=report.abi), runtime_dir=settings.runtime_dir)
            if self._is_sandboxed
            else NoExecutor()
        )
        self._helm_cache = HelmCache(settings.runtime_dir)
        self._admission = Admission(
            max_running=settings.max_running_commands,
            max_queued=settings.max_queued_commands,
            queue_seconds=settings.queue_seconds,
            metrics=metrics,
            clock=time.monotonic,
        )
        frontend = Frontend(
            Foundations(
                settings=settings,
                environment=environment,
                api_server=self._api_server,
                cluster=self.cluster,
                authorizer=authorizer,
                gateway=self.gateway,
                executor=self.executor,
                admission=self._admission,
                helm_cache=self._helm_cache,
                audit=audit,
                metrics=metrics,
                served=self._served,
                not_ready=self._cannot_run_reasons,
            )
        )
        self._checker, self.mcp = frontend.checker, frontend.server
        self.health = HttpServer(
            health_app(
                not_ready_reasons=self.not_ready_reasons,
                sandbox_level=lambda: self._level,
                registry=metrics.registry,
            ),
            host=settings.health_host,
            port=settings.health_port,
        )

    def not_ready_reasons(self) -> tuple[str, ...]:
        """Why this replica should get no traffic, as stable words; empty when it should."""
        return ((NotReady.DRAINING.value,) if self._is_draining else ()) + self._cannot_run_reasons()

    def _cannot_run_reasons(self) -> tuple[str, ...]:
        checks = {
            NotReady.SANDBOX_UNAVAILABLE: not self._is_sandboxed,
            NotReady.TOOL_MISSING: not self._served,
        }
        own = tuple(reason.value for reason, holds in checks.items() if holds)
        return own + tuple(reason.value for reason in self.cluster.not_ready_reasons())

    async def serve(self) -> int:
        """Run until a signal; the process's exit code."""
        stop: asyncio.Future[signal.Signals] = asyncio.get_running_loop().create_future()
        _on_signals(stop)
        async with contextlib.AsyncExitStack() as stack:
            await asyncio.to_thread(self._helm_cache.clear)
            self.cluster.start()
            stack.push_async_callback(asyncio.to_thread, self.cluster.stop)
            await self.gateway.start()
            stack.push_async_callback(self.gateway.close)
            stack.callback(self.cluster.store.subscribe(self.gateway.revalidate))
            for work in (self._keep_revalidating(), self._keep_cache()):
                stack.push_async_callback(_cancel, asyncio.create_task(work))
            await self.health.start()
            stack.push_async_callback(self.health.stop, grace_seconds=_INTERRUPTED_GRACE)
            await self.mcp.start()
            logger.info("serving MCP on port %d, health on port %d", self.mcp.port, self.health.port)
            servers: list[asyncio.Future[Any]] = [
                asyncio.create_task(server.wait()) for server in (self.mcp, self.health)
            ]
            await asyncio.wait({stop, *servers}, return_when=asyncio.FIRST_COMPLETED)
            await self._drain(stop.result() if stop.done() else signal.SIGTERM)
        return 0 if stop.done() else 1

    async def _drain(self, received: signal.Signals) -> None:
        self._is_draining = True
        self.mcp.send_away()
        logger.info("stopping on %s, %d commands running", received.name, self._admission.running)
        interrupted = received is signal.SIGINT
        if not interrupted:
            await asyncio.sleep(self._settings.drain)
        self._admission.drain()
        await self.mcp.stop(grace_seconds=_INTERRUPTED_GRACE if interrupted else self._settings.max_timeout)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLEANUP_SECONDS):
                await self._admission.wait_until_idle()

    async def _keep_cache(self) -> None:
        """Keep kubectl's discovery cache up to date, where there are commands to use it."""
        if not isinstance(self.executor, Executor):
            return
        executor = self.executor

        def published(folder: Path, documents: Mapping[str, Any]) -> None:
            executor.discovery_cache = folder
            self._checker.served = Served(documents)

        cache = KubectlCache(
            lambda: ApiClient.connect(self._api_server),
            discovery=self.cluster.discovery,
            parent=self._settings.runtime_dir,
            port=self.gateway.port,
            published=published,
            clock=time.monotonic,
        )
        await cache.run()

    async def _keep_revalidating(self) -> None:
        """A policy also ends by the clock, which changes no snapshot."""
        while True:
            await asyncio.sleep(_REVALIDATE_SECONDS)
            self.gateway.revalidate()


def _environment(settings: Settings) -> Environment:
    return Environment(
        own_namespace=settings.namespace,
        own_service_account=settings.service_account,
        audience=settings.audience,
        protected_namespaces=frozenset(settings.protected_namespaces),
        max_snapshot_age=settings.snapshot_max_age,
        istio_namespace=settings.istio_namespace,
    )


def _on_signals(stop: asyncio.Future[signal.Signals]) -> None:
    """Fulfil ``stop`` on the first signal; a second one gets the default treatment."""
    loop = asyncio.get_running_loop()

    def received(number: signal.Signals) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
        stop.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("background work had failed", exc_info=error)
