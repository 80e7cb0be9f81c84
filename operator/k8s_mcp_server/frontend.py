"""What agents meet, from the settings: the MCP port, the tools, and what runs their commands."""

from __future__ import annotations

import importlib.metadata
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.authoring.explaining.run import ForgivingAuthorizer
from k8s_mcp_server.cluster.own_secrets import OwnSecrets
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.execution.executor import Executor
from k8s_mcp_server.policy.limits import Limits
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.argocd import ArgoCDPreparation
from k8s_mcp_server.serving.authentication import token_authenticator
from k8s_mcp_server.serving.certificate import ServingCertificate
from k8s_mcp_server.serving.checking import AccessChecker
from k8s_mcp_server.serving.connections import ConnectionLimits
from k8s_mcp_server.serving.grants import Grants
from k8s_mcp_server.serving.helm.fetching import ChartHosts, authorities
from k8s_mcp_server.serving.helm.preparation import HelmPreparation
from k8s_mcp_server.serving.helm.server import ServerVersion
from k8s_mcp_server.serving.help import HelpReader
from k8s_mcp_server.serving.http_app import allowed_hosts, mcp_app
from k8s_mcp_server.serving.http_server import HttpServer
from k8s_mcp_server.serving.istioctl import IstioctlPreparation
from k8s_mcp_server.serving.mcp_server import AgentServer
from k8s_mcp_server.serving.oidc.issuer import OidcIssuer
from k8s_mcp_server.serving.prompts import Prompts
from k8s_mcp_server.serving.recorder import CommandRecorder
from k8s_mcp_server.serving.runner import CommandRunner
from k8s_mcp_server.serving.tools.check_access import CheckAccessTool
from k8s_mcp_server.serving.tools.describe import DescribeTool
from k8s_mcp_server.serving.tools.execute import ExecuteTool

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from k8s_mcp_server.cluster.cluster import Cluster
    from k8s_mcp_server.cluster.connection import ApiServer
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.gateway.gateway import Gateway
    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.serving.admission import Admission
    from k8s_mcp_server.serving.helm.cache import HelmCache
    from k8s_mcp_server.serving.preparation import Preparation
    from k8s_mcp_server.serving.tools.base import AgentTool
    from k8s_mcp_server.settings import Settings
    from k8s_mcp_server.telemetry.audit import AuditLog
    from k8s_mcp_server.telemetry.metrics import Metrics

DISTRIBUTION: Final = "k8s-mcp-server"


class NoExecutor:
    """Stands where the sandbox is not what the settings ask for: runs nothing."""

    async def run(self, *_: object, **__: object) -> Any:
        """Refuse.

        Raises:
            Unavailable: always.
        """
        raise Unavailable("commands cannot be confined on this node")


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundations:
    """What is below the MCP port in one replica.

    Args:
        served: the CLIs that are offered.
        not_ready: why no command may run now, as stable words; empty when they may.
    """

    settings: Settings
    environment: Environment
    api_server: ApiServer
    cluster: Cluster
    authorizer: Authorizer
    gateway: Gateway
    executor: Executor | NoExecutor
    admission: Admission
    helm_cache: HelmCache
    audit: AuditLog
    metrics: Metrics
    served: tuple[Tool, ...]
    not_ready: Callable[[], tuple[str, ...]]


class Frontend:
    """The MCP port with all that answers there.

    Raises:
        ConfigurationError: the settings cannot be used together, or the address cannot be listened on.
    """

    def __init__(self, below: Foundations) -> None:
        self._below = below
        self._grants = Grants(
            store=below.cluster.store,
            discovery=below.cluster.discovery,
            environment=below.environment,
            defaults=_limits(below.settings),
            max_timeout=below.settings.max_timeout,
            now=below.cluster.now,
        )
        self.checker = self._access_checker()
        self.server = HttpServer(
            self._app(),
            host=below.settings.host,
            port=below.settings.port,
            limits=_connection_limits(below.settings),
            tls=_tls(below.settings),
        )

    def _access_checker(self) -> AccessChecker:
        below = self._below
        return AccessChecker(
            grants=self._grants,
            authorizer=below.authorizer,
            forgiving=ForgivingAuthorizer(
                store=below.cluster.store,
                discovery=below.cluster.discovery,
                access=below.cluster.access,
                environment=below.environment,
                clock=below.cluster.now,
            ),
            executor=lambda: below.executor if isinstance(below.executor, Executor) else None,
            admission=below.admission,
            clis=below.served,
        )

    def _preparations(self) -> dict[Tool, Preparation]:
        below, settings = self._below, self._below.settings
        return {
            Tool.ISTIOCTL: IstioctlPreparation(authorizer=below.authorizer, istio_namespace=settings.istio_namespace),
            Tool.ARGOCD: ArgoCDPreparation([each.name for each in settings.argocd_instances]),
            Tool.HELM: HelmPreparation(
                executor=below.executor,
                authorizer=below.authorizer,
                hosts=ChartHosts(
                    executor=below.executor,
                    authorizer=below.authorizer,
                    secrets=OwnSecrets(below.api_server, namespace=settings.namespace),
                    authorities=lambda: authorities(settings.chart_ca_file),
                    cache=below.helm_cache,
                    running=lambda: below.gateway.clients,
                ),
                server=lambda: ServerVersion.read(self.checker.served.documents),
            ),
        }

    def _runner(self) -> CommandRunner:
        below = self._below
        recorder = CommandRecorder(
            audit=below.audit, metrics=below.metrics, clock=time.monotonic, denied=below.cluster.events.denied
        )
        return CommandRunner(
            executor=below.executor,
            gateway=below.gateway,
            grants=self._grants,
            admission=below.admission,
            recorder=recorder,
            not_ready=below.not_ready,
            cluster=below.settings.cluster_name,
            clock=time.monotonic,
            preparations=self._preparations(),
        )

    def _tools(self) -> list[AgentTool]:
        runner, reader, cluster = self._runner(), HelpReader(self._below.executor), self._below.settings.cluster_name
        served, grants = self._below.served, self._grants
        return [
            *(ExecuteTool(tool, runner=runner, grants=grants, cluster=cluster) for tool in served),
            *(DescribeTool(tool, reader=reader, grants=grants) for tool in served),
            CheckAccessTool(grants=grants, checker=self.checker, cluster=cluster),
        ]

    def _app(self) -> ASGIApp:
        below, settings = self._below, self._below.settings
        agents = AgentServer(
            self._tools(),
            prompts=Prompts(grants=self._grants, served=below.served),
            grants=self._grants,
            cluster=settings.cluster_name,
            version=importlib.metadata.version(DISTRIBUTION),
        )
        return mcp_app(
            agents,
            authenticator=token_authenticator(
                below.cluster.tokens, issuers=_oidc_issuers(settings), metrics=below.metrics
            ),
            hosts=allowed_hosts(
                service=settings.service_name,
                namespace=settings.namespace,
                cluster_domain=settings.cluster_domain,
                extra=settings.allowed_hosts,
            ),
            origins=settings.allowed_origins,
            public_url=settings.public_url,
            audience=settings.audience,
            issuers=[issuer.url for issuer in settings.oidc_issuers],
            max_body=settings.max_request_body,
        )


def _oidc_issuers(settings: Settings) -> list[OidcIssuer]:
    return [
        OidcIssuer(**issuer.model_dump() | {"audiences": issuer.audiences or (settings.audience,)})
        for issuer in settings.oidc_issuers
    ]


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        return None
    minimum = ssl.TLSVersion[settings.tls_min_version.name.replace("TLS_", "TLSv")]
    return ServingCertificate(cert_file=settings.tls_cert_file, key_file=settings.tls_key_file, minimum=minimum).context


def _connection_limits(settings: Settings) -> ConnectionLimits:
    return ConnectionLimits(
        total=settings.max_connections,
        per_address=settings.max_connections_per_address,
        requests=2 * settings.max_connections,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        timeout_seconds=settings.timeout,
        output_bytes=settings.max_output,
        memory_bytes=settings.memory,
        concurrent_commands=settings.concurrent_commands,
        commands_per_minute=settings.commands_per_minute,
    )
