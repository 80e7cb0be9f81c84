"""Lets a command reach the chart hosts that it means, with fresh indexes of their repositories."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.errors import CommandDenied, Unavailable
from k8s_mcp_server.execution.pipeline import Pipeline, Stage
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.helm.cache import HelmCache, stale_indexes
from k8s_mcp_server.serving.helm.charts import PULL, Secrets, chart_access, find_sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8s_mcp_server.commands.helm.words import HelmCommand
    from k8s_mcp_server.execution.pipeline import ChartAccess
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.serving.helm.rehearsals import Executor
    from k8s_mcp_server.serving.preparation import CommandContext

_MOST_LOGGED: Final = 500
_log = logging.getLogger(__name__)
_DEBIAN: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_UNPACKED: Final = "--untar was added: a packed chart is no text that could be returned"


def authorities(extra: Path | None) -> bytes:
    """Those who sign the certificates of chart hosts: the system's, and those of a file beside it, in PEM; blocks."""
    named = ssl.get_default_verify_paths().cafile
    system = [path.read_bytes() for path in (Path(named) if named else _DEBIAN, _DEBIAN) if path.is_file()][:1]
    return b"\n".join([*system, *([extra.read_bytes()] if extra else [])])


class ChartHosts:
    """Prepares helm's way to charts.

    Args:
        executor: runs helm.
        authorizer: knows the policies.
        secrets: those of the service's own namespace.
        authorities: PEM of those that sign the hosts' certificates, as it is now.
        cache: of this replica.
        running: the usernames of those whose commands run now.
    """

    def __init__(
        self,
        *,
        executor: Executor,
        authorizer: Authorizer,
        secrets: Secrets,
        authorities: Callable[[], bytes],
        cache: HelmCache,
        running: Callable[[], frozenset[str]],
    ) -> None:
        self._executor = executor
        self._authorizer = authorizer
        self._secrets = secrets
        self._authorities = authorities
        self._cache = cache
        self._running = running

    async def prepare(self, stage: Stage, command: HelmCommand, context: CommandContext) -> Stage:
        """The stage with what it needs of chart hosts; as it is when it needs nothing.

        Raises:
            CommandDenied: the policy names no such repository or host.
            Unavailable: credentials or an index cannot be read.
        """
        session = context.session
        granted = self._authorizer.context(client=session.client, tool=session.tool)
        sources = find_sources(command, files=context.files, context=granted)
        if sources is None:
            return stage
        charts = await chart_access(
            sources,
            secrets=self._secrets,
            authorities=await asyncio.to_thread(self._authorities),
            cache=await asyncio.to_thread(self._cache.folder, session.client, running=self._running()),
        )
        names = tuple(each.name for each in sources.repositories)
        await self._refresh(stale_indexes(charts.cache, names), charts, context)
        written = sources.command
        if command.name == PULL and not command.has("untar"):
            written = written.with_flag("untar")
            session.notes.append(_UNPACKED)
        return replace(stage, argv=(stage.argv[0], *written.words()), charts=charts)

    async def _refresh(self, names: tuple[str, ...], charts: ChartAccess, context: CommandContext) -> None:
        if not names:
            return
        session = context.session
        denied = session.requests_denied
        stage = Stage(argv=(Tool.HELM.value, "repo", "update", *names), charts=charts)
        result = await self._executor.run(Pipeline(stages=(stage,)), access=context.access, limits=context.limits)
        if session.requests_denied > denied:
            raise CommandDenied(
                "NotAllowed",
                f"the index of {', '.join(names)} was not fetched: policy refused a connection",
                hint="check_access shows what you may do and whom to ask",
                denials=tuple(dict.fromkeys(session.denials)),
            )
        if result.exit_code != 0:
            _log.info(
                "helm could not fetch an index: %s",
                (result.stdout + result.stderr).decode(errors="replace")[-_MOST_LOGGED:],
            )
            raise Unavailable(
                f"the index of {', '.join(names)} could not be fetched: the host does not answer, its certificate is "
                "not trusted, it refuses the credentials, or there is no repository"
            )
