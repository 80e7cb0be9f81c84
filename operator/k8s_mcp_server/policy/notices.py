"""What a policy gives beyond what it seems to: for its author, in the policy's status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.forging import writes_workloads
from k8s_mcp_server.policy.sensitive import READING_VERBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from k8s_mcp_server.policy.compile import CompiledPolicy
    from k8s_mcp_server.policy.forging import Forgers
    from k8s_mcp_server.policy.rules import Rule

_RBAC: Final = "rbac.authorization.k8s.io"
# Groups whose objects a controller acts on with its own rights, which are usually an administrator's.
_DEPUTIES: Final = (
    "argoproj.io", "source.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io",
    "apiextensions.crossplane.io", "pkg.crossplane.io", "external-secrets.io", "generators.external-secrets.io",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to know. ``reason`` is a stable word; ``message`` is for people."""

    reason: str
    message: str


def notices(rules: Iterable[Rule]) -> tuple[Notice, ...]:
    """What the rules give that is more than it seems, each thing once for each rule, in the rules' order."""
    found = (notice for rule in rules for notice in _of_rule(rule))
    return tuple(dict.fromkeys(found))


def notices_on_subjects(policy: CompiledPolicy, forgers: Forgers) -> Iterator[Notice]:
    """Which of the policy's clients somebody else can become."""
    for subject in policy.subjects:
        found = forgers.beside(subject, of=policy.name)
        if found is not None:
            namespace, forger = found
            who = "its own clients" if forger.policy == policy.name else f"the clients of policy {forger.policy}"
            yield Notice(
                reason="SubjectForgeable",
                message=f"{who} may run workloads in {namespace} (rule {forger.rule}) and so become {subject}: keep "
                "agents' ServiceAccounts in a namespace of their own",
            )


def _of_rule(rule: Rule) -> Iterator[Notice]:
    if writes_workloads(rule):
        yield Notice(
            reason="WorkloadWrites",
            message=f"{rule.name} writes workloads: as much as every Secret and ServiceAccount of the namespaces",
        )
        if rule.allow_privileged_workloads:
            yield Notice(
                reason="PrivilegedWorkloads",
                message=f"{rule.name} allows privileged workloads: as much as root on the nodes",
            )
    if not rule.is_derived and _RBAC in rule.groups and _writes(rule):
        yield Notice(reason="RBACWrites", message=f"{rule.name} writes RBAC: as much as every right of the service")
    deputies = [group for group in _DEPUTIES if _writes_group(rule, group)]
    if deputies:
        yield Notice(
            reason="Deputies",
            message=f"{rule.name} writes {', '.join(deputies)}: as much as the rights of those controllers",
        )


def _writes(rule: Rule) -> bool:
    return not READING_VERBS.issuperset(rule.verbs)


def _writes_group(rule: Rule, group: str) -> bool:
    """Writing ``argoproj.io`` is sensitive: only a rule that names it gives it."""
    if not _writes(rule) or (rule.is_derived and group == "argoproj.io"):
        return False
    return group in rule.groups or "*" in rule.groups
