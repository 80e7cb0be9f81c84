"""What helm needs before a command may change anything: that policy allows all that it would do.

The gateway decides each request again when it comes.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from k8s_mcp_server.commands.helm.rehearsal import changes, reads_stdin, with_release
from k8s_mcp_server.commands.helm.timeouts import bounded, grace
from k8s_mcp_server.commands.helm.words import HelmCommand, read_helm
from k8s_mcp_server.errors import CommandDenied, CommandRefused
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.helm.deciding import Place, check
from k8s_mcp_server.serving.helm.foreseeing import foresee
from k8s_mcp_server.serving.helm.manifests import MOST_BYTES
from k8s_mcp_server.serving.helm.rehearsals import Executor, Rehearsals
from k8s_mcp_server.serving.helm.server import ServerVersion
from k8s_mcp_server.serving.helm.withheld import check_content
from k8s_mcp_server.serving.outcome import MORE_ABOUT_DENIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k8s_mcp_server.execution.pipeline import Pipeline, Stage
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.gateway.session import CommandSession
    from k8s_mcp_server.serving.helm.fetching import ChartHosts
    from k8s_mcp_server.serving.preparation import CommandContext


class HelmPreparation:
    """Decides the whole of an operation before its first write.

    Args:
        executor: runs helm.
        authorizer: decides.
        hosts: the way to charts.
        server: what is known of the API server.
    """

    def __init__(
        self,
        *,
        executor: Executor,
        authorizer: Authorizer,
        hosts: ChartHosts,
        server: Callable[[], ServerVersion] = ServerVersion,
    ) -> None:
        self._executor = executor
        self._authorizer = authorizer
        self._hosts = hosts
        self._server = server

    async def prepare(self, pipeline: Pipeline, context: CommandContext) -> Pipeline:
        """Let each stage reach the charts that it means, and rehearse those that would change something.

        Raises:
            CommandDenied: the policy does not give all that it needs.
            CommandRefused: what it would do cannot be known before it is done.
            Unavailable: a chart host or its credentials cannot be had.
        """
        session = context.session
        rehearsals = Rehearsals(
            executor=self._executor,
            server=self._server(),
            access=context.access,
            limits=replace(context.limits, output_bytes=MOST_BYTES),
            stdin=context.stdin,
            heredoc=pipeline.stdin,
            files=context.files,
        )
        began = time.monotonic()
        stages: list[Stage] = []
        for stage in pipeline.stages:
            if stage.program != Tool.HELM:
                stages.append(stage)
                continue
            reaching = await self._hosts.prepare(stage, read_helm(stage.argv[1:]), context)
            command = read_helm(reaching.argv[1:])
            place = rehearsals.namespace(command)
            await check_content(command, namespace=place, client=session.client, authorizer=self._authorizer)
            if changes(command):
                source = _source(stages) if reads_stdin(command) else ()
                own = replace(rehearsals, charts=reaching.charts)
                reaching = await self._checked(reaching, command, own, session=session, source=source)
            stages.append(reaching)
        left = context.limits.timeout_seconds - (time.monotonic() - began)
        return replace(pipeline, stages=tuple(_bounded(stage, seconds=left, session=session) for stage in stages))

    async def _checked(
        self,
        stage: Stage,
        command: HelmCommand,
        rehearsals: Rehearsals,
        *,
        session: CommandSession,
        source: Sequence[Stage],
    ) -> Stage:
        """The stage as it is to run: with the name that was decided, where helm would make up another one."""
        before = session.requests_denied
        foreseen = await foresee(command, rehearsals, source=source)
        if foreseen.operation is not None:
            place = Place(client=session.client, namespace=rehearsals.namespace(command), release=foreseen.release)
            await check(foreseen.operation, place, authorizer=self._authorizer)
        if not foreseen.is_certain and session.requests_denied > before:
            raise _denied_on_the_way(command, session)
        return replace(stage, argv=(stage.argv[0], *with_release(command, foreseen.release).words()))


def _bounded(stage: Stage, *, seconds: float, session: CommandSession) -> Stage:
    """The stage with a time limit of helm's own, and with time to end in order."""
    if stage.program != Tool.HELM:
        return stage
    command, note = bounded(read_helm(stage.argv[1:]), seconds=seconds)
    session.notes += [note] if note else []
    argv = (stage.argv[0], *command.words())
    return replace(stage, argv=argv, grace_seconds=grace(seconds) if changes(command) else 0.0)


def _source(stages: Sequence[Stage]) -> Sequence[Stage]:
    """The stages that make an operation's input.

    Raises:
        CommandRefused: they would change something, and cannot be run for a rehearsal.
    """
    for stage in stages:
        if stage.program == Tool.HELM and changes(read_helm(stage.argv[1:])):
            raise CommandRefused(
                "SeveralChanges",
                "What this would do depends on the output of a command that changes something itself.",
                instead="Write it as two calls, and pass the values of the second in the stdin argument.",
            )
    return stages


def _denied_on_the_way(command: HelmCommand, session: CommandSession) -> CommandDenied:
    """helm could not even see what it would do, because requests of its look were denied."""
    reasons = {reason.value for reason in session.denial_reasons}
    return CommandDenied(
        reasons.pop() if len(reasons) == 1 else "PolicyDenied",
        f"`helm {command.name}` was not begun, and nothing was changed: policy refused what it begins with",
        hint=MORE_ABOUT_DENIALS,
        denials=tuple(dict.fromkeys(session.denials)),
        next_command=session.next_command,
    )
