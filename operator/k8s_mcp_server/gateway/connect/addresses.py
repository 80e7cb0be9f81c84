"""From a host that policy names to an address that may be connected to: looked up once, and then used as it is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from k8s_mcp_server.policy.connections import Address, Connection
    from k8s_mcp_server.policy.egress import Endpoint

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
_LOOKUP_SECONDS: Final = 5.0


class Unreachable(Exception):
    """The host cannot be connected to.

    Args:
        message: why, for the client.
        is_denied: whether it is refused, and not only unknown.
    """

    def __init__(self, message: str, *, is_denied: bool) -> None:
        super().__init__(message)
        self.message = message
        self.is_denied = is_denied


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as this machine finds them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Finds and checks addresses.

    Args:
        never: hosts and ports that nobody is connected to: the API server, and this service itself.
        look_up: finds the addresses of a host.
    """

    never: Callable[[], Sequence[Endpoint]]
    look_up: Resolve = resolve

    async def find(self, endpoint: Endpoint, connection: Connection) -> Address:
        """The first address that may be connected to.

        Raises:
            Unreachable: there is none.
        """
        host, port = endpoint
        found = await self._find(host, port)
        if not found:
            raise Unreachable(f"the address of {host} cannot be found", is_denied=False)
        never = {
            address
            for other, other_port in self.never()
            if other_port == port
            for address in await self._find(other, port)
        }
        for address in found:
            if connection.reaches(address) and address not in never:
                return address
        why = "its addresses are not public, and no egress.privateCIDRs of the policy has them"
        if any(address in never for address in found):
            why = "this is the API server or the service itself"
        raise Unreachable(f"{host}:{port} is out of reach: {why}", is_denied=True)

    async def _find(self, host: str, port: int) -> list[Address]:
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                return [_address(text) for text in await self.look_up(host, port)]
        except (OSError, TimeoutError, ValueError, UnicodeError):
            return []


def _address(text: str) -> Address:
    """The address that a connection really goes to: what is IPv4 within IPv6 is IPv4."""
    address = ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
