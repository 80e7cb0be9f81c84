"""Keeps the node's components running: one that ends is started again, as an init system would."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from devtools.node.components import Component

_PAUSE_SECONDS: Final = 0.5
"""Between the end of a process and its next start."""


class Supervisor:
    """Runs components side by side.

    Args:
        components: in the order of their first start.
        tools: folder of their programs.
        logs: folder that gets a file per component, appended to.
        pids: folder that gets a file per component with its process id.
        environment: the whole environment of each.
    """

    def __init__(
        self,
        components: Sequence[Component],
        *,
        tools: Path,
        logs: Path,
        pids: Path,
        environment: Mapping[str, str],
    ) -> None:
        self._components = components
        self._tools = tools
        self._logs = logs
        self._pids = pids
        self._environment = environment

    def run(self) -> None:
        """Start them all and keep them; does not return."""
        threads = [threading.Thread(target=self._keep, args=(component,)) for component in self._components]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _keep(self, component: Component) -> None:
        while True:
            self._run_once(component)
            time.sleep(_PAUSE_SECONDS)

    def _run_once(self, component: Component) -> None:
        with (self._logs / f"{component.name}.log").open("ab") as log:
            process = subprocess.Popen(
                [self._tools / component.name, *component.arguments()],
                env={**self._environment, **component.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            (self._pids / component.name).write_text(str(process.pid), encoding="ascii")
            code = process.wait()
            log.write(f"--- {component.name} ended with {code}; it is started again\n".encode())
