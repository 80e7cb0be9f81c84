"""`policy new`, `policy suggest`, `policy rbac` and `grant`: they print what can be applied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any

import typer

from k8s_mcp_server.authoring.audit_lines import AuditedRequest, read_audit_log
from k8s_mcp_server.authoring.check import Severity, check
from k8s_mcp_server.authoring.cli.options import FILES_HELP, ClusterFiles, Files, Output, exit_2_when_unusable, now
from k8s_mcp_server.authoring.clients import SUBJECT_FORMS, client_named, parse_subject
from k8s_mcp_server.authoring.documents import Document, read_documents
from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.authoring.inputs import Inputs, read_inputs, sort_documents
from k8s_mcp_server.authoring.output import Format, emit, table, to_yaml
from k8s_mcp_server.authoring.presets import SHORTCUTS, Preset, grant_policy, new_policy
from k8s_mcp_server.authoring.rbac import server_rbac
from k8s_mcp_server.authoring.suggest import suggest
from k8s_mcp_server.authoring.unknown import unknown
from k8s_mcp_server.authoring.unused import Unused, unused_rules
from k8s_mcp_server.policy.environment import Environment

Namespaces = Annotated[
    list[str] | None,
    typer.Option("--namespace", "-n", help="Where: a name, or a glob such as 'team-a-*'; may be repeated."),
]


def new_command(
    *,
    preset: Annotated[Preset, typer.Option("--preset", help="The kind of agent.", show_default=False)],
    name: Annotated[str, typer.Option("--name", help="The policy's name.", show_default=False)],
    subject: Annotated[
        list[str], typer.Option("--subject", help=f"For whom: {SUBJECT_FORMS}; may be repeated.", show_default=False)
    ],
    namespace: Namespaces = None,
    duration: Annotated[str, typer.Option("--for", help="How long an on-call agent's rights last.")] = "2h",
    output: Output = Format.TEXT,
) -> None:
    """Print a policy to begin with, for one kind of agent. Exit code 1: it would not pass `policy check`."""
    with exit_2_when_unusable():
        subjects = [parse_subject(item) for item in subject]
        body = new_policy(preset, name=name, subjects=subjects, namespaces=namespace or (), duration=duration)
    _print_policy(body, output=output)


def grant_command(
    subject: Annotated[str, typer.Argument(help=f"For whom: {SUBJECT_FORMS}.", show_default=False)],
    rule: Annotated[
        str,
        typer.Argument(
            help=f"'VERBS RESOURCES' such as 'get,delete pods', or {', '.join(SHORTCUTS)}.", show_default=False
        ),
    ],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, such as a ticket; audited.", show_default=False)],
    namespace: Namespaces = None,
    duration: Annotated[str, typer.Option("--for", help="For how long, from when it is applied.")] = "2h",
    crds: Annotated[list[str] | None, typer.Option("--crds", help="CRDs of what RULE names; may be repeated.")] = None,
    output: Output = Format.TEXT,
) -> None:
    """Print a policy that gives somebody something for a while (break-glass). Pipe it into `kubectl apply -f -`.

    k8s-mcp-server grant group:oidc:on-call exec -n shop --for 2h --reason INC-4711 | kubectl apply -f -
    """
    with exit_2_when_unusable():
        body = grant_policy(
            parse_subject(subject),
            rule,
            namespaces=namespace or (),
            duration=duration,
            reason=reason,
            served=sort_documents(read_documents(crds or ())).served(),
            now=now(),
        )
    _print_policy(body, output=output)


def suggest_command(
    audit_log: Annotated[
        str, typer.Argument(metavar="AUDITLOG", help="The service's output, or - for standard input.")
    ],
    *,
    client: Annotated[str, typer.Option("--as", help="Only for this client, by username.", show_default=False)] = "",
    names: Annotated[bool, typer.Option("--names", help="Hold every rule to the names that were asked for.")] = False,
    policies: Annotated[list[str] | None, typer.Option("--policies", "-f", help=FILES_HELP)] = None,
    unused: Annotated[
        int | None, typer.Option("--unused", min=1, metavar="DAYS", help="Show rules of --policies unused for so long.")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Print the least policies that allow what the log's clients asked for, denied requests among it.

    With the setting `audit_requests: All` the log has the allowed requests, too. Sensitive resources are held to the
    names that were asked for. Read what you apply: an agent may have asked for more than it should have.
    """
    with exit_2_when_unusable():
        lines = read_audit_log(audit_log)
        documents = read_inputs(policies) if policies else None
        if client:
            username = client_named(client).username
            lines = [line for line in lines if line.client.username == username]
        if not lines:
            raise UnusableInput(f"{audit_log}: no requests (kind Request){f' of {client}' if client else ''}")
        if unused is not None:
            _print_unused(_unused(lines, documents, days=unused), output=output)
            return
        served = (documents or sort_documents(())).served()
        suggestions = list(suggest(lines, served=served, names=names, now=now()))
    texts = []
    for item in suggestions:
        notes = "".join(f"# {note}\n" for note in item.notes)
        has_rules = bool(item.body["spec"]["rules"])
        texts.append(notes + (to_yaml(item.body) if has_rules else f"# nothing to give to {item.client}\n"))
    values = [{"client": item.client, "policy": item.body, "notes": item.notes} for item in suggestions]
    emit(values, form=output, text="---\n".join(texts).rstrip("\n"))


def rbac_command(
    files: Files,
    *,
    account: Annotated[
        str, typer.Option("--service-account", metavar="NAMESPACE/NAME", help="Whose rights: the pod's ServiceAccount.")
    ] = f"{Environment().own_namespace}/{Environment().own_service_account}",
    across_namespaces: Annotated[
        bool,
        typer.Option("--across-namespaces", help="Let `kubectl get -A` work; its answers are cut to the policies."),
    ] = False,
    cluster_state: ClusterFiles = None,
    output: Output = Format.TEXT,
) -> None:
    """Print the least Roles and bindings that the service's pod needs for what these policies give."""
    with exit_2_when_unusable():
        namespace, _, name = account.partition("/")
        if not namespace or not name:
            raise UnusableInput(f"{account!r} is no ServiceAccount: write NAMESPACE/NAME")
        inputs = read_inputs(files, cluster=cluster_state or ())
        policies = inputs.compiled(now=now())
        found = server_rbac(
            policies,
            inputs=inputs,
            environment=Environment(own_namespace=namespace, own_service_account=name),
            across_namespaces=across_namespaces,
        )
    cluster = replace(inputs.cluster, bindings=())  # the pod needs what rules can give, whoever holds it today
    said = (*found.notes, *unknown(policies, cluster=cluster, namespaces=inputs.namespaces))
    notes = "".join(f"# {note}\n" for note in said)
    if output is not Format.TEXT:
        typer.echo(notes, err=True, nl=False)
    emit(
        {"apiVersion": "v1", "kind": "List", "items": list(found.objects)},
        form=output,
        text=(notes + to_yaml(*found.objects)).rstrip("\n") if found.objects else "# nothing is needed",
    )


def _print_policy(body: dict[str, Any], *, output: Format) -> None:
    """Print a policy, and on standard error what `policy check` says about it; only that, when it is wrong."""
    inputs = Inputs(policies=(Document(source="policy", body=body),), namespaces={})
    findings = check(inputs, now=now())
    is_wrong = any(finding.severity is Severity.ERROR for finding in findings)
    if not is_wrong:
        emit(body, form=output, text=to_yaml(body).rstrip("\n"))
    for finding in findings:
        typer.echo(f"{finding.severity}: {finding.path}: {finding.message} [{finding.reason}]", err=True)
    if is_wrong:
        raise typer.Exit(1)


def _unused(lines: Iterable[AuditedRequest], documents: Inputs | None, *, days: int) -> Unused:
    if documents is None:
        raise UnusableInput("--unused compares the log with policies: state them with --policies")
    return unused_rules(lines, documents.compiled(now=now()), days=days, now=now())


def _print_unused(unused: Unused, *, output: Format) -> None:
    rows = [["POLICY", "RULE", "LAST USED"]]
    values = []
    for item in unused.rules:
        used = item.last_used.isoformat() if item.last_used else None
        rows.append([item.policy, item.rule, used or "never in this log"])
        values.append({"policy": item.policy, "rule": item.rule, "lastUsed": used})
    text = table(rows) if unused.rules else "every rule was used"
    begins = unused.log_begins.isoformat()
    emit({"logBegins": begins, "unused": values}, form=output, text=f"{text}\nThe log begins at {begins}.")
