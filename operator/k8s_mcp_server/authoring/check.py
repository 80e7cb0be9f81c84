"""`policy check`: what is wrong with policies, and what their authors should know about them.

An error means that the API server or this service would refuse the policy, or that a name in it is surely mistaken.
A warning means that it may be what is wanted, and is worth a second look.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from k8s_mcp_server.authoring.inputs import KIND, Inputs, compile_document
from k8s_mcp_server.authoring.lint import lint_rule
from k8s_mcp_server.authoring.risks import risks
from k8s_mcp_server.authoring.schema import Problem, check_value, path_text, policy_schema
from k8s_mcp_server.policy.compile import API_VERSION, CompiledPolicy, InvalidPolicy
from k8s_mcp_server.policy.model import SpecModel

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.documents import Document, FieldPath
    from k8s_mcp_server.authoring.resources import Served

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME: Final = 253


class Severity(StrEnum):
    """Whether a check failed."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found.

    Args:
        reason: a stable word for machines.
        source: the file; ``line`` in it, from 1.
        policy: the policy's name, empty when it has none.
        path: the field, such as ``spec.rules[0].verbs``; empty for the whole object.
    """

    severity: Severity
    reason: str
    source: str
    line: int
    policy: str
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{self.source}:{self.line}: {self.severity}: {where}{self.message} [{self.reason}]"


def check(inputs: Inputs, *, now: datetime) -> list[Finding]:
    """Everything found in the policies, in the order of the files.

    Raises:
        UnusableInput: a CRD cannot be read.
    """
    served = inputs.served()
    checks = [_PolicyCheck(item, served=served, now=now) for item in inputs.policies]
    for each in checks:
        each.check_schema()
    valid = tuple(each.compiled for each in checks if each.compiled is not None)
    names: dict[str, Document] = {}
    for each in checks:
        name = each.document.name
        if name and (first := names.setdefault(name, each.document)) is not each.document:
            each.add(Severity.ERROR, "NameTaken", ("metadata", "name"), f"{first.source}:{first.line()} has this name")
        if each.compiled is not None:
            each.check_rules(each.compiled, everyone=valid, inputs=inputs)
    return [finding for each in checks for finding in each.findings]


class _PolicyCheck:
    """One policy being checked."""

    def __init__(self, document: Document, *, served: Served, now: datetime) -> None:
        self.document = document
        self.findings: list[Finding] = []
        self.compiled: CompiledPolicy | None = None
        self._served = served
        self._now = now

    def add(self, severity: Severity, reason: str, path: FieldPath, message: str) -> None:
        """Note a finding."""
        self.findings.append(
            Finding(
                severity=severity,
                reason=reason,
                source=self.document.source,
                line=self.document.line(path),
                policy=self.document.name,
                path=path_text(path),
                message=message,
            )
        )

    def check_schema(self) -> None:
        """Compare with the CRD, then with the model, which knows the rules that the CRD has as CEL."""
        body = self.document.body
        problems = [*_check_envelope(body), *check_value(body, policy_schema())]
        if not problems:
            problems = list(_check_model(body))
        for problem in problems:
            self.add(Severity.ERROR, "Schema", problem.path, problem.message)
        policy = compile_document(self.document, now=self._now)
        if isinstance(policy, CompiledPolicy):
            self.compiled = policy if not problems else None
        elif not problems:
            self._add_errors(policy)

    def check_rules(self, policy: CompiledPolicy, *, everyone: tuple[CompiledPolicy, ...], inputs: Inputs) -> None:
        """What the rules name, and what they amount to."""
        for field, rules in (("rules", policy.rules), ("deny", policy.denies)):
            for index, rule in enumerate(rules):
                for mistake in lint_rule(rule, served=self._served, inputs=inputs):
                    severity = Severity.ERROR if mistake.is_certain else Severity.WARNING
                    path = ("spec", field, index, *mistake.path)
                    self.add(severity, mistake.reason, path, mistake.message)
        for risk in risks(policy, everyone=everyone, served=self._served, inputs=inputs):
            self.add(Severity.WARNING, risk.reason, ("spec", *risk.path), risk.message)

    def _add_errors(self, policy: InvalidPolicy) -> None:
        for message in policy.errors:
            self.add(Severity.ERROR, "Schema", (), message)


def _check_envelope(body: Mapping[str, Any]) -> Iterator[Problem]:
    """What the API server asks of every object."""
    if body.get("apiVersion") != API_VERSION:
        yield Problem(path=("apiVersion",), message=f"must be {API_VERSION}")
    if body.get("kind") != KIND:
        yield Problem(path=("kind",), message=f"must be {KIND}")
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        yield Problem(path=("metadata",), message="metadata.name is missing")
    elif not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        message = f'"{name}" is no name for an object: lower-case letters, digits, - and ., at most {_LONGEST_NAME}'
        yield Problem(path=("metadata", "name"), message=message)


def _check_model(body: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        SpecModel.model_validate(body.get("spec"))
    except ValidationError as error:
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            yield Problem(path=("spec", *item["loc"]), message=item["msg"].removeprefix("Value error, "))
