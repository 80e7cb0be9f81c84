"""What is behind the gateway, from the settings: the API server, and instances of Argo CD."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.errors import ConfigurationError, Unavailable
from k8s_mcp_server.gateway.argocd.instance import ArgoCD

if TYPE_CHECKING:
    from k8s_mcp_server.settings import ArgoCDSettings, Settings
    from k8s_mcp_server.telemetry.metrics import Metrics


def api_server(settings: Settings) -> ApiServer:
    """The API server.

    Raises:
        ConfigurationError: it is not stated, or its CA or our token cannot be read.
    """
    if not settings.kubernetes_host:
        raise ConfigurationError(
            "`kubernetes_host` is not set, and there is no KUBERNETES_SERVICE_HOST as in a pod: write the API server's "
            "host"
        )
    server = ApiServer(
        host=settings.kubernetes_host,
        port=settings.kubernetes_port,
        ca_file=settings.ca_file,
        token_file=settings.token_file,
    )
    _check(server)
    return server


def argocd_instances(settings: Settings, *, metrics: Metrics) -> dict[str, ArgoCD]:
    """The instances of Argo CD by name, in the settings' order. In policies, names of all but the first are qualified.

    Raises:
        ConfigurationError: a URL has no host, or a CA or token cannot be read.
    """
    return {
        instance.name: _argocd(instance, metrics=metrics, qualifier=instance.name if index else "")
        for index, instance in enumerate(settings.argocd_instances)
    }


def _argocd(settings: ArgoCDSettings, *, metrics: Metrics, qualifier: str) -> ArgoCD:
    where = f"`argocd_instances` {settings.name}: "
    try:
        url = urlsplit(settings.url)
        host, port = url.hostname, url.port or 443
    except ValueError as error:
        raise ConfigurationError(f"{where}`url`: {error}") from error
    if not host:
        raise ConfigurationError(f"{where}`url` has no host")
    server = ApiServer(host=host, port=port, ca_file=settings.ca_file, token_file=settings.token_file)
    _check(server, where=where)
    return ArgoCD(
        name=settings.name,
        server=server,
        metrics=metrics,
        root_path=url.path.rstrip("/"),
        namespace=settings.namespace,
        qualifier=qualifier,
    )


def _check(server: ApiServer, *, where: str = "") -> None:
    for key, path, read in (
        ("ca_file", server.ca_file, server.ssl_context),
        ("token_file", server.token_file, server.token),
    ):
        try:
            read()
        except Unavailable as error:
            raise ConfigurationError(f"{where}`{key}` {path}: {error}") from error
