"""What istioctl needs before a command starts: its plan, the rights that it needs as a whole, and its words anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.commands.istioctl.check import planned
from k8s_mcp_server.commands.istioctl.parts import Surroundings
from k8s_mcp_server.commands.istioctl.plans import forwards_ports
from k8s_mcp_server.errors import CommandDenied
from k8s_mcp_server.gateway.plan import CommandPlan
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.outcome import MORE_ABOUT_DENIALS

if TYPE_CHECKING:
    from k8s_mcp_server.execution.pipeline import Pipeline
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.gateway.session import CommandSession
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.serving.preparation import CommandContext

_DEFAULT_NAMESPACE: Final = "default"


class IstioctlPreparation:
    """Gives each command its plan.

    Args:
        authorizer: decides about the rights that a command needs.
        istio_namespace: where istiod is.
    """

    def __init__(self, *, authorizer: Authorizer, istio_namespace: str) -> None:
        self._authorizer = authorizer
        self._istio_namespace = istio_namespace

    async def prepare(self, pipeline: Pipeline, context: CommandContext) -> Pipeline:
        """Decide about all rights of all stages, put the plan into the session, and write the words anew.

        Raises:
            CommandDenied: a right is missing; the message names all that are.
            CommandRefused: a stage is not offered.
        """
        around = Surroundings(
            namespace=context.access.namespace or _DEFAULT_NAMESPACE, istio_namespace=self._istio_namespace
        )
        plan, stages = CommandPlan(), []
        for stage in pipeline.stages:
            if stage.program != Tool.ISTIOCTL:
                stages.append(stage)
                continue
            words, own = planned(stage.argv[1:], around, files=context.files)
            plan = plan.and_(own)
            stages.append(replace(stage, argv=(stage.program, *words), forwards_ports=forwards_ports(own)))
        await self._check_rights(plan, context.session)
        context.session.plan = plan
        return replace(pipeline, stages=tuple(stages))

    async def _check_rights(self, plan: CommandPlan, session: CommandSession) -> None:
        denials: list[Decision] = []
        for right in dict.fromkeys(plan.rights):
            decision = await self._authorizer.authorize((right,), client=session.client, tool=session.tool)
            if not decision.allowed:
                denials.append(decision)
        if not denials:
            return
        raise CommandDenied(
            denials[0].reason.value,
            "policy refused a right that the command needs",
            hint=MORE_ABOUT_DENIALS,
            denials=tuple(dict.fromkeys(denial.advice for denial in denials)),
            next_command=next((denial.next_command for denial in denials if denial.next_command), ""),
        )
