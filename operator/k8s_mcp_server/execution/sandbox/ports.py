"""The ports of processes that forward ports to themselves: those that the kernel chooses from, and rulesets of them.

``istioctl`` listens on a port that the kernel chose, and connects to it. Landlock can name a port to connect to, not
"the port that I was given", so all that the kernel chooses from are allowed. By default that are 28,000 ports, which
take 100 ms to write down; so a ruleset is made once and kept, and a Pod should have a range of its own
(``net.ipv4.ip_local_port_range``, a sysctl that Kubernetes calls safe).
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.execution.sandbox.landlock import ABI_WITH_TCP, Ruleset

if TYPE_CHECKING:
    from k8s_mcp_server.execution.sandbox.profile import Profile

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def local_ports(path: Path = _RANGE) -> range:
    """The ports that the kernel chooses from for a socket that names none.

    Raises:
        OSError: the kernel does not say.
    """
    try:
        first, last = map(int, path.read_text(encoding="ascii").split())
    except ValueError as error:
        raise OSError(f"{path} is not a range of ports") from error
    return range(first, last + 1)


class PortRulesets:
    """Rulesets about ports alone, kept for the life of the process. May be used by several threads.

    Args:
        abi: the Landlock ABI to use.
    """

    def __init__(self, *, abi: int) -> None:
        self._abi = abi
        self._lock = threading.Lock()
        self._made: dict[tuple[tuple[int, ...], range], Ruleset] = {}

    def of(self, profile: Profile) -> Ruleset | None:
        """The ruleset of the profile's ports; None where Landlock knows no ports.

        Raises:
            OSError: the kernel refused it.
        """
        if self._abi < ABI_WITH_TCP:
            return None
        key = (profile.connect_ports, profile.forward_ports)
        with self._lock:
            if key not in self._made:
                self._made[key] = Ruleset(
                    abi=self._abi,
                    files=None,
                    connect_ports=(*profile.connect_ports, *profile.forward_ports),
                    bind_any_port=True,
                )
            return self._made[key]
