"""What policies can say: from the object that an administrator writes to what an agent gets."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from devtools.demo.teams import AUDIENCE
from tests.integration.through_mcp.conftest import apply_policy, await_in_force, eventually
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


def condition(cluster: TestCluster, policy: str, kind: str = "Ready") -> tuple[str, str]:
    found = json.loads(cluster.kubectl("get", "mcpap", policy, "--output=json").stdout)
    conditions = {item["type"]: item for item in found.get("status", {}).get("conditions", [])}
    return (conditions[kind]["status"], conditions[kind]["reason"]) if kind in conditions else ("", "")


def test_describe_shows_that_commands_were_denied_and_not_whose(
    cluster: TestCluster, agent_factory: AgentFactory
) -> None:
    agent = agent_factory({"rules": [{"namespaces": ["shop"], **gives("get list", "configmaps")}]}, name="told")
    assert agent.kubectl("get secrets -n shop").fields["reason"] == "NotAllowed"
    (policy,) = (name for name in names(cluster) if name.startswith("told-"))

    def told() -> list[list[str]]:
        section = cluster.kubectl("describe", "mcpap", policy).stdout.partition("\nEvents:")[2]
        return [line.split() for line in section.splitlines()]

    eventually(lambda: any(line[:2] == ["Warning", "NotAllowed"] for line in told()), "no Event")
    assert not any(policy in line or "shop" in line for line in told()), "the client has the policy's name here"


def test_what_the_service_itself_may_not_is_told_apart_from_what_policy_denies(agent_factory: AgentFactory) -> None:
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list"]}
    agent = agent_factory({"rules": [{"namespaces": ["shop"], **leases}]}, name="beyond")
    answer = agent.kubectl("get leases -n shop")
    assert (answer.status, answer.fields["reason"]) == ("failed", "ServerRBAC"), answer
    assert "no policy can give more than its own RBAC" in answer.text


def names(cluster: TestCluster) -> list[str]:
    return cluster.kubectl("get", "mcpap", "--output=jsonpath={.items[*].metadata.name}").stdout.split()


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
        subjects = [{"kind": "ServiceAccount", "namespace": home, "name": "agent"} for home in homes.values()]
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


class TestOwnRights:
    def test_an_agent_gets_what_the_cluster_s_rbac_gives_it_and_loses_it_with_that(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        namespace, other = namespace_factory(), namespace_factory()
        agent = agent_factory({"rules": [{"name": "own", "namespaces": [namespace, other], "fromRBAC": True}]})
        subject = json.loads(cluster.kubectl("get", "mcpap", _policy_of(cluster, other), "-o", "json").stdout)
        account = "{namespace}:{name}".format(**subject["spec"]["subjects"][0])
        before = agent.kubectl(f"get configmaps -n {namespace}")
        assert (before.status, before.fields["reason"]) == ("denied", "NotInRBAC")

        bind = ("create", "rolebinding", "own", "--clusterrole=edit", f"--serviceaccount={account}")
        cluster.kubectl(*bind, "--namespace", namespace)
        eventually(
            lambda: agent.kubectl(f"create configmap made -n {namespace}").status == "succeeded",
            "the client's own right gave nothing",
        )
        eventually(
            lambda: agent.kubectl(f"get configmaps -n {namespace}").status == "succeeded", "a no was kept for too long"
        )
        assert agent.kubectl(f"get configmaps -n {other}").fields["reason"] == "NotInRBAC"
        assert agent.kubectl(f"auth can-i get configmaps -n {namespace}").stdout == "yes\n"
        assert agent.kubectl(f"auth can-i get configmaps -n {other}").stdout.startswith("no - ")
        assert "the list may be incomplete: what a rule with fromRBAC" in agent.kubectl("auth can-i --list").everything
        assert agent.kubectl(f"get secrets -n {namespace}").fields["reason"] == "SensitiveNotNamed"
        assert agent.kubectl("get configmaps -A").status == "denied"

        cluster.kubectl("delete", "rolebinding", "own", "--namespace", namespace)
        eventually(
            lambda: agent.kubectl(f"get configmaps -n {namespace}").status == "denied", "a right that went still gave"
        )

    def test_a_deny_by_labels_takes_what_the_cluster_s_rbac_gives(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        taken, left = namespace_factory(), namespace_factory()
        selector = {"matchLabels": {"kubernetes.io/metadata.name": taken}}
        agent = agent_factory(
            {
                "rules": [{"namespaces": [taken, left], "fromRBAC": True}],
                "deny": [{"namespaceSelector": selector, **gives("*", "configmaps")}],
            }
        )
        subject = json.loads(cluster.kubectl("get", "mcpap", _policy_of(cluster, left), "-o", "json").stdout)
        account = "{namespace}:{name}".format(**subject["spec"]["subjects"][0])
        for namespace in (taken, left):
            bind = ("create", "rolebinding", "own", "--clusterrole=edit", f"--serviceaccount={account}")
            cluster.kubectl(*bind, "--namespace", namespace)
        eventually(
            lambda: agent.kubectl(f"create configmap made -n {left}").status == "succeeded",
            "the client's own right gave nothing",
        )
        for command in ("get configmaps", "create configmap made", "delete configmap kube-root-ca.crt"):
            assert agent.kubectl(f"{command} -n {taken}").fields["reason"] == "DeniedByRule"


class TestDryRun:
    VERBS = "get list watch create update patch delete deletecollection"

    @pytest.fixture
    def namespace(self, cluster: TestCluster, namespace_factory: NamespaceFactory) -> str:
        namespace = namespace_factory(labels=RESTRICTED)
        cluster.kubectl("create", "configmap", "kept", "--namespace", namespace, "--from-literal=key=before")
        return namespace

    @pytest.fixture
    def agent(self, namespace: str, agent_factory: AgentFactory) -> Agent:
        rule = {"namespaces": [namespace], **gives(self.VERBS, "configmaps pods pods/exec")}
        return agent_factory({"mode": "DryRun", "rules": [rule]})

    @pytest.mark.parametrize(
        "command",
        [
            pytest.param("create configmap made -n {namespace}", id="create"),
            pytest.param("label configmap kept -n {namespace} seen=yes", id="patch"),
            pytest.param("replace -n {namespace} -f -", id="update"),
            pytest.param("apply -n {namespace} -f -", id="apply"),
            pytest.param("apply --server-side --force-conflicts -n {namespace} -f -", id="server-side apply"),
            pytest.param("delete configmap kept -n {namespace}", id="delete, with a body"),
            pytest.param("delete configmap kept -n {namespace} --now --cascade=orphan", id="delete, with options"),
            pytest.param("delete configmaps --all -n {namespace}", id="delete all"),
            pytest.param("delete --raw /api/v1/namespaces/{namespace}/configmaps", id="deletecollection"),
            pytest.param("delete --raw /api/v1/namespaces/{namespace}/configmaps?dryRun=None", id="with its own word"),
        ],
    )
    def test_nothing_changes_and_the_result_says_so_first(
        self, cluster: TestCluster, namespace: str, agent: Agent, command: str
    ) -> None:
        before = _state(cluster, namespace)
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"key": "after"}}
        stdin = {"stdin": json.dumps(manifest)} if command.endswith("-f -") else {}
        answer = agent.kubectl(command.format(namespace=namespace), **stdin)
        assert answer.status == "succeeded", answer.everything
        assert answer.text.startswith("DRY RUN, nothing changed\n")
        assert answer.fields["dry_run"] == "DRY RUN, nothing changed"
        assert _state(cluster, namespace) == before

    def test_a_read_is_no_dry_run_and_what_has_none_is_refused(self, namespace: str, agent: Agent) -> None:
        read = agent.kubectl(f"get configmap kept -n {namespace}")
        assert read.status == "succeeded"
        assert "DRY RUN" not in read.everything
        shell = agent.kubectl(f"exec kept -n {namespace} -- id")
        assert "uid=" not in shell.everything
        assert shell.status != "succeeded"

    def test_it_wins_over_a_policy_that_enforces(
        self, cluster: TestCluster, namespace: str, agent_factory: AgentFactory
    ) -> None:
        rule = {"namespaces": [namespace], **gives(self.VERBS, "configmaps")}
        agent = agent_factory({"rules": [rule]})
        subjects = json.loads(cluster.kubectl("get", "mcpap", _policy_of(cluster, namespace), "-o", "json").stdout)
        name = f"dry-{uuid.uuid4().hex[:6]}"
        spec = {"subjects": subjects["spec"]["subjects"], "mode": "DryRun", "rules": [rule]}
        apply_policy(cluster, name, spec)
        try:
            await_in_force(agent, name)
            before = _state(cluster, namespace)
            deleted = agent.kubectl(f"delete configmap kept -n {namespace} --wait=false")
            assert deleted.text.startswith("DRY RUN, nothing changed\n")
            assert _state(cluster, namespace) == before
        finally:
            cluster.kubectl("delete", "mcpap", name)


def _state(cluster: TestCluster, namespace: str) -> dict[str, str]:
    """The version of every ConfigMap and Pod of the namespace."""
    found = json.loads(cluster.kubectl("get", "configmaps,pods", "-n", namespace, "-o", "json").stdout)["items"]
    return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"] for item in found}


class TestAudit:
    def test_reads_pass_and_are_recorded_down_to_the_floor(
        self,
        cluster: TestCluster,
        installed: InstalledService,
        namespace_factory: NamespaceFactory,
        agent_factory: AgentFactory,
    ) -> None:
        namespace = namespace_factory()
        cluster.kubectl("create", "configmap", "seen", "--namespace", namespace)
        agent = agent_factory({"mode": "Audit", "expiresAfter": "1h", "description": f"for {namespace}"})

        read = agent.kubectl(f"get configmap seen -n {namespace} -o name")
        assert (read.status, read.stdout) == ("succeeded", "configmap/seen\n")
        everything = agent.kubectl("get configmaps -A -o custom-columns=NS:.metadata.namespace,NAME:.metadata.name")
        assert namespace in everything.stdout
        assert "kube-system" not in everything.everything
        assert "k8s-mcp-system" not in everything.everything
        for below in (
            f"get secrets -n {namespace}",
            f"create configmap made -n {namespace}",
            f"delete configmap seen -n {namespace}",
            "get configmaps -n kube-system",
            "get configmaps -n k8s-mcp-system",
        ):
            assert agent.kubectl(below).status == "denied", below
        lines = [json.loads(line) for line in installed.audit_log.read_text(encoding="utf-8").splitlines()]
        policy = _policy_of(cluster, namespace)
        audited = [line for line in lines if line["kind"] == "Request" and line["policy"] == policy]
        assert {"audit"} == {line["verdict"] for line in audited if line["attributes"].get("resource") == "configmaps"}
        assert {"NotAllowed"} == {line["reason"] for line in audited if line["verdict"] == "audit"}
