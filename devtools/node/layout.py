"""Where a node is: its addresses, and its files.

Several nodes may run on a machine, each in a slot of its own: the number decides addresses and names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SLOTS: Final = 20
API_PORT: Final = 6443
DNS_PORT: Final = 1053
DOMAIN: Final = "cluster.local"
_FIRST_NETWORK: Final = 200  # 10.200.0.0/16 … 10.219.0.0/16


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One node's addresses and files.

    Args:
        slot: which of the machine's nodes, from 0.
        root: the folder that holds everything the node writes.
        tools: folder of the binaries built from ``tools/``.
        cni: folder of the CNI plugins.
        runc: path of runc.
    """

    slot: int
    root: Path
    tools: Path
    cni: Path
    runc: Path

    @property
    def name(self) -> str:
        """The name of the node, of its cgroup and of the machine's end of the cable."""
        return f"k8smcp-node{self.slot}"

    @property
    def network(self) -> str:
        """All of the node's addresses, which the machine routes to it."""
        return f"10.{_FIRST_NETWORK + self.slot}.0.0/16"

    @property
    def machine_address(self) -> str:
        """The machine's end of the cable."""
        return self._address(0, 1)

    @property
    def address(self) -> str:
        """The node's address, where the API server listens too."""
        return self._address(0, 2)

    @property
    def services(self) -> str:
        """The addresses of Services."""
        return f"{self._address(1, 0)}/24"

    @property
    def api_service(self) -> str:
        """The address of the Service ``kubernetes``: the first of the range."""
        return self._address(1, 1)

    @property
    def dns_service(self) -> str:
        """The address of the cluster's DNS."""
        return self._address(1, 10)

    @property
    def pods(self) -> str:
        """The addresses of Pods."""
        return f"{self._address(2, 0)}/24"

    @property
    def server_url(self) -> str:
        """The API server, from the machine and from the node."""
        return f"https://{self.address}:{API_PORT}"

    @property
    def pki(self) -> Path:
        """Folder of keys, certificates and kubeconfigs."""
        return self.root / "pki"

    @property
    def configuration(self) -> Path:
        """Folder of the components' settings."""
        return self.root / "etc"

    @property
    def logs(self) -> Path:
        """Folder of a log per component."""
        return self.root / "log"

    @property
    def pids(self) -> Path:
        """Folder of a file per running component with its process id, as the node's own processes see it."""
        return self.root / "pid"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log."""
        return self.logs / "audit.log"

    @property
    def seccomp(self) -> Path:
        """Folder of the seccomp profiles that Pods may name (``localhostProfile``)."""
        return self.root / "fs/var/lib/kubelet/seccomp"

    def write(self) -> Path:
        """Write the layout down for the process inside; returns the file."""
        file = self.root / "layout.json"
        values = {"slot": self.slot, "root": str(self.root), "tools": str(self.tools)}
        file.write_text(json.dumps({**values, "cni": str(self.cni), "runc": str(self.runc)}), encoding="utf-8")
        return file

    @classmethod
    def read(cls, file: Path) -> Layout:
        """Read what ``write`` wrote."""
        values = json.loads(file.read_text(encoding="utf-8"))
        return cls(slot=values.pop("slot"), **{name: Path(value) for name, value in values.items()})

    def _address(self, third: int, fourth: int) -> str:
        return f"10.{_FIRST_NETWORK + self.slot}.{third}.{fourth}"
