"""What helm may connect to beside the API server, as one policy states it: chart repositories and further hosts."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from k8s_mcp_server.policy.model import ChartsModel, EgressModel

Network: TypeAlias = IPv4Network | IPv6Network
Endpoint: TypeAlias = "tuple[str, int]"
_HTTPS: Final = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRepository:
    """A chart repository (``https``) or registry (``oci``).

    Args:
        name: as clients write it: ``name/chart``.
        url: without a slash at its end.
        secret: of the server's own namespace; empty for none.
    """

    name: str
    url: str
    secret: str = ""

    @property
    def is_registry(self) -> bool:
        """Whether it is an OCI registry."""
        return self.url.startswith("oci:")

    @property
    def endpoint(self) -> Endpoint:
        """Its host and port."""
        return endpoint_of(self.url)

    @property
    def netloc(self) -> str:
        """Its host, with the port where the URL states one."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """What one policy says.

    Args:
        repositories: whose hosts are among the endpoints.
        endpoints: hosts, exactly as they are connected to, and ports.
        private: networks of addresses that are not public and may be connected to.
    """

    repositories: tuple[ChartRepository, ...] = ()
    endpoints: frozenset[Endpoint] = frozenset()
    private: tuple[Network, ...] = ()

    @classmethod
    def of(cls, charts: ChartsModel, egress: EgressModel) -> Egress:
        """As a policy states it."""
        repositories = tuple(
            ChartRepository(
                name=each.name, url=each.url.rstrip("/"), secret=each.secret_ref.name if each.secret_ref else ""
            )
            for each in charts.repositories
        )
        named = (host.rpartition(":") for host in egress.hosts)
        stated = ((host, int(port)) for host, _, port in named)
        return cls(
            repositories=repositories,
            endpoints=frozenset({*stated, *(each.endpoint for each in repositories)}),
            private=tuple(map(ip_network, egress.private_cidrs)),
        )


def endpoint_of(url: str) -> Endpoint:
    """Host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _HTTPS
