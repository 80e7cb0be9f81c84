"""Who may take on another client's identity: whoever can run a workload beside a ServiceAccount can act as it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.policy.compile import CompiledPolicy, PolicyState
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.scopes import NamespaceNames, Reach, for_anybody, reach
from k8s_mcp_server.policy.sensitive import (
    READING_VERBS,
    WORKLOAD_VERBS,
    WORKLOADS,
    enforces_pod_security,
    is_sensitive,
)
from k8s_mcp_server.policy.subjects import SubjectKind

if TYPE_CHECKING:
    from datetime import datetime

    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.rules import Rule
    from k8s_mcp_server.policy.scopes import Namespace, NamespaceScope
    from k8s_mcp_server.policy.subjects import Subject

_ACCOUNTS: Final = "system:serviceaccounts"
_ACCOUNT: Final = "system:serviceaccount:"


def _request(verb: str, group: str, resource: str, part: str) -> RequestInfo:
    return RequestInfo(
        is_resource_request=True, path="", verb=verb, api_group=group, resource=resource, subresource=part
    )


_WORKLOAD_WRITES: Final = tuple(_request(verb, *kind) for kind in sorted(WORKLOADS) for verb in sorted(WORKLOAD_VERBS))
# Into a pod that runs already, and straight to its token.
_SHORTCUTS: Final = tuple(
    _request("create", "", *kind) for kind in (("pods", "exec"), ("pods", "attach"), ("serviceaccounts", "token"))
)


def writes_workloads(rule: Rule) -> bool:
    """Whether the rule gives writing pods or pod templates, where Pod Security allows it."""
    return not READING_VERBS.issuperset(rule.verbs) and _gives_any(rule, _WORKLOAD_WRITES)


def takes_identities(rule: Rule) -> bool:
    """Whether the rule gives ways into pods that run, or tokens of ServiceAccounts."""
    return not READING_VERBS.issuperset(rule.verbs) and _gives_any(rule, _SHORTCUTS)


def _gives_any(rule: Rule, requests: Iterable[RequestInfo]) -> bool:
    return any(rule.may_give(each) and (not is_sensitive(each) or _is_named(rule, each)) for each in requests)


def _is_named(rule: Rule, request: RequestInfo) -> bool:
    return not rule.is_derived and rule.names_literally(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forger:
    """A rule by which its policy's clients can become a ServiceAccount of the namespaces that it reaches.

    Args:
        needs_pod_security: it gives that only where Pod Security enforces.
    """

    policy: str
    rule: str
    scope: NamespaceScope
    needs_pod_security: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgers:
    """Every such rule in force, found by namespace. Rules by the client's own rights are none: it has these anyway."""

    namespaces: Mapping[str, Namespace]
    environment: Environment
    by_name: dict[str, list[Forger]] = field(default_factory=dict)
    by_pattern: list[Forger] = field(default_factory=list)

    @classmethod
    def among(
        cls,
        policies: Iterable[CompiledPolicy],
        *,
        namespaces: Mapping[str, Namespace],
        environment: Environment,
        now: datetime,
    ) -> Forgers:
        """Those of policies that were given the rules of their roles."""
        found = cls(namespaces=namespaces, environment=environment)
        for policy in policies:
            if policy.state(now=now) is PolicyState.ACTIVE:
                for forger in _of_policy(policy):
                    found._add(forger)
        return found

    def beside(self, subject: Subject, *, of: str) -> tuple[str, Forger] | None:
        """A namespace of the subject's ServiceAccounts and who can become one; another policy's rule before its own.

        Args:
            of: the name of the policy that names the subject.
        """
        own = None
        for namespace in self._homes(subject):
            for forger in self._in(namespace):
                if forger.policy != of:
                    return namespace, forger
                own = own or (namespace, forger)
        return own

    def _add(self, forger: Forger) -> None:
        scope = forger.scope
        if isinstance(scope, NamespaceNames) and not scope.names.globs:
            for name in scope.names.literals:
                self.by_name.setdefault(name, []).append(forger)
        else:
            self.by_pattern.append(forger)

    def _homes(self, subject: Subject) -> Iterator[str]:
        """The existing namespaces of the ServiceAccounts that the subject may be."""
        if subject.kind is SubjectKind.SERVICE_ACCOUNT:
            yield from {subject.namespace} & self.namespaces.keys()
            return
        prefix = f"{_ACCOUNTS}:" if subject.kind is SubjectKind.GROUP else _ACCOUNT
        wanted = subject.name.removesuffix("*")
        if subject.kind is SubjectKind.GROUP and wanted == _ACCOUNTS:
            yield from self.namespaces
        elif subject.name.startswith("system:"):
            for namespace in self.namespaces:
                if _may_be(prefix + namespace, subject):
                    yield namespace

    def _in(self, namespace: str) -> Iterator[Forger]:
        enforced = enforces_pod_security(self.namespaces[namespace].labels)
        for forger in (*self.by_name.get(namespace, ()), *self.by_pattern):
            inside = reach(forger.scope, namespace, known=self.namespaces, environment=self.environment)
            if inside is Reach.INSIDE and (enforced or not forger.needs_pod_security):
                yield forger


def _may_be(identity: str, subject: Subject) -> bool:
    """Whether the subject matches the group of a namespace's accounts, or the name of any of them."""
    wanted = subject.name.removesuffix("*")
    if subject.kind is SubjectKind.USER:
        identity += ":"
        return wanted.startswith(identity) or (subject.name.endswith("*") and identity.startswith(wanted))
    return identity.startswith(wanted) if subject.name.endswith("*") else identity == wanted


def _of_policy(policy: CompiledPolicy) -> Iterator[Forger]:
    for rule in policy.rules:
        scope = for_anybody(rule.scope)
        if rule.from_rbac or scope is None:
            continue
        takes = takes_identities(rule)
        if takes or writes_workloads(rule):
            yield Forger(
                policy=policy.name,
                rule=rule.name,
                scope=scope,
                needs_pod_security=not (takes or rule.allow_privileged_workloads),
            )
