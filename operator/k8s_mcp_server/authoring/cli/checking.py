"""`policy check`, `policy test` and `policy diff`: is it right, does it do what it should, what would change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from k8s_mcp_server.authoring.check import Finding, Severity, check
from k8s_mcp_server.authoring.cli.options import (
    FILES_HELP,
    ClusterFiles,
    Files,
    Output,
    exit_2_when_unusable,
    now,
)
from k8s_mcp_server.authoring.diff import compare, settings_changes, unknown_gains
from k8s_mcp_server.authoring.documents import Document, read_documents
from k8s_mcp_server.authoring.errors import UnusableInput
from k8s_mcp_server.authoring.inputs import Inputs, read_inputs
from k8s_mcp_server.authoring.output import Format, bad, counted, emit, good, odd
from k8s_mcp_server.authoring.testfile import is_test_file, read_test_file
from k8s_mcp_server.authoring.testing import Outcome, run_test_file
from k8s_mcp_server.policy.compile import InvalidPolicy


def check_command(
    files: Files,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings as well.")] = False,
    cluster_state: ClusterFiles = None,
    output: Output = Format.TEXT,
) -> None:
    """Say what is wrong with policies, and what their rules amount to.

    Errors are what the API server or the service would refuse, and names that are surely mistaken. Warnings are legal
    and worth a second look. Exit code 1: there are errors.
    """
    with exit_2_when_unusable():
        inputs = read_inputs(files, cluster=cluster_state or ())
        findings = check(inputs, now=now())
    errors = [item for item in findings if item.severity is Severity.ERROR]
    warnings = len(findings) - len(errors)
    counts = (
        f"{counted(len(inputs.policies), 'policy')}: {counted(len(errors), 'error')}, {counted(warnings, 'warning')}"
    )
    text = "\n".join((*map(_finding_text, findings), bad(counts) if errors else good(counts)))
    emit([asdict(item) for item in findings], form=output, text=text)
    raise typer.Exit(1 if errors or (strict and findings) else 0)


def run_tests_command(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Test files, or folders with some.")],
    *,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every case.")] = False,
    cluster_state: ClusterFiles = None,
    output: Output = Format.TEXT,
) -> None:
    """Run test files: who may do what, decided by the service's own code. Exit code 1: one failed.

    A test file names policies, the namespaces with their labels, and cases (docs/writing-policies.md has an example).
    """
    with exit_2_when_unusable():
        documents = [item for item in read_documents(files) if is_test_file(item)]
        if not documents:
            raise UnusableInput(f"there is no test file (with cases) in {', '.join(files)}")
        moment = now()
        results = [
            (item, list(run_test_file(read_test_file(item), now=moment, cluster=cluster_state or ())))
            for item in documents
        ]
    outcomes = [(document, outcome) for document, found in results for outcome in found]
    failed = sum(not outcome.passed for _, outcome in outcomes)
    values = [{"file": document.source, **asdict(outcome), "passed": outcome.passed} for document, outcome in outcomes]
    emit(values, form=output, text=_test_report(results, failed=failed, verbose=verbose))
    raise typer.Exit(1 if failed else 0)


def diff_command(
    old: Annotated[str, typer.Argument(metavar="OLD", help=f"What is. {FILES_HELP}", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="NEW", help="What would be.", show_default=False)],
    *,
    fail_on_gain: Annotated[
        bool, typer.Option("--fail-on-gain", help="Exit code 1 when anybody gains a right, or may gain one.")
    ] = False,
    cluster_state: ClusterFiles = None,
    output: Output = Format.TEXT,
) -> None:
    """Say in sentences who gains and who loses which rights when OLD becomes NEW.

    Every right of every subject is decided in both, with stand-ins for the namespaces that globs and selectors match.
    """
    with exit_2_when_unusable():
        before, after = (read_inputs([side], cluster=cluster_state or ()) for side in (old, new))
        changes = compare(before, after, now=now())
        unknown = unknown_gains(before, after, now=now())
        _warn_of_invalid(before, after)
    settings = list(settings_changes(before, after))
    lines = [*(good(str(item)) if item.gained else bad(str(item)) for item in changes), *map(odd, unknown), *settings]
    text = "\n".join(lines) or "nothing changes"
    values = {"rights": [item.as_dict() for item in changes], "unknown": unknown, "settings": settings}
    emit(values, form=output, text=text)
    raise typer.Exit(1 if fail_on_gain and (unknown or any(item.gained for item in changes)) else 0)


def _finding_text(finding: Finding) -> str:
    word = (bad if finding.severity is Severity.ERROR else odd)(finding.severity)
    return str(finding).replace(f" {finding.severity}:", f" {word}:", 1)


def _test_report(results: Sequence[tuple[Document, Sequence[Outcome]]], *, failed: int, verbose: bool) -> str:
    lines: list[str] = []
    for document, outcomes in results:
        marks = "".join(good(".") if item.passed else bad("F") for item in outcomes)
        lines.append(document.source if verbose else f"{document.source} {marks}")
        lines += [_case_text(item) for item in outcomes if verbose]
    failures = [(document, item) for document, outcomes in results for item in outcomes if not item.passed]
    if failures:
        lines.append("")
    for document, item in failures:
        lines.append(f"{bad('FAILED')} {document.source}:{item.line}: {item.question}")
        lines += [f"  {problem}" for problem in item.problems]
        lines.append(f"  {item.message}")
    passed = sum(len(outcomes) for _, outcomes in results) - failed
    lines += ["", bad(f"{failed} failed, {passed} passed") if failed else good(f"{passed} passed")]
    return "\n".join(lines)


def _case_text(item: Outcome) -> str:
    mark = good("passed") if item.passed else bad("FAILED")
    return f"  {mark} {item.question}: {item.verdict} ({item.reason})"


def _warn_of_invalid(*sides: Inputs) -> None:
    for policy in (policy for side in sides for policy in side.compiled(now=now())):
        if isinstance(policy, InvalidPolicy):
            typer.echo(f"warning: policy {policy.name} is invalid and gives nothing: see policy check", err=True)
