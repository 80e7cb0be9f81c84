"""What a policy amounts to beyond its words: rights that bring other rights with them.

Legal, and often wanted. Each says in one sentence what whoever holds the right can reach by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.authoring.rights import Right, is_reading, rights
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.roles import rules_by_role
from k8s_mcp_server.policy.scopes import NamespaceLabels, NamespaceNames, Reach, TeamNamespaces, reach
from k8s_mcp_server.policy.snapshot import Namespace
from k8s_mcp_server.policy.subjects import SubjectKind

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.documents import FieldPath
    from k8s_mcp_server.authoring.inputs import Inputs
    from k8s_mcp_server.authoring.resources import Served
    from k8s_mcp_server.policy.compile import CompiledPolicy
    from k8s_mcp_server.policy.rules import Rule

_RBAC: Final = "rbac.authorization.k8s.io"
_CONTROL: Final = frozenset({"apiextensions.k8s.io", "admissionregistration.k8s.io", "apiregistration.k8s.io"})
_DEPUTIES: Final = {
    "argoproj.io": "Argo CD",
    "toolkit.fluxcd.io": "Flux",
    "crossplane.io": "Crossplane",
    "upbound.io": "Crossplane",
    "external-secrets.io": "External Secrets",
    "tekton.dev": "Tekton",
}
_MOST_NAMED: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """One thing that a policy amounts to.

    Args:
        reason: a stable word.
        path: the field below ``spec``.
    """

    reason: str
    path: FieldPath
    message: str


def risks(
    policy: CompiledPolicy,
    *,
    everyone: Iterable[CompiledPolicy],
    served: Served,
    inputs: Inputs,
) -> Iterator[Risk]:
    """What a policy's rules amount to, and who could become one of its clients.

    Args:
        everyone: all policies, this one among them.
        served: the known resources.
        inputs: namespaces that they do not describe are taken to exist without labels, and their roles are followed.
    """
    for index, rule in enumerate(policy.rules):
        path = ("rules", index)
        given = tuple(_rights(rule, served=served, inputs=inputs))
        yield from _of_workloads(rule, given, path)
        yield from _of_groups(given, path)
        yield from _of_sensitive(given, path)
        yield from _of_wildcards(rule, path)
    yield from _of_subjects(policy, everyone=tuple(everyone), served=served, inputs=inputs)


def _rights(rule: Rule, *, served: Served, inputs: Inputs) -> Iterator[Right]:
    """What a rule gives, by its role if it follows one."""
    parts = rules_by_role(rule, inputs.cluster.roles) or ()
    return iter(dict.fromkeys(right for part in parts for right in rights(part, served=served)))


def _of_workloads(rule: Rule, given: tuple[Right, ...], path: FieldPath) -> Iterator[Risk]:
    if any(right.is_workload_write for right in given):
        message = "writing workloads equals reading every Secret and using every ServiceAccount of the namespace"
        yield Risk(reason="WorkloadWrites", path=path, message=message)
        if rule.allow_privileged_workloads:
            message = "where Pod Security does not enforce, whoever writes a Pod freely can mount the node's disk"
            yield Risk(reason="PrivilegedWorkloads", path=(*path, "allowPrivilegedWorkloads"), message=message)


def _of_groups(given: tuple[Right, ...], path: FieldPath) -> Iterator[Risk]:
    written = {right.resource.group for right in given if right.is_write}
    if _RBAC in written:
        message = "writing RBAC equals having every right that the pod may hand out, for good"
        yield Risk(reason="RBACWrites", path=path, message=message)
    for group in sorted(written & _CONTROL):
        message = f"whoever writes {group} changes how the API server answers everybody"
        yield Risk(reason="ControlsTheCluster", path=path, message=message)
    for group in sorted(written):
        for suffix, controller in _DEPUTIES.items():
            if group == suffix or group.endswith(f".{suffix}"):
                message = f"whoever writes objects of {group} acts with the rights of {controller}"
                yield Risk(reason="Deputy", path=path, message=message)


def _of_sensitive(given: tuple[Right, ...], path: FieldPath) -> Iterator[Risk]:
    named = [str(right) for right in given if right.is_sensitive and right.resource.group != _RBAC]
    if named:
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        yield Risk(reason="Sensitive", path=path, message=f"gives {', '.join(named[:_MOST_NAMED])}{more}")


def _of_wildcards(rule: Rule, path: FieldPath) -> Iterator[Risk]:
    if rule.is_derived or is_reading(rule):
        return
    for field, values in (("verbs", rule.verbs), ("resources", rule.resources)):
        if "*" in values:
            message = f'"*" also gives what will be added to the API later: name the {field}'
            yield Risk(reason="Wildcard", path=(*path, field), message=message)
    if isinstance(rule.scope, NamespaceNames) and rule.scope.names.everything:
        message = "writes in every namespace, also in those to come: name them, or select them by label"
        yield Risk(reason="Wildcard", path=(*path, "namespaces"), message=message)


def _of_subjects(
    policy: CompiledPolicy,
    *,
    everyone: tuple[CompiledPolicy, ...],
    served: Served,
    inputs: Inputs,
) -> Iterator[Risk]:
    for index, subject in enumerate(policy.subjects):
        if subject.kind is not SubjectKind.SERVICE_ACCOUNT:
            continue
        for other in everyone:
            rule = next((item for item in other.rules if _can_become(item, subject.namespace, served, inputs)), None)
            if rule is not None:
                who = "this policy's own clients" if other is policy else f"the clients of policy {other.name}"
                message = (
                    f"{who} may write workloads in {subject.namespace} (rule {rule.name}) and so become this client: "
                    "keep agents' ServiceAccounts in a namespace of their own"
                )
                yield Risk(reason="SubjectForgeable", path=("subjects", index), message=message)


def _can_become(rule: Rule, namespace: str, served: Served, inputs: Inputs) -> bool:
    """Whether a rule can make a pod run as, or a token for, a ServiceAccount of the namespace.

    Who can by a rule that goes by the cluster's own RBAC can without it.
    """
    scope = rule.scope.of_anybody() if isinstance(rule.scope, TeamNamespaces) else rule.scope
    if rule.from_rbac or not isinstance(scope, NamespaceNames | NamespaceLabels):
        return False
    known = {namespace: Namespace(name=namespace, labels={}), **inputs.namespaces}
    if reach(scope, namespace, known=known, environment=Environment()) is not Reach.INSIDE:
        return False
    given = _rights(rule, served=served, inputs=inputs)
    return any(right.is_workload_write or _mints_tokens(right) for right in given)


def _mints_tokens(right: Right) -> bool:
    return (right.resource.resource, right.resource.subresource) == ("serviceaccounts", "token")
