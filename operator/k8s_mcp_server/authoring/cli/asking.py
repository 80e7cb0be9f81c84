"""`policy explain` and `policy who-can`: what would happen, and who could make it happen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k8s_mcp_server.authoring.cli.options import (
    ClusterFiles,
    Files,
    NamespaceOption,
    Output,
    exit_2_when_unusable,
    now,
)
from k8s_mcp_server.authoring.clients import client_named, client_text, subject_text
from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.authoring.inputs import read_inputs
from k8s_mcp_server.authoring.needs import needed
from k8s_mcp_server.authoring.output import Format, bad, counted, emit, good, table
from k8s_mcp_server.authoring.testing import WORDS
from k8s_mcp_server.authoring.unknown import unknown
from k8s_mcp_server.authoring.who_can import who_can
from k8s_mcp_server.authoring.world import World, build_world
from k8s_mcp_server.policy.catalog import Scope
from k8s_mcp_server.policy.decision import Reason
from k8s_mcp_server.policy.explain import what
from k8s_mcp_server.policy.request import RequestInfo

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.explaining.run import Explanation
    from k8s_mcp_server.authoring.inputs import Inputs
    from k8s_mcp_server.telemetry.audit import RequestRecord


def who_can_command(
    verb: Annotated[str, typer.Argument(help="A verb of RBAC, such as delete.")],
    resource: Annotated[str, typer.Argument(help="Such as pods, deploy, pods/exec, widgets.example.com or /metrics.")],
    files: Files,
    *,
    namespace: NamespaceOption = "",
    name: Annotated[str, typer.Option("--name", help="One object's name.")] = "",
    everyone: Annotated[bool, typer.Option("--all", help="Show who may not, too, and why.")] = False,
    cluster_state: ClusterFiles = None,
    output: Output = Format.TEXT,
) -> None:
    """Show which subjects of the policies may do one thing.

    Each subject is asked for alone: a client that several of them name has the rights of all, and the denies of all.
    """
    with exit_2_when_unusable():
        inputs = read_inputs(files, cluster=cluster_state or ())
        world = build_world(inputs, namespace=namespace, now=now())
        request = RequestInfo(is_resource_request=False, path=resource, verb=verb)
        if not resource.startswith("/"):
            found = world.served.find(resource)
            is_cluster = world.served.scope(found) is Scope.CLUSTER
            request = found.request(verb, namespace="" if is_cluster else namespace, name=name)
        answers = [item for item in who_can(request, world=world) if everyone or item.verdict != "deny"]
    values = [item.as_dict() for item in answers]
    rows = [["SUBJECT", "VERDICT", "POLICY", "RULE", "REASON"]]
    for answer, value in zip(answers, values, strict=True):
        rows.append([subject_text(answer.subject), *(value[key] for key in ("verdict", "policy", "rule", "reason"))])
    text = table(rows) if answers else "nobody"
    notes = (*_assumed_namespaces(world, [request]), *_unknown(inputs))
    emit(values, form=output, text=text, notes=notes)


def explain_command(
    command: Annotated[str, typer.Argument(help='The command line, such as "kubectl get pods".', show_default=False)],
    files: Files,
    *,
    user: Annotated[
        str, typer.Option("--as", help="The client's username, or serviceaccount:NAMESPACE/NAME.", show_default=False)
    ] = "",
    groups: Annotated[list[str] | None, typer.Option("--as-group", help="One of its groups; may be repeated.")] = None,
    namespace: NamespaceOption = "",
    input_file: Annotated[
        Path | None, typer.Option("--input", exists=True, dir_okay=False, help="What the command reads with -f -.")
    ] = None,
    absent: Annotated[
        bool, typer.Option("--absent", help="The objects are not there yet, as for a first apply.")
    ] = False,
    past_denials: Annotated[
        bool, typer.Option("--past-denials", help="Go on after a denial, to see all that the command needs.")
    ] = False,
    tools_dir: Annotated[
        Path | None, typer.Option("--tools-dir", help="Where kubectl is; by default the first on PATH.")
    ] = None,
    cluster_state: ClusterFiles = None,
    output: Output = Format.TEXT,
) -> None:
    """Show which requests a command makes and how each is decided. Exit code 1: something is denied.

    Of helm, istioctl and argocd the rights are shown that the command line needs, and what else only a run can tell.
    The real kubectl runs in the service's sandbox, through the service's gateway. Behind it stands an API server that
    makes its answers up: every object that is asked for exists (see --absent), and each list has one. What it answers
    is not shown; with real objects a command may go on to other requests.
    """
    from k8s_mcp_server.authoring.explaining.run import Command, explain  # noqa: PLC0415 - takes long to import

    with exit_2_when_unusable():
        if not user and not groups:
            raise UnusableInput("state --as, --as-group or both")
        client = client_named(user, groups=groups or ())
        inputs = read_inputs(files, cluster=cluster_state or ())
        world = build_world(inputs, namespace=namespace or "default", now=now())
        stdin = input_file.read_bytes() if input_file else b""
        asked = Command(line=command, namespace=namespace, stdin=stdin, absent=absent, past_denials=past_denials)
        explanation = asyncio.run(explain(asked, client=client, world=world, tools_dir=tools_dir))
    asked_for = [item.request for item in explanation.requests if item.request]
    emit(
        _as_dict(explanation),
        form=output,
        text=f"{client_text(client)}: {command}\n{_text(explanation)}",
        notes=(f"  {note}" for note in (*_assumed_namespaces(world, asked_for), *_unknown(inputs))),
    )
    raise typer.Exit(1 if explanation.denied else 0)


def _as_dict(explanation: Explanation) -> dict[str, object]:
    from k8s_mcp_server.authoring.explaining.run import as_dict  # noqa: PLC0415 - as above

    refused, result = explanation.refused, explanation.result
    return {
        "refused": {"reason": refused.reason, "message": refused.message, "instead": refused.instead}
        if refused
        else None,
        "requests": [as_dict(item) for item in explanation.requests],
        "notes": list(explanation.notes),
        "exitCode": result.exit_code if result else None,
        "timedOut": bool(result and result.timed_out),
    }


def _text(explanation: Explanation) -> str:
    if explanation.refused is not None:
        refused = explanation.refused
        return bad(f"not run: {refused.message} {refused.instead} [{refused.reason}]")
    told = [item for item in explanation.requests if item.decision.reason is not Reason.ALWAYS_ALLOWED]
    lines = [f"  {_request_text(item)}{_times(count)}" for item, count in _counted(told)]
    open_to_all = len(explanation.requests) - len(told)
    if open_to_all:
        lines.append(f"  and {counted(open_to_all, 'request')} for discovery, open to every client with a policy")
    lines += dict.fromkeys(f"  {item.decision.message}" for item in told if not item.decision.allowed)
    lines += _ending(explanation)
    return "\n".join(lines)


def _request_text(record: RequestRecord) -> str:
    decision = record.decision
    verdict = WORDS[decision.verdict].ljust(len("filtered"))
    asked = what(record.request) if record.request else f"{record.method} {record.target}"
    if record.request is not None:
        more = needed(record.request, method=record.method, target=record.target)
        others = [item.verb for item in more if item.verb != record.request.verb]
        asked += f" (and needs {', '.join(others)})" if others else ""
    because = f"{decision.matched.policy}/{decision.matched.rule}" if decision.matched else decision.reason.value
    return f"{(good if decision.allowed else bad)(verdict)}  {asked}  ({because})"


def _counted(records: list[RequestRecord]) -> list[tuple[RequestRecord, int]]:
    """The same request again, as while waiting, is told once."""
    found: list[tuple[RequestRecord, int]] = []
    for record in records:
        if found and (found[-1][0].request, found[-1][0].decision.reason) == (record.request, record.decision.reason):
            found[-1] = (record, found[-1][1] + 1)
        else:
            found.append((record, 1))
    return found


def _times(count: int) -> str:
    return f"  {count} times" if count > 1 else ""


def _ending(explanation: Explanation) -> list[str]:
    result = explanation.result
    if result is None:
        asks_nothing = [] if explanation.requests else ["  The command needs no right of its own."]
        return [*asks_nothing, *(f"  {note}" for note in explanation.notes)]
    if result.timed_out:
        return ["  The command was still waiting and was ended."]
    if result.exit_code and not explanation.denied:
        said = result.stderr.decode(errors="replace").strip().splitlines()
        ended = f"  The command ended with code {result.exit_code}; what it was answered is made up."
        return [ended, *(f"    {line}" for line in said)]
    return [] if explanation.requests else ["  The command makes no request."]


def _assumed_namespaces(world: World, requests: list[RequestInfo]) -> list[str]:
    names = sorted({item.namespace for item in requests} & world.assumed_namespaces)
    return [f"Assumed: namespace {name} exists and has no labels (add its Namespace to the files)." for name in names]


def _unknown(inputs: Inputs) -> tuple[str, ...]:
    return unknown(inputs.compiled(now=now()), cluster=inputs.cluster, namespaces=inputs.namespaces)
