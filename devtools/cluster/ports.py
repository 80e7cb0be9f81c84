"""Free TCP ports on the loopback address, for servers that must be told theirs."""

from __future__ import annotations

import random
import socket

from devtools.cluster.errors import ClusterError

_RANGE = range(20_000, 32_768)
"""Below the ports that kernels hand out by themselves: no outgoing connection can take one in the meantime."""


def free_ports(count: int) -> list[int]:
    """Return `count` different ports that nothing listened on just now. Raises ClusterError when there are none."""
    found: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        if len(found) == count:
            return found
        if _is_free(port):
            found.append(port)
    raise ClusterError(f"no {count} free ports on 127.0.0.1")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
