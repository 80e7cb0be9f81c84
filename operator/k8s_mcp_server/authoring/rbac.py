"""`policy rbac`: the least Roles and bindings with which the pod can do what policies give.

The gateway asks the API server with the pod's own rights, so the pod needs what its clients may do, and nothing more.
Wildcards are written out, because RBAC's reach the sensitive resources and a policy's do not. What the service needs
for itself is in ``manifests/``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.authoring.resources import ResourceName, Served
from k8s_mcp_server.authoring.rights import rights
from k8s_mcp_server.authoring.rules import Need, rbac_rules_for
from k8s_mcp_server.policy.compile import CompiledPolicy, Policy
from k8s_mcp_server.policy.roles import rules_by_role
from k8s_mcp_server.policy.scopes import NamespaceLabels, NamespaceNames, Reach, TeamNamespaces, Urls, reach
from k8s_mcp_server.policy.sensitive import COLLECTION_READS, NAMELESS_VERBS
from k8s_mcp_server.policy.snapshot import Namespace

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.inputs import Inputs
    from k8s_mcp_server.policy.environment import Environment
    from k8s_mcp_server.policy.roles import ClusterRole
    from k8s_mcp_server.policy.rules import Rule

ROLE_NAME: Final = "k8s-mcp-agents"
EVERYWHERE: Final = ""
_CONNECTS: Final = frozenset({"exec", "attach", "portforward"})
_RBAC: Final = "rbac.authorization.k8s.io"
_NAMESPACES: Final = ResourceName(group="", resource="namespaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRBAC:
    """Objects to apply, and what their author should know."""

    objects: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Needs:
    """What the pod needs, by namespace; `EVERYWHERE` for cluster-wide."""

    served: Served
    namespaces: Mapping[str, Namespace]
    roles: Mapping[str, ClusterRole]
    environment: Environment
    found: dict[str, set[Need]] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)

    def add(self, policy: CompiledPolicy, rule: Rule) -> None:
        """Add what one rule needs."""
        if isinstance(rule.scope, Urls):
            for path in rule.scope.paths.texts:
                self._put(EVERYWHERE, (Need(verb=verb, path=path) for verb in rule.verbs))
            return
        parts = rules_by_role(rule, self.roles) or ()
        needs = tuple(dict.fromkeys(need for part in parts for need in self._of_rule(policy, part)))
        if rule.from_rbac:
            self._note(
                policy, rule, "no client gets more of this than its own RBAC gives it; what the pod lacks, nobody gets"
            )
        for place in self._places(policy, rule):
            self._put(place, needs)

    def add_lists(self) -> None:
        """Let lists and watches work across namespaces, too; the gateway cuts them."""
        for needs in tuple(self.found.values()):
            self._put(EVERYWHERE, [item for item in needs if item.verb in COLLECTION_READS])

    def _of_rule(self, policy: CompiledPolicy, rule: Rule) -> Iterator[Need]:
        names = rule.resource_names.texts if rule.resource_names and not rule.resource_names.globs else ()
        if rule.resource_names and rule.resource_names.globs:
            self._note(policy, rule, "RBAC knows no globs in names, so the pod gets every name")
        for right in rights(rule, served=self.served):
            held = () if right.verb in NAMELESS_VERBS | COLLECTION_READS else names
            yield Need(verb=right.verb, resource=right.resource, names=held)
            if right.resource.subresource in _CONNECTS and right.verb == "create":
                yield Need(verb="get", resource=right.resource, names=names)  # over WebSocket it is a GET
        for group in sorted(rule.groups - self.served.groups - {"*"}):
            if "*" in rule.resources:
                note = f"nothing here says what {group} holds, so the pod gets all of it; add its CRDs to the files"
                self._note(policy, rule, note)
                for verb in rule.verbs:
                    yield Need(verb=verb, resource=ResourceName(group=group, resource="*"))

    def _places(self, policy: CompiledPolicy, rule: Rule) -> Iterator[str]:
        scope = rule.scope.of_anybody() if isinstance(rule.scope, TeamNamespaces) else rule.scope
        if not isinstance(scope, NamespaceNames | NamespaceLabels):
            yield EVERYWHERE
            return
        literals = scope.names.literals if isinstance(scope, NamespaceNames) else frozenset()
        known = {name: Namespace(name=name, labels={}) for name in literals} | dict(self.namespaces)
        inside = [
            name
            for name in sorted(known)
            if reach(scope, name, known=known, environment=self.environment) is Reach.INSIDE
        ]
        is_open = isinstance(scope, NamespaceLabels) or bool(scope.names.globs)
        if is_open and not self.namespaces:
            self._note(policy, rule, "cluster-wide, for no file says which namespaces it reaches")
            yield EVERYWHERE
            return
        if is_open:
            self._note(policy, rule, "run this again when it reaches more namespaces")
        yield from inside

    def _note(self, policy: CompiledPolicy, rule: Rule, text: str) -> None:
        self.notes[f"{policy.name}/{rule.name}: {text}"] = None

    def _put(self, place: str, needs: Iterable[Need]) -> None:
        self.found.setdefault(place, set()).update(needs)


def server_rbac(
    policies: Iterable[Policy], *, inputs: Inputs, environment: Environment, across_namespaces: bool
) -> ServerRBAC:
    """The least that the pod needs for these policies, suspended and expired ones among them.

    Args:
        inputs: its Namespaces say what globs and selectors reach; without any, those get a ClusterRole.
        environment: whose ServiceAccount gets it.
        across_namespaces: whether ``kubectl get -A`` is to work.
    """
    needs = _Needs(
        served=inputs.served(), namespaces=inputs.namespaces, roles=inputs.cluster.roles, environment=environment
    )
    for policy in policies:
        if isinstance(policy, CompiledPolicy):
            for rule in policy.rules:
                needs.add(policy, rule)
    if any(place != EVERYWHERE for place in needs.found):
        needs.found.setdefault(EVERYWHERE, set()).add(Need(verb="get", resource=_NAMESPACES))
        if across_namespaces:
            needs.add_lists()
        else:
            needs.notes["kubectl get -A does not work with this; --across-namespaces adds what it needs"] = None
    everywhere = needs.found.pop(EVERYWHERE, set())
    objects = list(_cluster_wide(everywhere, environment=environment))
    shared: dict[str, list[str]] = {}
    rules: dict[str, list[dict[str, Any]]] = {}
    for namespace, found in sorted(needs.found.items()):
        held = _rules({item for item in found if not _has(everywhere, item)})
        rules[str(held)] = held
        shared.setdefault(str(held), []).append(namespace)
    for key, namespaces in shared.items():
        objects += _in_namespaces(rules[key], namespaces, environment=environment)
    return ServerRBAC(objects=tuple(objects), notes=tuple(needs.notes))


def _has(needs: set[Need], need: Need) -> bool:
    return need in needs or replace(need, names=()) in needs


def _rules(needs: Iterable[Need]) -> list[dict[str, Any]]:
    return list(rbac_rules_for(sorted(needs, key=str)))


def _cluster_wide(needs: set[Need], *, environment: Environment) -> Iterator[dict[str, Any]]:
    rules = _rules(needs)
    if rules:
        yield _object("ClusterRole", ROLE_NAME, rules=rules)
        yield _binding("ClusterRoleBinding", "ClusterRole", ROLE_NAME, environment=environment)


def _in_namespaces(
    rules: list[dict[str, Any]], namespaces: list[str], *, environment: Environment
) -> Iterator[dict[str, Any]]:
    """A Role and its binding; for several namespaces with the same rules one ClusterRole, bound in each of them."""
    if not rules:
        return
    kind, name = "Role", ROLE_NAME
    if len(namespaces) > 1:
        kind, name = "ClusterRole", f"{ROLE_NAME}-{namespaces[0]}"
    yield _object(kind, name, namespace="" if kind == "ClusterRole" else namespaces[0], rules=rules)
    for namespace in namespaces:
        yield _binding("RoleBinding", kind, name, namespace=namespace, environment=environment)


def _binding(kind: str, role: str, name: str, *, environment: Environment, namespace: str = "") -> dict[str, Any]:
    account = {
        "kind": "ServiceAccount",
        "name": environment.own_service_account,
        "namespace": environment.own_namespace,
    }
    reference = {"apiGroup": _RBAC, "kind": role, "name": name}
    return _object(kind, ROLE_NAME, namespace=namespace, roleRef=reference, subjects=[account])


def _object(kind: str, name: str, *, namespace: str = "", **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, **fields}
