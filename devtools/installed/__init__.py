"""The service as its applied Deployment states it, run as a local process: for demo, tests and benchmark."""

from devtools.installed.deployment import DIFFERENCES, Deployment, Difference
from devtools.installed.service import InstalledService, install, install_crd, uninstall

__all__ = ["DIFFERENCES", "Deployment", "Difference", "InstalledService", "install", "install_crd", "uninstall"]
