"""How the demo looks: one line for what happens now, one block for each step of the tour."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from devtools.demo.tour import Outcome
    from devtools.installed import InstalledService

_LINES = 8
_MARKS = {"succeeded": ("✔", "green"), "denied": ("✖", "yellow"), "refused": ("✖", "yellow"), "failed": ("✖", "yellow")}


class Story:
    """Prints the demo; plain lines when the output is no terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def title(self, text: str) -> None:
        """A heading."""
        self._console.print(f"\n[bold]{text}[/bold]")

    def say(self, text: str) -> None:
        """One plain line."""
        self._console.print(Text(text), soft_wrap=True)

    def done(self, text: str) -> None:
        """One line for something that holds."""
        self._console.print(f"  [green]✔[/green] {text}", soft_wrap=True)

    @contextmanager
    def doing(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show what happens now; afterwards one line says how long it took. Yields a function for details."""
        began = time.monotonic()
        with self._console.status(text) as status:

            def detail(now: str) -> None:
                status.update(f"{text}: {now}")

            yield detail
        self.done(f"{text} [dim]{time.monotonic() - began:.1f} s[/dim]")

    def outcome(self, outcome: Outcome) -> None:
        """One step of the tour: who, what, the decision, the result."""
        step = outcome.step
        mark, colour = ("✘", "red") if outcome.faults else _MARKS.get(outcome.status, ("✖", "yellow"))
        asked = f"{step.cli} {step.command}" if step.command else "check_access"
        seconds = outcome.details.get("duration_seconds")
        took = f"  {seconds:.2f} s" if isinstance(seconds, int | float) else ""
        self._console.print(f"\n[bold]{step.title}[/bold]")
        self._console.print(Text.assemble((f"  {step.agent.name}", "cyan"), " ▸ ", asked), soft_wrap=True)
        self._console.print(Text.assemble((f"  {mark} {outcome.status}", colour), (took, "dim")))
        lines = outcome.shown.splitlines()
        if len(lines) > _LINES:
            lines = [*lines[:_LINES], f"… {len(lines) - _LINES} more lines"]
        for line in lines:
            self._console.print(Text(f"    {line}", style="dim"), soft_wrap=True)
        for fault in outcome.faults:
            self._console.print(f"    [red]this is wrong: {fault}[/red]")

    def connect(self, service: InstalledService, *, token: str, folder: Path) -> None:
        """How to connect an agent of one's own."""
        self.title("Connect your own agent")
        self.say(f"  URL      {service.url}")
        self.say(f"  Token    {folder / 'clients.json'} has one for each agent; this is the shop-deployer's:")
        self._console.print(Text(token, style="dim"), soft_wrap=True)
        self.say("  Config   for clients that read an mcpServers block:")
        self._console.print(
            Text(
                '    {"mcpServers": {"kubernetes": {"type": "http",\n'
                f'      "url": "{service.url}",\n'
                '      "headers": {"Authorization": "Bearer <token>"}}}}'
            )
        )
        self.say(f"  Admin    KUBECONFIG={folder / 'kubeconfig'} kubectl get mcpap")
        self.say(f"  Metrics  {service.health_url}/metrics")
        self.say(f"  Audit    tail -f {service.audit_log}")
