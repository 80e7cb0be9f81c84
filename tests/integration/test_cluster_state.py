"""The RBAC that files describe is read as the API server reads it: both are asked about the same requests."""

from __future__ import annotations

import itertools
import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.authoring.cluster_state import read_cluster_state
from k8s_mcp_server.authoring.documents import Document
from k8s_mcp_server.authoring.resources import ResourceName
from k8s_mcp_server.policy.identity import Client

if TYPE_CHECKING:
    from devtools.cluster import TestCluster
    from k8s_mcp_server.policy.request import RequestInfo
    from tests.integration.conftest import NamespaceFactory

pytestmark = pytest.mark.integration

SEED = 4
IN_FORCE_SECONDS = 20.0  # the authorizer sees new roles and bindings a moment later
RBAC = "rbac.authorization.k8s.io"
VERBS = ("get", "list", "create", "deletecollection")
RESOURCES = (
    ResourceName(group="", resource="pods"),
    ResourceName(group="", resource="pods", subresource="log"),
    ResourceName(group="apps", resource="deployments", subresource="scale"),
    ResourceName(group="apps", resource="deployments"),
    ResourceName(group="example.com", resource="widgets"),
)
FIELDS = {
    "apiGroups": ("", "apps", "*"),
    "resources": ("pods", "pods/log", "deployments", "*/scale", "*/log", "widgets", "*"),
    "verbs": (*VERBS, "*"),
    "resourceNames": ("web", "db"),
}


class RandomRBAC:
    """Roles and bindings of two namespaces, made by chance, and the clients that they may name."""

    def __init__(self, chance: random.Random, namespaces: tuple[str, str]) -> None:
        self._chance = chance
        self._prefix = namespaces[0]
        self.namespaces = namespaces
        self.clients = (
            Client(username=f"{self._prefix}-jo", groups=frozenset({f"{self._prefix}-red"})),
            Client(username=f"{self._prefix}-mo", groups=frozenset({f"{self._prefix}-red", f"{self._prefix}-blue"})),
            Client(username=f"system:serviceaccount:{self._prefix}:bot", groups=frozenset({"system:serviceaccounts"})),
        )

    def objects(self) -> list[dict[str, Any]]:
        """Several of each kind; some bindings are about roles that do not exist."""
        return [
            *(self._role("ClusterRole", number) for number in range(3)),
            *(self._role("Role", number, namespace=name) for name in self.namespaces for number in range(2)),
            *(self._binding("ClusterRoleBinding", number) for number in range(2)),
            *(self._binding("RoleBinding", number, namespace=name) for name in self.namespaces for number in range(3)),
        ]

    def _role(self, kind: str, number: int, *, namespace: str = "") -> dict[str, Any]:
        rules = [
            {field: self._some(values) for field, values in FIELDS.items() if field != "resourceNames"}
            | ({"resourceNames": self._some(FIELDS["resourceNames"])} if self._chance.random() < 0.3 else {})
            for _ in range(2)
        ]
        return self._object(kind, number, namespace=namespace, rules=rules)

    def _binding(self, kind: str, number: int, *, namespace: str = "") -> dict[str, Any]:
        role = self._chance.choice(("ClusterRole", "Role")) if namespace else "ClusterRole"
        reference = {"apiGroup": RBAC, "kind": role, "name": f"{self._prefix}-{self._chance.randrange(4)}"}
        return self._object(kind, number, namespace=namespace, roleRef=reference, subjects=[self._subject()])

    def _subject(self) -> dict[str, Any]:
        kind = self._chance.choice(("User", "Group", "ServiceAccount", "ServiceAccount as a user"))
        if kind == "ServiceAccount":
            return {"kind": kind, "name": "bot", "namespace": self._chance.choice(self.namespaces)}
        names = {"User": ("jo", "mo"), "Group": ("red", "blue")}.get(kind)
        name = f"{self._prefix}-{self._chance.choice(names)}" if names else self.clients[2].username
        return {"apiGroup": RBAC, "kind": kind.removeprefix("ServiceAccount as a ").capitalize(), "name": name}

    def _object(self, kind: str, number: int, *, namespace: str, **fields: Any) -> dict[str, Any]:
        metadata = {"name": f"{self._prefix}-{number}", **({"namespace": namespace} if namespace else {})}
        return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, **fields}

    def _some(self, values: tuple[str, ...]) -> list[str]:
        return self._chance.sample(values, self._chance.randint(1, 2))


def review(client: Client, request: RequestInfo) -> dict[str, Any]:
    """A question to the API server."""
    attributes = {
        "verb": request.verb,
        "group": request.api_group,
        "resource": request.resource,
        "subresource": request.subresource,
        "namespace": request.namespace,
        "name": request.name,
    }
    spec = {"user": client.username, "groups": sorted(client.groups), "resourceAttributes": attributes}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


def test_files_say_what_the_api_server_says(cluster: TestCluster, namespace_factory: NamespaceFactory) -> None:
    namespaces = (namespace_factory("rbac"), namespace_factory("rbac"))
    made = RandomRBAC(random.Random(SEED), namespaces)  # noqa: S311 - chance, not secrets
    objects = made.objects()
    state = read_cluster_state(Document(source="test", body=body) for body in objects)
    asked = [
        (client, resource.request(verb, namespace=namespace, name=name))
        for client, resource, verb, namespace, name in itertools.product(
            made.clients, RESOURCES, VERBS, ("", *namespaces), ("", "web")
        )
    ]
    cluster.kubectl("create", "-f", "-", input="\n---\n".join(map(json.dumps, objects)))
    try:
        expected = [state.allows(request, client=client) for client, request in asked]
        assert {True, False} == set(expected)
        deadline = time.monotonic() + IN_FORCE_SECONDS
        while (said := answers(cluster, asked)) != expected:
            wrong = [item for item, saying, known in zip(asked, said, expected, strict=True) if saying != known]
            assert time.monotonic() < deadline, wrong[:3]
    finally:
        cluster.kubectl("delete", "-f", "-", input="\n---\n".join(map(json.dumps, objects)))


def answers(cluster: TestCluster, asked: list[tuple[Client, RequestInfo]]) -> list[bool]:
    """What the API server says to each question."""
    questions = "\n---\n".join(json.dumps(review(*item)) for item in asked)
    said = cluster.kubectl("create", "-o", "jsonpath={.status.allowed} ", "-f", "-", input=questions).stdout
    return [item == "true" for item in said.split()]
