"""Attacks on namespaces and on what runs in them, against the real API server through MCP.

The service's ServiceAccount is cluster-admin here: nothing but the policies stands between an agent and the cluster, so
what they wrongly allowed would happen.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from devtools.demo.teams import AGENTS_NAMESPACE
from tests.integration.through_mcp.conftest import eventually
from tests.support.threats import ENFORCE, EVERY_VERB, IMAGE, OWN, Running, denied, exists, pod, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtools.cluster import TestCluster
    from tests.integration.conftest import NamespaceFactory
    from tests.integration.through_mcp.conftest import AgentFactory
    from tests.support.agent import Agent


pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("no_ceiling")]


class TestWorkloads:
    """Workloads as a way to the node, and to other ServiceAccounts."""

    RIGHTS = (
        rule(EVERY_VERB, "pods podtemplates replicationcontrollers"),
        rule(EVERY_VERB, "deployments statefulsets daemonsets replicasets", groups="apps"),
        rule(EVERY_VERB, "jobs cronjobs", groups="batch"),
    )
    HOSTILE: ClassVar[dict[str, Any]] = {
        "hostPath": {"volumes": [{"name": "disk", "hostPath": {"path": "/"}}]},
        "hostPID": {"hostPID": True},
        "privileged": {"containers": [{"name": "main", "image": IMAGE, "securityContext": {"privileged": True}}]},
        "another's ServiceAccount": {"serviceAccountName": "rich"},
    }

    @pytest.mark.parametrize("level", [None, "privileged"])
    @pytest.mark.parametrize("what", list(HOSTILE))
    def test_no_pod_is_written_where_pod_security_does_not_enforce(
        self, namespace_factory: NamespaceFactory, agent_factory: AgentFactory, what: str, level: str | None
    ) -> None:
        namespace = namespace_factory(labels={ENFORCE: level} if level else {})
        agent = agent_factory({"rules": [{**item, "namespaces": [namespace]} for item in self.RIGHTS]})
        for command in ("create", "apply", "apply --server-side"):
            answer = agent.kubectl(f"{command} -n {namespace} -f -", stdin=json.dumps(pod("p", **self.HOSTILE[what])))
            assert denied(answer, "PrivilegedWorkload"), answer.everything

    def test_no_kind_with_a_pod_template_is_written_there_either(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        namespace = namespace_factory()
        cluster.kubectl("create", "deployment", "old", "-n", namespace, f"--image={IMAGE}")
        agent = agent_factory({"rules": [{**item, "namespaces": [namespace]} for item in self.RIGHTS]})
        for command in (
            f"create deployment d --image={IMAGE}",
            f"create job j --image={IMAGE}",
            f"create cronjob c --image={IMAGE} --schedule '* * * * *'",
            "set image deployment/old *=registry.example.com/app:2.0",
            "rollout restart deployment/old",
            'patch deployment old -p \'{"spec":{"template":{"spec":{"hostPID":true}}}}\'',
            f"run p --image={IMAGE}",
        ):
            answer = agent.kubectl(f"{command} -n {namespace}")
            assert denied(answer, "PrivilegedWorkload"), (command, answer.everything)
        template = pod("p", hostPID=True)
        for version, kind in (
            ("apps/v1", "DaemonSet"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "ReplicaSet"),
            ("v1", "ReplicationController"),
        ):
            spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
            body = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec}
            answer = agent.kubectl(f"create --validate=false -n {namespace} -f -", stdin=json.dumps(body))
            assert denied(answer, "PrivilegedWorkload"), (kind, answer.everything)
        body = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
        assert denied(agent.kubectl(f"create -n {namespace} -f -", stdin=json.dumps(body)), "PrivilegedWorkload")

    @pytest.mark.parametrize("what", ["hostPath", "hostPID", "privileged"])
    def test_where_it_enforces_the_api_server_refuses_what_reaches_the_node(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory, what: str
    ) -> None:
        namespace = namespace_factory(labels={ENFORCE: "baseline"})
        agent = agent_factory({"rules": [{**item, "namespaces": [namespace]} for item in self.RIGHTS]})
        answer = agent.kubectl(f"create -n {namespace} -f -", stdin=json.dumps(pod("p", **self.HOSTILE[what])))
        assert answer.status == "failed"
        assert "violates PodSecurity" in answer.everything
        assert agent.kubectl(f"run harmless -n {namespace} --image={IMAGE}").status == "succeeded"
        assert cluster.kubectl("get", "pod", "p", "-n", namespace, check=False).returncode != 0

    def test_the_author_is_warned_of_what_workload_writes_amount_to(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        namespace = namespace_factory(labels={ENFORCE: "baseline"})
        agent = agent_factory({"rules": [{**self.RIGHTS[0], "namespaces": [namespace]}]})

        def warned() -> bool:
            body = json.loads(cluster.kubectl("get", "mcpap", agent.account, "-o", "json").stdout)
            conditions = {item["type"]: item for item in body.get("status", {}).get("conditions", [])}
            return "every Secret and ServiceAccount" in conditions.get("Warnings", {}).get("message", "")

        eventually(warned, "the policy's status did not warn")


class TestIdentities:
    """Another client's identity."""

    def test_no_spelling_gets_a_token_for_our_audience_and_another_audience_does(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        namespace = namespace_factory(labels={ENFORCE: "baseline"})
        rights = rule("create", "serviceaccounts/token", namespaces=[namespace, AGENTS_NAMESPACE])
        agent = agent_factory({"rules": [rights]})
        assert agent.kubectl(f"create token default -n {namespace} --audience other").status == "succeeded"
        for audiences in ("--audience k8s-mcp-server", "--audience other --audience k8s-mcp-server"):
            answer = agent.kubectl(f"create token default -n {namespace} {audiences}")
            assert denied(answer, "NeverAllowed"), answer.everything
            assert "eyJ" not in answer.everything
        victim = agent_factory({"rules": []}).account
        answer = agent.kubectl(f"create token {victim} -n {AGENTS_NAMESPACE} --audience k8s-mcp-server")
        assert denied(answer, "NeverAllowed"), answer.everything
        del cluster

    def test_a_token_for_another_audience_is_no_identity_here(
        self, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        namespace = namespace_factory()
        agent = agent_factory({"rules": [rule("create", "serviceaccounts/token", namespaces=[namespace])]})
        made = agent.kubectl(f"create token default -n {namespace} --audience other").stdout.strip()
        assert made.startswith("eyJ")
        assert replace(agent, token=made).http_status() == HTTPStatus.UNAUTHORIZED
        assert agent.http_status() == HTTPStatus.OK


class TestNamespaceLabels:
    """The namespace's own labels."""

    @pytest.mark.parametrize(
        "command",
        [
            f"label namespace {{}} {ENFORCE}-",
            f"label namespace {{}} {ENFORCE}=privileged --overwrite",
            "label namespace {} acme.example/team=red --overwrite",
            'patch namespace {} --type=merge -p \'{{"metadata":{{"labels":null}}}}\'',
            "create namespace another-one",
            "delete namespace {}",
            "replace --raw /api/v1/namespaces/{}/finalize -f -",
            "annotate namespace {} a=b",
        ],
    )
    def test_no_wildcard_writes_a_namespace(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory, command: str
    ) -> None:
        namespace = namespace_factory(labels={ENFORCE: "baseline"})
        scopes: tuple[dict[str, Any], ...] = ({"namespaces": [namespace, "*"]}, {"clusterScoped": True})
        agent = agent_factory({"rules": [rule("*", "*", **scope) for scope in scopes]})
        before = json.loads(cluster.kubectl("get", "namespace", namespace, "-o", "json").stdout)
        body = {**before, "spec": {"finalizers": []}}
        stdin = {"stdin": json.dumps(body)} if command.endswith("-f -") else {}
        answer = agent.kubectl(command.format(namespace), **stdin)
        assert denied(answer, "SensitiveNotNamed", "NotAllowed"), answer.everything
        after = json.loads(cluster.kubectl("get", "namespace", namespace, "-o", "json").stdout)
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        assert cluster.kubectl("get", "namespace", "another-one", check=False).returncode != 0


PROTECTED = ("kube-system", "kube-public", "argocd", "istio-system")


@pytest.fixture(scope="module")
def marked(cluster: TestCluster) -> Iterator[str]:
    """Protected namespaces with a label that selectors select, and a ConfigMap in each."""
    made = [name for name in ("argocd", "istio-system") if not exists(cluster, "namespace", name)]
    for name in made:
        cluster.kubectl("create", "namespace", name)
    mark = f"mark-{uuid.uuid4().hex[:8]}"
    for name in (*PROTECTED, OWN):
        cluster.kubectl("label", "namespace", name, f"{mark}=yes")
        cluster.kubectl("create", "configmap", mark, "-n", name)
    yield mark
    for name in (*PROTECTED, OWN):
        cluster.kubectl("label", "namespace", name, f"{mark}-")
        cluster.kubectl("delete", "configmap", mark, "-n", name)
    if made:
        cluster.kubectl("delete", "namespace", *made)


class TestProtectedNamespaces:
    """Protected namespaces, and the service's own."""

    @pytest.fixture
    def reader(self, marked: str, namespace_factory: NamespaceFactory, agent_factory: AgentFactory) -> Agent:
        """May do everything in every namespace, by glob and by label."""
        namespace_factory(labels={marked: "yes"})
        scopes: tuple[dict[str, Any], ...] = (
            {"namespaces": ["*", "kube-*", "*-system", "argo*"]},
            {"namespaceSelector": {"matchLabels": {marked: "yes"}}},
        )
        return agent_factory({"rules": [rule("*", "*", **scope) for scope in scopes]})

    def test_globs_and_selectors_reach_none_of_them(self, reader: Agent, marked: str) -> None:
        for name in PROTECTED:
            for command in (f"get configmap {marked}", "get configmaps", f"delete configmap {marked}"):
                answer = reader.kubectl(f"{command} -n {name}")
                assert denied(answer, "ProtectedNamespace"), (command, name, answer.everything)
        for command in (f"get configmap {marked}", "get pods", f"create configmap x{marked}"):
            assert denied(reader.kubectl(f"{command} -n {OWN}"), "OwnNamespace")

    @pytest.mark.parametrize(
        "command",
        [
            "get configmaps -A",
            "get configmaps -A -o json",
            "get configmaps -A -o yaml --chunk-size=1",
            "get configmaps -A -o name",
            "get --raw /api/v1/configmaps",
            "get configmaps -A --field-selector metadata.name={mark}",
            "get namespaces",
            "get namespaces -o json",
            "get namespaces -l {mark}=yes",
        ],
    )
    def test_lists_hold_none_of_them(self, reader: Agent, marked: str, command: str) -> None:
        answer = reader.kubectl(command.format(mark=marked))
        assert answer.status == "succeeded", answer.everything
        shown = answer.stdout.replace(f"={OWN}", "")
        assert not [name for name in (*PROTECTED, OWN) if name in shown]

    @pytest.mark.parametrize("command", ["get configmaps -A -w -o json", "get namespaces -w -o name"])
    def test_watches_hold_none_of_them(self, cluster: TestCluster, reader: Agent, marked: str, command: str) -> None:
        with Running(cluster, reader, command, timeout=6) as running:
            running.await_request("watch")
            for name in (*PROTECTED, OWN):
                cluster.kubectl("annotate", "configmap", marked, "-n", name, f"touched={uuid.uuid4()}", "--overwrite")
                cluster.kubectl("annotate", "namespace", name, f"touched={uuid.uuid4()}", "--overwrite")
            answer = running.answer()
        assert answer.status == "timed_out"
        assert not [name for name in (*PROTECTED, OWN) if name in answer.stdout]

    def test_the_literal_name_reaches_a_protected_one_and_never_ours(
        self, agent_factory: AgentFactory, marked: str
    ) -> None:
        scope: dict[str, Any] = {"namespaces": [*PROTECTED, OWN]}
        agent = agent_factory({"rules": [rule("*", "*", **scope), rule(EVERY_VERB, "namespaces", clusterScoped=True)]})
        for name in PROTECTED:
            assert agent.kubectl(f"get configmap {marked} -n {name}").status == "succeeded"
        for command in (
            f"get configmap {marked} -n {OWN}",
            f"get namespace {OWN}",
            f"label namespace {OWN} a=b",
            f"delete namespace {OWN}",
            f"delete pods --all -n {OWN}",
        ):
            assert denied(agent.kubectl(command), "OwnNamespace"), command
        assert OWN not in agent.kubectl("get configmaps -A -o custom-columns=N:.metadata.namespace").stdout
        assert OWN not in agent.kubectl("get namespaces -o name").stdout
