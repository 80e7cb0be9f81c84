"""What policies can say, from the object that an administrator writes to what an agent gets from the real API server."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from devtools.demo.teams import AUDIENCE
from tests.integration.through_mcp.conftest import apply_policy, await_in_force
from tests.support.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.cluster import TestCluster
    from devtools.installed import InstalledService
    from tests.integration.conftest import NamespaceFactory
    from tests.integration.through_mcp.conftest import AgentFactory

pytestmark = pytest.mark.integration

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
TEAM = "acme.example/team"
IN_FORCE_SECONDS = 20.0
RBAC = "rbac.authorization.k8s.io/v1"


def role(name: str, *rules: dict[str, Any], **fields: Any) -> dict[str, Any]:
    labels = fields.pop("labels", {})
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": metadata, "rules": list(rules), **fields}


def gives(verbs: str, resources: str) -> dict[str, Any]:
    return {"apiGroups": [""], "resources": resources.split(), "verbs": verbs.split()}


@pytest.fixture
def apply_role(cluster: TestCluster) -> Iterator[Callable[..., None]]:
    """Create or change ClusterRoles, which go when the test ends."""
    made: set[str] = set()

    def apply(body: dict[str, Any]) -> None:
        made.add(body["metadata"]["name"])
        cluster.kubectl("apply", "--filename=-", input=json.dumps(body))

    yield apply
    cluster.kubectl("delete", "clusterrole", *made, "--ignore-not-found")


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + IN_FORCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what} after {IN_FORCE_SECONDS:.0f} s"


def condition(cluster: TestCluster, policy: str, kind: str = "Ready") -> tuple[str, str]:
    found = json.loads(cluster.kubectl("get", "mcpap", policy, "--output=json").stdout)
    conditions = {item["type"]: item for item in found.get("status", {}).get("conditions", [])}
    return (conditions[kind]["status"], conditions[kind]["reason"]) if kind in conditions else ("", "")


class TestOnePolicyForAllTeams:
    def test_each_agent_reaches_the_namespaces_of_its_own_team(
        self, cluster: TestCluster, installed: InstalledService, namespace_factory: NamespaceFactory
    ) -> None:
        homes = {team: namespace_factory(f"home-{team}", labels={TEAM: team}) for team in ("red", "blue")}
        webs = {team: namespace_factory(f"web-{team}", labels={TEAM: team}) for team in ("red", "blue")}
        agents = {}
        for team, home in homes.items():
            cluster.kubectl("create", "serviceaccount", "agent", "--namespace", home)
            agents[team] = Agent(installed.url, cluster.service_account_token(home, "agent", audience=AUDIENCE))
            cluster.kubectl("create", "configmap", f"seen-{team}", "--namespace", webs[team])
        name = f"all-teams-{uuid.uuid4().hex[:6]}"
        scope = {"namespaceSelector": {"matchSubject": {"label": TEAM}}}
        subjects = [{"kind": "Group", "name": f"system:serviceaccounts:{home}"} for home in homes.values()]
        apply_policy(cluster, name, {"subjects": subjects, "rules": [{**scope, **gives("get list", "configmaps")}]})
        try:
            for agent in agents.values():
                await_in_force(agent, name)
            for team, other in (("red", "blue"), ("blue", "red")):
                listed = agents[team].kubectl("get configmaps -A -o name")
                assert f"configmap/seen-{team}" in listed.stdout
                assert f"configmap/seen-{other}" not in listed.everything
                assert agents[team].kubectl(f"get configmaps -n {webs[other]}").status == "denied"
            cluster.kubectl("label", "namespace", webs["red"], f"{TEAM}=blue", "--overwrite")
            eventually(
                lambda: agents["red"].kubectl(f"get configmaps -n {webs['red']}").status == "denied",
                "a relabelled namespace was still the old team's",
            )
            assert agents["blue"].kubectl(f"get configmaps -n {webs['red']}").status == "succeeded"
        finally:
            cluster.kubectl("delete", "mcpap", name)


def test_commands_without_a_namespace_go_to_the_default_one(
    cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
) -> None:
    namespace = namespace_factory()
    cluster.kubectl("create", "configmap", "here", "--namespace", namespace)
    rules = [{"namespaces": [namespace], **gives("get list", "configmaps")}]
    agent = agent_factory({"defaultNamespace": namespace, "rules": rules})
    assert "configmap/here" in agent.kubectl("get configmaps -o name").stdout


class TestRoles:
    def test_an_aggregated_role_is_followed_live_and_without_what_is_sensitive(
        self,
        cluster: TestCluster,
        namespace_factory: NamespaceFactory,
        agent_factory: AgentFactory,
        apply_role: Callable[[dict[str, Any]], None],
    ) -> None:
        namespace, unique = namespace_factory(), f"follow-{uuid.uuid4().hex[:6]}"
        part = {"matchLabels": {"acme.example/part": unique}}
        apply_role(role(unique, aggregationRule={"clusterRoleSelectors": [part]}))
        apply_role(role(f"{unique}-a", gives("get list", "configmaps secrets"), labels=part["matchLabels"]))
        rule = {"name": "by-role", "namespaces": [namespace], "roleRef": {"kind": "ClusterRole", "name": unique}}
        agent = agent_factory({"rules": [rule]})
        eventually(
            lambda: agent.kubectl(f"get configmaps -n {namespace}").status == "succeeded",
            "the aggregated rules gave nothing",
        )
        secrets = agent.kubectl(f"get secrets -n {namespace}")
        assert (secrets.status, secrets.fields["reason"]) == ("denied", "SensitiveNotNamed")
        assert agent.kubectl(f"get services -n {namespace}").status == "denied"

        apply_role(role(f"{unique}-b", gives("get list", "services"), labels=part["matchLabels"]))
        eventually(
            lambda: agent.kubectl(f"get services -n {namespace}").status == "succeeded", "a new part gave nothing"
        )
        cluster.kubectl("delete", "clusterrole", f"{unique}-a")
        eventually(
            lambda: agent.kubectl(f"get configmaps -n {namespace}").status == "denied", "a part that went still gave"
        )

    def test_edit_is_followed_and_its_status_says_what_was_withheld(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        namespace = namespace_factory(labels=RESTRICTED)
        rule = {"namespaces": [namespace], "roleRef": {"kind": "ClusterRole", "name": "edit"}}
        agent = agent_factory({"rules": [rule]})
        policy = _policy_of(cluster, namespace)
        assert agent.kubectl(f"create configmap made -n {namespace}").status == "succeeded"
        assert agent.kubectl(f"get secrets -n {namespace}").status == "denied"
        eventually(lambda: condition(cluster, policy)[0] == "True", "the policy was not ready")
        status = json.loads(cluster.kubectl("get", "mcpap", policy, "--output=json").stdout)["status"]
        assert {"secrets", "pods/exec", "serviceaccounts/token"} <= set(status["withheld"])

    def test_a_missing_role_gives_nothing_and_the_policy_says_so(
        self,
        cluster: TestCluster,
        namespace_factory: NamespaceFactory,
        agent_factory: AgentFactory,
        apply_role: Callable[[dict[str, Any]], None],
    ) -> None:
        namespace, unique = namespace_factory(), f"missing-{uuid.uuid4().hex[:6]}"
        rule = {"name": "by-role", "namespaces": [namespace], "roleRef": {"kind": "ClusterRole", "name": unique}}
        agent = agent_factory({"rules": [rule]})
        policy = _policy_of(cluster, namespace)
        assert agent.kubectl(f"get configmaps -n {namespace}").status == "denied"
        assert f"by-role gives nothing: there is no ClusterRole {unique}" in agent.check_access().text
        eventually(lambda: condition(cluster, policy) == ("False", "RoleNotFound"), "the policy did not say so")
        assert condition(cluster, policy, "Active")[0] == "True"
        apply_role(role(unique, gives("get list", "configmaps")))
        eventually(
            lambda: agent.kubectl(f"get configmaps -n {namespace}").status == "succeeded",
            "the role that came gave nothing",
        )


def _policy_of(cluster: TestCluster, namespace: str) -> str:
    """The name of the one policy about the namespace."""
    found = json.loads(cluster.kubectl("get", "mcpap", "--output=json").stdout)["items"]
    (name,) = [item["metadata"]["name"] for item in found if namespace in json.dumps(item["spec"])]
    return str(name)
