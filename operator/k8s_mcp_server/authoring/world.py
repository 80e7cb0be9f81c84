"""A cluster that is not there: policies, namespaces, roles and what is served, to decide requests in.

What the files do not say is assumed, and every command says what it assumed: a namespace that a rule or the command
line names exists, without labels; a resource that a rule names and nobody knows exists where the rule looks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.authoring.resources import ResourceName, Served
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.decide import DecisionContext, decide, depends_on_rbac
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.rights import Rights
from k8s_mcp_server.policy.scopes import ClusterScope, NamespaceLabels, NamespaceNames, RuleScope, TeamNamespaces
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.cluster_state import ClusterState
    from k8s_mcp_server.authoring.inputs import Inputs
    from k8s_mcp_server.policy.compile import Policy
    from k8s_mcp_server.policy.decision import Decision
    from k8s_mcp_server.policy.identity import Client
    from k8s_mcp_server.policy.request import RequestInfo
    from k8s_mcp_server.policy.rules import Rule

_EVERYTHING: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that a decision depends on, but who asks and for what.

    Args:
        snapshot: policies and namespaces.
        served: what is known to be served.
        catalog: that, and what is assumed.
        now: aware.
        cluster: roles that policies follow, and clients' own rights.
        own_rights: what counts as everybody's own rights where ``cluster`` knows nobody's; None for not known.
        assumed_namespaces: those that no file describes.
    """

    snapshot: Snapshot
    served: Served
    catalog: Catalog
    now: datetime
    cluster: ClusterState
    own_rights: bool | None = None
    environment: Environment = field(default_factory=Environment)
    assumed_namespaces: frozenset[str] = frozenset()

    @classmethod
    def build(
        cls,
        policies: Iterable[Policy],
        *,
        namespaces: Mapping[str, Namespace],
        served: Served,
        now: datetime,
        cluster: ClusterState,
        own_rights: bool | None = None,
        assume: Iterable[Namespace] = (),
    ) -> World:
        """A world of these policies; ``assume`` exists as well, unless ``namespaces`` has it."""
        assumed = {item.name: item for item in assume if item.name not in namespaces}
        snapshot = Snapshot.build(policies, (*namespaces.values(), *assumed.values()), cluster.roles.values())
        followed = map(snapshot.following, snapshot.policies.values())
        return cls(
            snapshot=snapshot,
            served=served,
            catalog=served.with_assumed(assumed_resources(followed, served=served)),
            now=now,
            cluster=cluster,
            own_rights=own_rights,
            assumed_namespaces=frozenset(assumed),
        )

    def with_catalog(self, catalog: Catalog) -> World:
        """The same world, where this is served."""
        return replace(self, catalog=catalog)

    def context(self, client: Client, *, tool: Tool = Tool.KUBECTL) -> DecisionContext:
        """What the policy core needs to decide the client's requests."""
        return DecisionContext(
            client=client,
            tool=tool,
            snapshot=self.snapshot,
            catalog=self.catalog,
            environment=self.environment,
            now=self.now,
            snapshot_age=0.0,
        )

    def decide(self, request: RequestInfo, *, client: Client, tool: Tool = Tool.KUBECTL) -> Decision:
        """How the service would decide the request."""
        context = self.context(client, tool=tool)
        if depends_on_rbac(request, context):
            allowed = self.allowed_by_rbac(request, client=client)
            answers = {} if allowed is None else {request: allowed}
            context = replace(context, rights=Rights(answers=answers))
        return decide(request, context)

    def allowed_by_rbac(self, request: RequestInfo, *, client: Client) -> bool | None:
        """Whether the client's own rights in the cluster hold the request; None when they are not known."""
        known = self.cluster.allows(request, client=client)
        return self.own_rights if known is None else known


def build_world(inputs: Inputs, *, now: datetime, namespace: str = "") -> World:
    """A world of the policies of some files, in which ``namespace`` exists, and every namespace that a rule names."""
    policies = inputs.compiled(now=now)
    assume = named_namespaces(policies)
    if namespace:
        assume.setdefault(namespace, Namespace(name=namespace, labels={}))
    return World.build(
        policies,
        namespaces=inputs.namespaces,
        served=inputs.served(),
        now=now,
        cluster=inputs.cluster,
        assume=assume.values(),
    )


def rules_of(policies: Iterable[Policy]) -> Iterator[tuple[Policy, Rule]]:
    """Every rule and deny, with its policy."""
    for policy in policies:
        yield from ((policy, rule) for rule in getattr(policy, "rules", ()))
        yield from ((policy, deny) for deny in policy.denies)


def named_namespaces(policies: Iterable[Policy]) -> dict[str, Namespace]:
    """The namespaces that rules and denies name without a glob, as if they had no labels."""
    scopes = [rule.scope for _, rule in rules_of(policies) if isinstance(rule.scope, NamespaceNames)]
    return {name: Namespace(name=name, labels={}) for scope in scopes for name in sorted(scope.names.literals)}


def assumed_resources(policies: Iterable[Policy], *, served: Served) -> Iterator[ApiResource]:
    """What rules name in groups that nobody knows, in the scope where the rule looks for it."""
    for _, rule in rules_of(policies):
        yield from (
            ApiResource(group=name.group, resource=name.resource, kind="", scope=scope)
            for name in assumed_names(rule, served=served)
            if (scope := resource_scope(rule.scope)) is not None
        )


def assumed_names(rule: Rule, *, served: Served) -> Iterator[ResourceName]:
    """The resources of unknown groups that a rule names without wildcard; a resource of a known group is not one."""
    known = rule.groups & served.groups
    for item in sorted(rule.resources):
        resource, _, subresource = item.partition("/")
        if _EVERYTHING in (resource, subresource):
            continue
        if any(served.scope(ResourceName(group=group, resource=resource)) for group in known):
            continue
        for group in sorted(rule.groups - served.groups - {_EVERYTHING}):
            yield ResourceName(group=group, resource=resource, subresource=subresource)


def resource_scope(scope: RuleScope) -> Scope | None:
    """Which resources a rule of this scope is about; None for paths."""
    if isinstance(scope, NamespaceNames | NamespaceLabels | TeamNamespaces):
        return Scope.NAMESPACED
    return Scope.CLUSTER if isinstance(scope, ClusterScope) else None
