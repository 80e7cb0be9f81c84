"""Policies and questions in few words, for tests of the policy core."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.compile import CompiledPolicy, read_policy
from k8s_mcp_server.policy.decide import DecisionContext, decide
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.roles import read_role
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.policy.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from k8s_mcp_server.policy.compile import InvalidPolicy, Policy
    from k8s_mcp_server.policy.decision import Decision

CREATED = "2026-01-01T00:00:00Z"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
AGENT = Client(username="system:serviceaccount:agents:bot", groups=frozenset({"system:serviceaccounts"}))
AGENT_SUBJECT = {"kind": "ServiceAccount", "namespace": "agents", "name": "bot"}
ENFORCED = {"pod-security.kubernetes.io/enforce": "restricted"}

# Some of what a real API server serves: group, plural, kind, scope.
_SERVED = """
    - configmaps ConfigMap Namespaced          - secrets Secret Namespaced
    - pods Pod Namespaced                      - podtemplates PodTemplate Namespaced
    - services Service Namespaced              - serviceaccounts ServiceAccount Namespaced
    - replicationcontrollers ReplicationController Namespaced
    - events Event Namespaced                  - bindings Binding Namespaced
    - endpoints Endpoints Namespaced           - persistentvolumeclaims PersistentVolumeClaim Namespaced
    - namespaces Namespace Cluster             - nodes Node Cluster
    - persistentvolumes PersistentVolume Cluster
    apps deployments Deployment Namespaced     apps replicasets ReplicaSet Namespaced
    apps statefulsets StatefulSet Namespaced   apps daemonsets DaemonSet Namespaced
    apps controllerrevisions ControllerRevision Namespaced
    batch jobs Job Namespaced                  batch cronjobs CronJob Namespaced
    networking.k8s.io ingresses Ingress Namespaced
    networking.k8s.io ingressclasses IngressClass Cluster
    metrics.k8s.io pods PodMetrics Namespaced
    rbac.authorization.k8s.io roles Role Namespaced
    rbac.authorization.k8s.io rolebindings RoleBinding Namespaced
    rbac.authorization.k8s.io clusterroles ClusterRole Cluster
    certificates.k8s.io certificatesigningrequests CertificateSigningRequest Cluster
    authentication.k8s.io tokenreviews TokenReview Cluster
    authentication.k8s.io selfsubjectreviews SelfSubjectReview Cluster
    authorization.k8s.io subjectaccessreviews SubjectAccessReview Cluster
    authorization.k8s.io localsubjectaccessreviews LocalSubjectAccessReview Namespaced
    authorization.k8s.io selfsubjectaccessreviews SelfSubjectAccessReview Cluster
    authorization.k8s.io selfsubjectrulesreviews SelfSubjectRulesReview Cluster
    apiextensions.k8s.io customresourcedefinitions CustomResourceDefinition Cluster
    admissionregistration.k8s.io validatingwebhookconfigurations ValidatingWebhookConfiguration Cluster
    apiregistration.k8s.io apiservices APIService Cluster
    flowcontrol.apiserver.k8s.io flowschemas FlowSchema Cluster
    storage.k8s.io storageclasses StorageClass Cluster
    scheduling.k8s.io priorityclasses PriorityClass Cluster
    argoproj.io applications Application Namespaced
    k8s-mcp.io mcpaccesspolicies McpAccessPolicy Cluster
    helm.sh releases Release Namespaced
    istioctl.istio.io proxysecrets ProxySecret Namespaced
"""


def _catalog() -> Catalog:
    words = _SERVED.split()
    rows = [words[i : i + 4] for i in range(0, len(words), 4)]
    return Catalog(
        ApiResource(group=group.strip("-"), resource=resource, kind=kind, scope=Scope(scope))
        for group, resource, kind, scope in rows
    )


CATALOG = _catalog()
NAMESPACES: Mapping[str, Mapping[str, str]] = {
    "team-a": {**ENFORCED, "team": "a"},
    "team-a-test": {"team": "a"},
    "team-b": {**ENFORCED, "team": "b"},
    "default": {},
    "kube-system": {"team": "a"},
    "argocd": {"team": "a"},
    "istio-system": {"team": "a"},
    "k8s-mcp-system": {**ENFORCED, "team": "a"},
}


def rule(verbs: str = "*", resources: str = "pods", *, groups: str = "-", **more: Any) -> dict[str, Any]:
    """A rule or deny: words between spaces, ``-`` for the core group, and in team-a unless ``more`` has a scope."""
    scopes = {"namespaces", "namespaceSelector", "clusterScoped", "nonResourceURLs"}
    fields: dict[str, Any] = {"verbs": verbs.split(), **more}
    if "nonResourceURLs" not in fields:
        fields["resources"] = resources.split()
        fields["apiGroups"] = [group.removeprefix("-") for group in groups.split()]
    if not scopes & set(fields):
        fields["namespaces"] = ["team-a"]
    return fields


def body(name: str = "policy", *rules: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """An McpAccessPolicy object with these rules that names ``AGENT``, unless ``spec`` says otherwise."""
    metadata = {
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": "7",
        "generation": 3,
        "creationTimestamp": CREATED,
    }
    return {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "metadata": metadata,
        "spec": {"subjects": [AGENT_SUBJECT], "rules": list(rules), **spec},
    }


def policy(name: str = "policy", *rules: dict[str, Any], **spec: Any) -> CompiledPolicy:
    """As ``body``, read; it must be valid."""
    read = read_policy(body(name, *rules, **spec))
    assert isinstance(read, CompiledPolicy), read
    return read


def grant(*rules: dict[str, Any], **spec: Any) -> CompiledPolicy:
    """A valid policy of no particular name."""
    return policy("policy", *rules, **spec)


def request(text: str) -> RequestInfo:
    """A request from ``VERB RESOURCE[.GROUP][/SUBRESOURCE] [NAME] [-n NAMESPACE]`` or ``VERB /path``."""
    verb, what, *rest = text.split()
    if what.startswith("/"):
        return RequestInfo(is_resource_request=False, path=what, verb=verb)
    namespace = ""
    if "-n" in rest:
        place = rest.index("-n")
        namespace = rest[place + 1]
        del rest[place : place + 2]
    resource, _, subresource = what.partition("/")
    resource, _, group = resource.partition(".")
    name = rest[0] if rest else ""
    if (resource, group) == ("namespaces", "") and name:
        namespace = name
    return RequestInfo(
        is_resource_request=True,
        path="/",
        verb=verb,
        api_prefix="apis" if group else "api",
        api_group=group,
        api_version="v1",
        namespace=namespace,
        resource=resource,
        subresource=subresource,
        name=name,
    )


def context(
    policies: Iterable[Policy],
    *,
    namespaces: Mapping[str, Mapping[str, str]] = NAMESPACES,
    client: Client = AGENT,
    tool: Tool = Tool.KUBECTL,
    now: datetime = NOW,
    age: float = 0.0,
    environment: Environment | None = None,
    catalog: Catalog = CATALOG,
    roles: Iterable[dict[str, Any]] = (),
) -> DecisionContext:
    """What decisions are made from, fresh unless said otherwise."""
    known = (Namespace(name=name, labels=labels) for name, labels in namespaces.items())
    return DecisionContext(
        client=client,
        tool=tool,
        snapshot=Snapshot.build(policies, known, map(read_role, roles)),
        catalog=catalog,
        environment=environment or Environment(),
        now=now,
        snapshot_age=age,
    )


def ask(text: str, *policies: CompiledPolicy | InvalidPolicy, **more: Any) -> Decision:
    """The decision about a request in words; ``more`` goes to ``context``, or to the request that has such a field."""
    about = {key: more.pop(key) for key in ("upgrade", "audiences") if key in more}
    return decide(replace(request(text), **about), context(policies, **more))


def seen(decision: Decision, *objects: str) -> list[str]:
    """Which of the objects ``namespace/name`` (``/name`` when cluster-scoped) a filtered list shows."""
    assert decision.cut is not None, decision
    split = [(item, *item.partition("/")[::2]) for item in objects]
    return [item for item, namespace, name in split if decision.cut.allows(namespace=namespace, name=name)]
