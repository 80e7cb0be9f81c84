"""What argocd needs before a command starts: the instance of Argo CD that it means."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from k8s_mcp_server.commands.argocd.check import CONTEXT, chosen_instance, without_instance
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8s_mcp_server.execution.pipeline import Pipeline, Stage
    from k8s_mcp_server.serving.preparation import CommandContext


class ArgoCDPreparation:
    """Finds the instance.

    Args:
        instances: the names of those that the settings have; the first is meant where a command names none.
    """

    def __init__(self, instances: Sequence[str]) -> None:
        self._instances = tuple(instances)

    async def prepare(self, pipeline: Pipeline, context: CommandContext) -> Pipeline:
        """Put the instance into the session, and take it out of the words: argocd would look for it in a file.

        Raises:
            CommandRefused: there is none of that name, or the pipeline means several.
        """
        stages = [stage for stage in pipeline.stages if stage.program == Tool.ARGOCD]
        chosen = {chosen_instance(stage.argv[1:]) or self._instances[0] for stage in stages}
        if len(chosen) > 1:
            raise CommandRefused(
                "SeveralInstances", "A pipeline can mean one Argo CD.", instead="Write it as several calls."
            )
        context.session.argocd = next(iter(chosen), "")
        if context.session.argocd not in self._instances:
            raise CommandRefused(
                "UnknownInstance",
                f"There is no Argo CD called {context.session.argocd[:63]!r}.",
                instead=f"Write: --{CONTEXT} {' or '.join(self._instances)}",
            )
        return replace(pipeline, stages=tuple(map(_without_instance, pipeline.stages)))


def _without_instance(stage: Stage) -> Stage:
    if stage.program != Tool.ARGOCD:
        return stage
    return replace(stage, argv=(stage.argv[0], *without_instance(stage.argv[1:])))
