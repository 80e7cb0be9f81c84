"""What a client may do, all together: the answer to "who am I here, and what is mine?".

Shows a client only its own policies, and of the cluster only the namespaces that its rules reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from k8s_mcp_server.policy.compile import CompiledPolicy, Mode, PolicyState
from k8s_mcp_server.policy.explain import printable
from k8s_mcp_server.policy.limits import Limits, effective_limits
from k8s_mcp_server.policy.scopes import NamespaceLabels, NamespaceNames, Reach, Urls, reach

if TYPE_CHECKING:
    from k8s_mcp_server.policy.case import DecisionContext
    from k8s_mcp_server.policy.compile import Policy
    from k8s_mcp_server.policy.rules import Rule

MAX_NAMESPACES_SHOWN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleAccess:
    """One rule or deny.

    Args:
        where: its scope as the policy states it.
        namespaces: those it reaches now, at most `MAX_NAMESPACES_SHOWN`; empty for other scopes and for denies.
        namespace_count: how many it reaches.
        role: gives what this ClusterRole gives; ``api_groups`` to ``verbs`` are empty then.
        from_rbac: only what the client's own RBAC gives.
    """

    name: str
    where: str
    namespaces: tuple[str, ...] = ()
    namespace_count: int = 0
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    allow_privileged_workloads: bool = False
    role: str = ""
    from_rbac: bool = False

    def __str__(self) -> str:
        own = ", as far as your own RBAC in the cluster gives it" if self.from_rbac else ""
        return self._text() + own

    def _text(self) -> str:
        if self.role:
            what = f"what ClusterRole {self.role} allows, except for what is sensitive"
            return f"{self.name}: {what}, {self.where}{self._reached()}"
        about = ""
        if self.resources:
            groups = ", ".join(group or '""' for group in self.api_groups)
            about = f" {', '.join(self.resources)} ({'group' if len(self.api_groups) == 1 else 'groups'} {groups})"
        named = f" named {', '.join(self.resource_names)}" if self.resource_names else ""
        return f"{self.name}: {', '.join(self.verbs)}{about}{named}, {self.where}{self._reached()}"

    def _reached(self) -> str:
        if not self.namespaces:
            return ""
        more = self.namespace_count - len(self.namespaces)
        return f" [now: {', '.join(self.namespaces)}{f' and {more} more' if more else ''}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyAccess:
    """One policy that names the client. ``expires_at`` is RFC 3339, empty when it does not expire."""

    name: str
    description: str
    state: PolicyState
    blocks: bool
    mode: Mode = Mode.ENFORCE
    tools: tuple[str, ...] = ()
    expires_at: str = ""
    reason: str = ""
    rules: tuple[RuleAccess, ...] = ()
    denies: tuple[RuleAccess, ...] = ()
    missing_roles: tuple[tuple[str, str], ...] = ()

    def lines(self) -> Iterable[str]:
        """The policy as text, one thing on each line."""
        tools = f", tools: {', '.join(self.tools)}" if self.tools else ""
        expiry = f", until {self.expires_at}" if self.expires_at and self.state is PolicyState.ACTIVE else ""
        yield f"Policy {self.name}: {_STATES[self.state]}{tools}{expiry}"
        if self.description:
            yield f"  {self.description}"
        if self.mode in _MODES:
            yield f"  {_MODES[self.mode]}"
        if self.blocks:
            yield "  It refuses you everything."
        yield from (f"  may {rule}" for rule in self.rules)
        yield from (f"  {rule} gives nothing: there is no ClusterRole {role}" for rule, role in self.missing_roles)
        yield from (f"  never {rule}" for rule in self.denies)


_MODES = {
    Mode.DRY_RUN: "mode DryRun: every write that it allows is a dry run, also where another policy allows it.",
    Mode.AUDIT: "mode Audit: reads that no rule allows pass and are recorded, unless another policy has another mode.",
}
_STATES = {
    PolicyState.ACTIVE: "active",
    PolicyState.SUSPENDED: "suspended, its rules give nothing",
    PolicyState.EXPIRED: "expired, its rules give nothing",
    PolicyState.INVALID: "invalid, it gives nothing until it is mended",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Everything that the policies say about a client now.

    Args:
        problem: why nothing at all is allowed now; empty when rules count.
        default_namespace: of commands that state none; empty for that of the CLI.
        limits: in force over all policies and the server's defaults.
    """

    username: str
    groups: tuple[str, ...]
    problem: str
    default_namespace: str
    policies: tuple[PolicyAccess, ...]
    limits: Limits

    def as_dict(self) -> dict[str, Any]:
        """As plain values, ready for JSON."""
        return asdict(self)

    def render(self) -> str:
        """As text for people and agents."""
        lines = [f"You are {printable(self.username)}."]
        if self.groups:
            lines.append(f"Groups: {', '.join(map(printable, self.groups))}")
        if self.problem:
            lines.append(self.problem)
        for policy in self.policies:
            lines += ["", *policy.lines()]
        if self.policies:
            lines += ["", _render_limits(self.limits), _ALWAYS]
        if self.default_namespace:
            lines.append(f"Commands without a namespace are about {self.default_namespace}.")
        return "\n".join(lines)


_ALWAYS = (
    "Lists are cut to what you may see. Sensitive resources, such as Secrets and pods/exec, are given only by a rule "
    "that names them; denies win over rules."
)


def effective_access(context: DecisionContext, *, defaults: Limits | None = None) -> Access:
    """What the policies that name the context's client say, with namespaces as they are in its snapshot.

    Args:
        context: its ``tool`` does not matter; each policy shows its own tools.
        defaults: the server's limits where no policy states any.
    """
    policies = context.snapshot.policies_for(context.client)
    return Access(
        username=context.client.username,
        groups=tuple(sorted(context.client.groups)),
        problem=_problem(context, policies),
        default_namespace=default_namespace(context),
        policies=tuple(_show_policy(policy, context) for policy in policies),
        limits=effective_limits(policies, defaults=defaults or Limits()),
    )


def default_namespace(context: DecisionContext) -> str:
    """The namespace of the client's commands that state none: the first policy in force that states one, by name."""
    return next((policy.default_namespace for policy in _giving(context) if policy.default_namespace), "")


def only_dry_runs(context: DecisionContext) -> bool:
    """Whether each policy whose rules count for the client's commands makes their writes dry runs."""
    modes = {policy.mode for policy in _giving(context)}
    return modes == {Mode.DRY_RUN}


def _giving(context: DecisionContext) -> Iterable[CompiledPolicy]:
    valid = context.snapshot.client_policies(context.client).valid
    return (
        policy
        for policy in valid
        if context.tool in policy.tools and policy.state(now=context.now) is PolicyState.ACTIVE
    )


def reached_namespaces(rules: Iterable[Rule], context: DecisionContext) -> tuple[str, ...]:
    """The namespaces of the snapshot that any of the rules reaches, sorted."""
    known, environment = context.snapshot.namespaces, context.environment
    scopes = [rule.scope for rule in rules if isinstance(rule.scope, NamespaceNames | NamespaceLabels)]
    return tuple(
        name
        for name in sorted(known)
        if any(reach(scope, name, known=known, environment=environment) is Reach.INSIDE for scope in scopes)
    )


def _problem(context: DecisionContext, policies: tuple[Policy, ...]) -> str:
    limit = context.environment.max_snapshot_age
    if not context.snapshot_age <= limit:
        return f"Nothing is allowed now: policies and namespaces have not been confirmed for {limit:g} s."
    if not policies:
        return "No access policy names you, so nothing is allowed. Tell whoever writes the policies who you are."
    refusing = context.snapshot.client_policies(context.client).refusing
    if refusing:
        return f"Nothing is allowed now: refused by policy {', '.join(policy.name for policy in refusing)}."
    if not any(policy.state(now=context.now) is PolicyState.ACTIVE for policy in policies):
        return "Nothing is allowed now: no policy that names you is active."
    return ""


def _show_policy(policy: Policy, context: DecisionContext) -> PolicyAccess:
    blocks = policy in context.snapshot.client_policies(context.client).refusing
    state = policy.state(now=context.now)
    denies = tuple(_show_rule(deny, namespaces=()) for deny in policy.denies)
    if not isinstance(policy, CompiledPolicy):
        return PolicyAccess(name=policy.name, description=policy.description, state=state, blocks=blocks, denies=denies)
    return PolicyAccess(
        name=policy.name,
        description=policy.description,
        state=state,
        blocks=blocks,
        mode=policy.mode,
        tools=tuple(sorted(policy.tools)),
        expires_at=_timestamp(policy.expires_at),
        reason=policy.reason,
        rules=tuple(_show_rule(rule, namespaces=reached_namespaces([rule], context)) for rule in _stated(policy)),
        denies=denies,
        missing_roles=policy.missing_roles,
    )


def _stated(policy: CompiledPolicy) -> Iterable[Rule]:
    """The rules as the policy states them: those of one role are one."""
    return {rule.name if rule.role else rule: rule for rule in policy.rules}.values()


def _show_rule(rule: Rule, *, namespaces: tuple[str, ...]) -> RuleAccess:
    if rule.role:
        return RuleAccess(
            name=rule.name,
            where=f"in {rule.scope}",
            namespaces=namespaces[:MAX_NAMESPACES_SHOWN],
            namespace_count=len(namespaces),
            role=rule.role,
            allow_privileged_workloads=rule.allow_privileged_workloads,
        )
    names = rule.resource_names
    return RuleAccess(
        name=rule.name,
        where=str(rule.scope) if isinstance(rule.scope, Urls) else f"in {rule.scope}",
        namespaces=namespaces[:MAX_NAMESPACES_SHOWN],
        namespace_count=len(namespaces),
        api_groups=tuple(sorted(rule.groups)),
        resources=tuple(sorted(rule.resources)),
        resource_names=names.texts if names else (),
        verbs=tuple(sorted(rule.verbs)),
        from_rbac=rule.from_rbac,
        allow_privileged_workloads=rule.allow_privileged_workloads,
    )


def _timestamp(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _render_limits(limits: Limits) -> str:
    values: Mapping[str, int] = asdict(limits)
    return "Limits: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())
