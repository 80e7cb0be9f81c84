"""Whether a client may do something, without doing it: one request, or all requests of a kubectl command.

A command is run in its sandbox against the real gateway, with a stand-in for the API server behind it: what it asks
for is decided as always, and nothing of it reaches the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.authoring.explaining.run import Command, rehearse
from k8s_mcp_server.authoring.needs import needed
from k8s_mcp_server.authoring.resources import ResourceName, Served
from k8s_mcp_server.authoring.rules import Need, rules_for
from k8s_mcp_server.commands.parse import parse_command
from k8s_mcp_server.errors import CommandRefused
from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.explain import what
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.policy.virtual import scope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from k8s_mcp_server.authoring.explaining.run import Explanation
    from k8s_mcp_server.execution.executor import Executor
    from k8s_mcp_server.gateway.authorize import Authorizer
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.serving.admission import Admission
    from k8s_mcp_server.serving.grants import Grants

EVERYWHERE: Final = "*"
_CURABLE: Final = frozenset({Reason.NOT_ALLOWED, Reason.SENSITIVE_NOT_NAMED, Reason.PROTECTED_NAMESPACE})
_MOST_SHOWN: Final = 12
_READ_WHERE_NONE_IS_STATED: Final = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found.

    Args:
        allowed: everything that it asks for is allowed.
        requests: what it asks for, in words, with the answer to each.
        missing: what is said about each denial.
        rules: rules of a policy that would allow what is missing, as YAML; empty when none could.
        next_command: what works now.
    """

    allowed: bool
    requests: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    rules: str = ""
    next_command: str = ""


class AccessChecker:
    """Answers before anything is done.

    Args:
        grants: who the client is.
        authorizer: decides single requests.
        forgiving: decides those of a command, and lets it go on.
        executor: runs commands; None where they cannot be confined.
        admission: a check takes a place like any command.
    """

    def __init__(
        self,
        *,
        grants: Grants,
        authorizer: Authorizer,
        forgiving: Authorizer,
        executor: Callable[[], Executor | None],
        admission: Admission,
    ) -> None:
        self._grants = grants
        self._authorizer = authorizer
        self._forgiving = forgiving
        self._executor = executor
        self._admission = admission
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
        return _finding([(request, decision)])

    async def command(
        self, client: Client, line: str, *, stdin: bytes = b"", files: Mapping[str, bytes] | None = None
    ) -> Finding:
        """Whether everything that a kubectl command asks for is allowed.

        Raises:
            CommandRefused: it would not be run at all.
            NotAdmittedError: there is no place for it now.
            Unavailable: commands cannot be run here.
        """
        files = files or {}
        pipeline = parse_command(line, cli=Tool.KUBECTL, files=files)
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
        return _finding(_asked(explanation))


def _asked(explanation: Explanation) -> Iterable[tuple[RequestInfo, Decision]]:
    seen = set()
    for record in explanation.requests:
        if record.request is None or record.decision.reason is Reason.ALWAYS_ALLOWED:
            continue
        for request in needed(record.request, method=record.method, target=record.target):
            if request not in seen:
                seen.add(request)
                yield request, record.decision


def _finding(asked: Iterable[tuple[RequestInfo, Decision]]) -> Finding:
    asked = tuple(asked)
    denied = [(request, decision) for request, decision in asked if not decision.allowed]
    curable = [request for request, decision in denied if decision.reason in _CURABLE and request.is_resource_request]
    rules = list(rules_for(map(_need, curable)))
    return Finding(
        allowed=not denied,
        requests=tuple(dict.fromkeys(f"{what(request)}: {_answer(decision)}" for request, decision in asked))[
            :_MOST_SHOWN
        ],
        missing=tuple(dict.fromkeys(decision.advice for _, decision in denied))[:_MOST_SHOWN],
        rules=yaml.safe_dump(rules, sort_keys=False, default_flow_style=None, width=116) if rules else "",
        next_command=next((decision.next_command for _, decision in denied if decision.next_command), ""),
    )


def _answer(decision: Decision) -> str:
    if not decision.allowed:
        return f"no ({decision.reason.value})"
    cut = ", cut to what you may see" if decision.cut is not None else ""
    dry = ", as a dry run" if decision.dry_run else ""
    return f"yes{cut}{dry}"


def _need(request: RequestInfo) -> Need:
    resource = ResourceName(group=request.api_group, resource=request.resource, subresource=request.subresource)
    is_namespace = (request.api_group, request.resource) == ("", "namespaces")
    return Need(verb=request.verb, resource=resource, namespace="" if is_namespace else request.namespace)
