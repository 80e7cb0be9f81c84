"""One request being decided: what it depends on, and what the steps of the decision find out about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from k8s_mcp_server.policy.compile import PolicyState
from k8s_mcp_server.policy.decision import Decision, ListCut, Reason, RuleRef, Verdict
from k8s_mcp_server.policy.matching import Question, rule_in_namespace
from k8s_mcp_server.policy.rights import Rights
from k8s_mcp_server.policy.scopes import NamespaceLabels, NamespaceNames

if TYPE_CHECKING:
    from k8s_mcp_server.policy.catalog import Catalog
    from k8s_mcp_server.policy.compile import CompiledPolicy, Policy
    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.rules import Rule
    from k8s_mcp_server.policy.snapshot import ClientPolicies, Snapshot
    from k8s_mcp_server.policy.tools import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionContext:
    """Everything that a decision depends on besides the request.

    Args:
        client: who asks.
        tool: the CLI whose command asks; policies give only to the tools that they list.
        snapshot: policies and namespaces.
        catalog: discovery.
        environment: the server's own identity.
        now: aware; decides about expiry.
        snapshot_age: seconds since the snapshot was known to be true.
        rights: the client's own, as far as they were looked up.
    """

    client: Client
    tool: Tool
    snapshot: Snapshot
    catalog: Catalog
    environment: Environment
    now: datetime
    snapshot_age: float
    rights: Rights = field(default_factory=Rights)


@dataclass(slots=True, kw_only=True)
class Case:
    """One request being decided, and what the steps found out about it."""

    request: RequestInfo
    context: DecisionContext
    policies: ClientPolicies
    giving: tuple[CompiledPolicy, ...]  # whose rules count for this command
    question: Question | None = None  # of a resource request, once its scope is known
    narrowing: list[Rule] = field(default_factory=list)  # denies that take something out of a list
    has_untold_deny: bool = False  # a deny takes it, and saying so would tell a namespace's labels

    @classmethod
    def of(cls, request: RequestInfo, context: DecisionContext) -> Case:
        """A request about to be decided."""
        policies = context.snapshot.client_policies(context.client)
        tool, now = context.tool, context.now
        giving = tuple(
            policy for policy in policies.valid if tool in policy.tools and policy.state(now=now) is PolicyState.ACTIVE
        )
        return cls(request=request, context=context, policies=policies, giving=giving)

    def rules(self) -> Iterator[tuple[CompiledPolicy, Rule]]:
        """Every rule that counts, in the order of policy names."""
        return ((policy, rule) for policy in self.giving for rule in policy.rules)

    def rule_in(self, namespace: str) -> RuleRef | None:
        """The first rule that counts and holds in a namespace, whatever it gives there."""
        for policy in self.giving:
            rule = rule_in_namespace(
                policy.rules,
                namespace,
                known=self.context.snapshot.namespaces,
                environment=self.context.environment,
            )
            if rule is not None:
                return reference(policy, rule=rule.name)
        return None

    def first_namespace_rule(self) -> RuleRef | None:
        """The first rule that counts and is about namespaces, whether or not one matches now."""
        for policy, rule in self.rules():
            if isinstance(rule.scope, NamespaceNames | NamespaceLabels) and not rule.from_rbac:
                return reference(policy, rule=rule.name)
        return None


def reference(policy: Policy, *, rule: str) -> RuleRef:
    """A rule of a policy at the version that is decided from."""
    return RuleRef(policy=policy.name, uid=policy.uid, resource_version=policy.resource_version, rule=rule)


def allow(matched: RuleRef | None, *, reason: Reason = Reason.ALLOWED_BY_RULE, message: str = "") -> Decision:
    """The request may be forwarded as it is."""
    if not message and matched is not None:
        message = f"Allowed by rule {matched.rule} of policy {matched.policy}."
    return Decision(verdict=Verdict.EXACT, reason=reason, message=message, matched=matched)


def allow_dry_run(matched: RuleRef) -> Decision:
    """The request may be forwarded as a dry run."""
    message = f"Allowed as a dry run by rule {matched.rule} of policy {matched.policy}."
    reason = Reason.ALLOWED_BY_RULE
    return Decision(verdict=Verdict.EXACT, reason=reason, message=message, matched=matched, dry_run=True)


def allow_cut(cut: ListCut, *, matched: RuleRef | None, reason: Reason = Reason.ALLOWED_BY_RULE) -> Decision:
    """The request may be forwarded when its answer is cut."""
    by = f" by rule {matched.rule} of policy {matched.policy}" if matched else ""
    message = f"Allowed{by}, cut to what the policies allow."
    return Decision(verdict=Verdict.FILTERED, reason=reason, message=message, matched=matched, cut=cut)


def refusal(reason: Reason, message: str, *, matched: RuleRef | None = None, nearest: tuple[str, ...] = ()) -> Decision:
    """The request is not forwarded."""
    return Decision(verdict=Verdict.DENY, reason=reason, message=message, matched=matched, nearest=nearest)
