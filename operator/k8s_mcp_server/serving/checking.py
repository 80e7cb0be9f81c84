"""Whether a client may do something, without doing it: one request, or all that a command needs.

A kubectl command is run in its sandbox against the real gateway, with a stand-in for the API server behind it: what it
asks for is decided as always, and nothing of it reaches the cluster. What the other CLIs need is told from their words.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.authoring.explaining.run import Command, rehearse
from k8s_mcp_server.authoring.explaining.virtual import decided, needs_of, tool_of
from k8s_mcp_server.authoring.needs import needed
from k8s_mcp_server.authoring.resources import Served
from k8s_mcp_server.commands.istioctl.parts import Surroundings
from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.commands.reading import check_input
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.policy.virtual import scope_of
from k8s_mcp_server.serving.finding import Finding, find

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from k8s_mcp_server.authoring.explaining.run import Explanation
    from k8s_mcp_server.execution.executor import Executor
    from k8s_mcp_server.execution.pipeline import Pipeline
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.serving.admission import Admission
    from k8s_mcp_server.serving.grants import Grants

EVERYWHERE: Final = "*"
_READ_WHERE_NONE_IS_STATED: Final = "default"


class AccessChecker:
    """Answers before anything is done.

    Args:
        grants: who the client is.
        authorizer: decides single requests.
        forgiving: decides those of a command, and lets it go on.
        executor: runs commands; None where they cannot be confined.
        admission: a check takes a place like any command.
        clis: those of this installation.
    """

    def __init__(
        self,
        *,
        grants: Grants,
        authorizer: Authorizer,
        forgiving: Authorizer,
        executor: Callable[[], Executor | None],
        admission: Admission,
        clis: Collection[Tool],
    ) -> None:
        self._grants = grants
        self._authorizer = authorizer
        self._forgiving = forgiving
        self._executor = executor
        self._admission = admission
        self._clis = clis
        self.served = Served.built_in()

    async def request(
        self, client: Client, *, tool: Tool, verb: str, resource: str, namespace: str, name: str
    ) -> Finding:
        """Whether one request is allowed.

        Args:
            resource: as kubectl understands it, such as ``deploy``, ``pods/log`` or ``widgets.example.com``.
            namespace: empty means that of the client's commands, ``*`` all.

        Raises:
            CommandRefused: there is no such resource.
        """
        try:
            found = self.served.find(resource)
        except UnusableInput as error:
            raise CommandRefused("UnknownResource", str(error)) from error
        context = self._grants.context(client, tool=tool)
        scope = scope_of(context.catalog, group=found.group, resource=found.resource)
        if scope is Scope.CLUSTER or namespace == EVERYWHERE:
            namespace = ""
        else:
            default = self._grants.standing(client, tool=tool).default_namespace or _READ_WHERE_NONE_IS_STATED
            namespace = namespace or default
        request = found.request(verb, namespace=namespace, name=name)
        decision = await self._authorizer.authorize([request], client=client, tool=tool)
        return find([(request, decision)])

    async def command(
        self,
        client: Client,
        line: str,
        *,
        tool: Tool | None = None,
        stdin: bytes = b"",
        files: Mapping[str, bytes] | None = None,
    ) -> Finding:
        """Whether everything that a command asks for is allowed.

        Args:
            tool: the CLI of a line that does not begin with one; kubectl where it is not stated.

        Raises:
            CommandRefused: it would not be run at all.
            NotAdmittedError: there is no place for it now.
            Unavailable: commands cannot be run here.
        """
        files = files or {}
        tool = tool_of(line, default=tool or Tool.KUBECTL)
        if tool not in self._clis:
            raise CommandRefused(
                "ProgramMissing",
                f"{tool} is no part of this installation.",
                instead=f"There are: {', '.join(self._clis)}.",
            )
        pipeline = parse_command(line, cli=tool, files=files)
        check_input(pipeline, stdin=stdin)
        if tool is not Tool.KUBECTL:
            return await self._by_words(client, pipeline, tool=tool, files=files)
        executor = self._executor()
        if executor is None:
            raise CommandRefused("SandboxUnavailable", "commands cannot be confined on this node")
        standing = self._grants.standing(client, tool=Tool.KUBECTL)
        clis = sum(stage.program == Tool.KUBECTL for stage in pipeline.stages)
        command = Command(line=line, namespace=standing.default_namespace, stdin=stdin, files=files)
        async with self._admission.place(client, limits=standing.limits, processes=clis):
            explanation = await rehearse(
                pipeline,
                command=command,
                client=client,
                authorizer=self._forgiving,
                served=self.served,
                example_namespace=standing.default_namespace or _READ_WHERE_NONE_IS_STATED,
                executor=executor,
            )
        return find(_asked(explanation))

    async def _by_words(self, client: Client, pipeline: Pipeline, *, tool: Tool, files: Mapping[str, bytes]) -> Finding:
        standing = self._grants.standing(client, tool=tool)
        if standing.denial is not None:
            return Finding(allowed=False, missing=(f"{standing.denial.reason}: {standing.denial.message}",))
        context = self._grants.context(client, tool=tool)
        around = Surroundings(
            namespace=standing.default_namespace or _READ_WHERE_NONE_IS_STATED,
            istio_namespace=context.environment.istio_namespace,
        )
        needs = needs_of(pipeline, context=context, around=around, files=files)
        return replace(
            find(await decided(needs, authorizer=self._authorizer, client=client, tool=tool)), notes=needs.notes
        )


def _asked(explanation: Explanation) -> Iterable[tuple[RequestInfo, Decision]]:
    seen = set()
    for record in explanation.requests:
        if record.request is None or record.decision.reason is Reason.ALWAYS_ALLOWED:
            continue
        for request in needed(record.request, method=record.method, target=record.target):
            if request not in seen:
                seen.add(request)
                yield request, record.decision
