"""What an attacker tries, attack by attack of docs/threat-model.md, against the real API server through MCP.

The service's ServiceAccount is cluster-admin here: nothing but the policies stands between an agent and the cluster,
so what they wrongly allowed would happen.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pytest

from devtools.demo.teams import AGENTS_NAMESPACE
from tests.integration.through_mcp.conftest import apply_policy, await_in_force, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtools.cluster import TestCluster
    from tests.integration.conftest import NamespaceFactory
    from tests.integration.through_mcp.conftest import AgentFactory
    from tests.support.agent import Agent, Answer

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("no_ceiling")]

ENFORCE = "pod-security.kubernetes.io/enforce"
OWN, OWN_ACCOUNT = "k8s-mcp-system", "k8s-mcp-server"
EVERY_VERB = "get list watch create update patch delete deletecollection"
LONG_SECONDS = 45  # of a command that only its revocation ends in time
REVOKED_SECONDS = 10.0  # within which it does: a second is the aim, and a test machine may be busy
TOKEN_SECONDS = 40.0 + 5.0  # docs/operating.md, and the time that the last call takes
IMAGE = "registry.example.com/app:1.0"


@pytest.fixture(scope="module")
def no_ceiling(cluster: TestCluster) -> Iterator[None]:
    """The service may do everything."""
    name = f"no-ceiling-{uuid.uuid4().hex[:6]}"
    cluster.kubectl(
        "create",
        "clusterrolebinding",
        name,
        "--clusterrole=cluster-admin",
        f"--serviceaccount={OWN}:{OWN_ACCOUNT}",
    )
    yield
    cluster.kubectl("delete", "clusterrolebinding", name)


def rule(verbs: str, resources: str, *, groups: str = "-", **scope: Any) -> dict[str, Any]:
    """Words between blanks; ``-`` is the core group."""
    api_groups = [group.removeprefix("-") for group in groups.split()]
    return {"apiGroups": api_groups, "resources": resources.split(), "verbs": verbs.split(), **scope}


def denied(answer: Answer, *reasons: str) -> bool:
    """Refused by policy, for one of these reasons."""
    return answer.status == "denied" and (not reasons or answer.fields["reason"] in reasons)


def change_policy(cluster: TestCluster, name: str, **spec: Any) -> None:
    """Set fields of a policy's spec; None removes one."""
    cluster.kubectl("patch", "mcpap", name, "--type=merge", "--patch", json.dumps({"spec": spec}))


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """A harmless Pod, but for ``spec``."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": IMAGE}], **spec},
    }


class Running:
    """A command under way, in a thread of its own; a context manager that waits for its end."""

    def __init__(self, cluster: TestCluster, agent: Agent, command: str, **arguments: Any) -> None:
        if cluster.audit_log is None:
            pytest.skip("this cluster's audit log, which tells when a request has begun, cannot be read")
        self._log = cluster.audit_log
        self._offset = self._log.stat().st_size
        self._agent = agent
        self._answers: list[Answer] = []
        self._thread = threading.Thread(
            target=lambda: self._answers.append(agent.kubectl(command, **{"timeout": LONG_SECONDS, **arguments}))
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(LONG_SECONDS + 10)

    def await_request(self, verb: str, *, subresource: str = "") -> None:
        """Wait until the API server answers a request of the command's."""
        eventually(lambda: self._has_begun(verb, subresource), f"no {verb} {subresource} had begun")

    def answer(self, *, within: float = LONG_SECONDS + 10) -> Answer:
        """The command's answer, which comes within so many seconds."""
        self._thread.join(within)
        assert self._answers, f"the command still ran after {within:.0f} s"
        return self._answers[0]

    def _has_begun(self, verb: str, subresource: str) -> bool:
        with self._log.open("rb") as log:
            log.seek(self._offset)
            lines = [line for line in log if self._agent.account.encode() in line]
        events = [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"\n")]
        ours = [event for event in events if self._is_ours(event)]
        return (verb, subresource) in {
            (event["verb"], event.get("objectRef", {}).get("subresource", "")) for event in ours
        }

    def _is_ours(self, event: dict[str, Any]) -> bool:
        client = event.get("impersonatedUser", {}).get("extra", {}).get("k8s-mcp.io/client", [""])[0]
        return str(client).endswith(f":{self._agent.account}")


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
    made = [name for name in ("argocd", "istio-system") if not _exists(cluster, "namespace", name)]
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


def _exists(cluster: TestCluster, *words: str) -> bool:
    return cluster.kubectl("get", *words, check=False).returncode == 0


class TestModes:
    """Audit and DryRun as a way in."""

    def test_a_policy_of_another_mode_ends_what_audit_lets_pass(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        namespace = namespace_factory()
        agent = agent_factory({"mode": "Audit", "expiresAfter": "1h"})
        assert agent.kubectl(f"get configmaps -n {namespace}").status == "succeeded"
        name = f"{agent.account}-2"
        subjects = [{"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": agent.account}]
        apply_policy(cluster, name, {"subjects": subjects, "suspend": True})
        try:
            await_in_force(agent, name)
            assert denied(agent.kubectl(f"get configmaps -n {namespace}"), "NotAllowed")
        finally:
            cluster.kubectl("delete", "mcpap", name)

    def test_an_audit_cannot_be_had_for_longer_by_changing_it(
        self, cluster: TestCluster, agent_factory: AgentFactory
    ) -> None:
        agent = agent_factory({"mode": "Audit", "expiresAfter": "1h"})
        for spec in ({"expiresAfter": "721h"}, {"expiresAfter": None}, {"expiresAt": "2099-01-01T00:00:00Z"}):
            patch = json.dumps({"spec": spec})
            refused = cluster.kubectl("patch", "mcpap", agent.account, "--type=merge", "-p", patch, check=False)
            assert refused.returncode != 0

    def test_a_dry_run_deletes_nothing_however_its_options_are_sent(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        namespace = namespace_factory()
        cluster.kubectl("create", "configmap", "kept", "-n", namespace)
        agent = agent_factory({"mode": "DryRun", "rules": [rule("*", "configmaps", namespaces=[namespace])]})
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        for command in (
            "delete configmap kept",
            "delete configmap kept --grace-period=0 --force",
            "delete configmap kept --dry-run=none",
            "delete configmaps --all",
            f"delete --raw {path}/kept",
            f"delete --raw {path}/kept?dryRun=",
            f"delete --raw {path}?dryRun=None",
        ):
            agent.kubectl(f"{command} -n {namespace}", timeout=20)
            assert _exists(cluster, "configmap", "kept", "-n", namespace), command


class TestDenies:
    """The policy that holds the deny."""

    BROKEN: ClassVar[dict[str, Any]] = {
        "expiresAt": "0000-01-01T00:00:00Z"
    }  # the schema lets it pass; Python knows no such year

    @pytest.fixture
    def namespace(self, namespace_factory: NamespaceFactory) -> str:
        return namespace_factory()

    @pytest.fixture
    def agent(self, namespace: str, agent_factory: AgentFactory) -> Agent:
        """One policy allows ConfigMaps and Services."""
        return agent_factory({"rules": [rule("get list", "configmaps services", namespaces=[namespace])]})

    @pytest.fixture
    def denying(self, cluster: TestCluster, namespace: str, agent: Agent) -> Iterator[str]:
        """Another denies ConfigMaps."""
        name = f"{agent.account}-deny"
        subjects = [{"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": agent.account}]
        deny = [rule("*", "configmaps", namespaces=[namespace])]
        apply_policy(cluster, name, {"subjects": subjects, "rules": [], "deny": deny})
        await_in_force(agent, name)
        yield name
        cluster.kubectl("delete", "mcpap", name, "--ignore-not-found")

    @pytest.mark.parametrize("state", ["suspended", "expired"])
    def test_its_denies_outlive_it(
        self, cluster: TestCluster, namespace: str, agent: Agent, denying: str, *, state: str
    ) -> None:
        assert denied(agent.kubectl(f"get configmaps -n {namespace}"), "DeniedByRule")
        ends: dict[str, Any] = {"suspended": {"suspend": True}, "expired": {"expiresAt": "2020-01-01T00:00:00Z"}}
        change_policy(cluster, denying, **ends[state])
        eventually(lambda: f"{denying}: {state}" in agent.check_access().text, f"the policy was not {state}")
        assert denied(agent.kubectl(f"get configmaps -n {namespace}"), "DeniedByRule")
        assert agent.kubectl(f"get services -n {namespace}").status == "succeeded"

    def test_while_it_cannot_be_read_its_clients_are_refused_everything(
        self, cluster: TestCluster, namespace: str, agent: Agent, denying: str
    ) -> None:
        change_policy(cluster, denying, **self.BROKEN)
        eventually(
            lambda: denied(agent.kubectl(f"get services -n {namespace}"), "PolicyInvalid"),
            "the clients of an unreadable policy were served",
        )
        assert denied(agent.kubectl(f"get configmaps -n {namespace}"), "PolicyInvalid")
        change_policy(cluster, denying, expiresAt=None)
        eventually(
            lambda: agent.kubectl(f"get services -n {namespace}").status == "succeeded", "a mended policy did not count"
        )
        assert denied(agent.kubectl(f"get configmaps -n {namespace}"), "DeniedByRule")

    def test_one_that_gives_nothing_when_it_cannot_be_read_refuses_nobody(
        self, cluster: TestCluster, namespace: str, agent: Agent
    ) -> None:
        name = f"{agent.account}-more"
        subjects = [{"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": agent.account}]
        apply_policy(cluster, name, {"subjects": subjects, "rules": [rule("get", "pods", namespaces=[namespace])]})
        try:
            await_in_force(agent, name)
            change_policy(cluster, name, **self.BROKEN)
            eventually(lambda: denied(agent.kubectl(f"get pods x -n {namespace}")), "an unreadable policy gave")
            assert agent.kubectl(f"get services -n {namespace}").status == "succeeded"
        finally:
            cluster.kubectl("delete", "mcpap", name)


class TestTools:
    """Rights of one policy, with the CLI of another."""

    CONFIG_MAPS: ClassVar[dict[str, Any]] = rule("get list watch create", "configmaps")
    RELEASES: ClassVar[dict[str, Any]] = rule("get list", "releases", groups="helm.sh")

    @pytest.fixture
    def namespace(self, namespace_factory: NamespaceFactory) -> str:
        return namespace_factory()

    @pytest.fixture
    def agent(self, cluster: TestCluster, namespace: str, agent_factory: AgentFactory) -> Iterator[Agent]:
        """Policy A gives ConfigMaps, and to helm; policy B Helm's releases and Pods, and to kubectl."""
        agent = agent_factory({"tools": ["helm"], "rules": [{**self.CONFIG_MAPS, "namespaces": [namespace]}]})
        name = f"{agent.account}-b"
        subjects = [{"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": agent.account}]
        rules = [{**item, "namespaces": [namespace]} for item in (self.RELEASES, rule("list", "pods"))]
        apply_policy(cluster, name, {"subjects": subjects, "tools": ["kubectl"], "rules": rules})
        await_in_force(agent, name)
        yield agent
        cluster.kubectl("delete", "mcpap", name)

    def test_a_rule_counts_for_the_tools_of_its_own_policy_alone(
        self, cluster: TestCluster, namespace: str, agent: Agent
    ) -> None:
        assert agent.kubectl(f"get pods -n {namespace}").status == "succeeded"
        for command in ("get configmaps", "create configmap made"):
            assert denied(agent.kubectl(f"{command} -n {namespace}")), command
        assert not _exists(cluster, "configmap", "made", "-n", namespace)
        listed = agent.call("execute_helm", {"command": f"list -n {namespace}"})
        assert denied(listed), listed.everything

    def test_policies_that_list_both_tools_give_to_both(
        self, cluster: TestCluster, namespace: str, agent: Agent
    ) -> None:
        for name in (agent.account, f"{agent.account}-b"):
            change_policy(cluster, name, tools=["kubectl", "helm"])
        eventually(
            lambda: agent.kubectl(f"get configmaps -n {namespace}").status == "succeeded", "a tool did not count"
        )
        eventually(
            lambda: agent.call("execute_helm", {"command": f"list -n {namespace}"}).status == "succeeded",
            "the other tool did not count",
        )


class TestNewNamespaces:
    """A namespace created or relabelled a moment ago."""

    SECURE: ClassVar[dict[str, str]] = {"acme.example/secure": "yes"}

    @pytest.fixture
    def agent(self, agent_factory: AgentFactory) -> Agent:
        """Reads every namespace, but none that is labelled as secure."""
        everything = rule("get list watch", "configmaps")
        selector = {"namespaceSelector": {"matchLabels": self.SECURE}}
        return agent_factory({"rules": [{**everything, "namespaces": ["*"]}], "deny": [{**everything, **selector}]})

    def test_it_is_never_seen_before_the_denies_that_select_it(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent: Agent
    ) -> None:
        for _ in range(3):
            secure, plain = namespace_factory(labels=self.SECURE), namespace_factory()
            cluster.kubectl("create", "configmap", f"hidden-{secure}", "-n", secure)
            seen = False
            while not seen:
                listed = agent.kubectl("get configmaps -A -o name")
                assert f"hidden-{secure}" not in listed.everything
                assert denied(agent.kubectl(f"get configmaps -n {secure}"))
                seen = agent.kubectl(f"get configmaps -n {plain}").status == "succeeded"

    def test_a_label_that_a_deny_selects_ends_what_was_allowed(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent: Agent
    ) -> None:
        namespace = namespace_factory()
        cluster.kubectl("create", "configmap", f"seen-{namespace}", "-n", namespace)
        eventually(
            lambda: agent.kubectl(f"get configmaps -n {namespace}").status == "succeeded", "a namespace was unknown"
        )
        cluster.kubectl("label", "namespace", namespace, "acme.example/secure=yes")
        eventually(
            lambda: denied(agent.kubectl(f"get configmaps -n {namespace}")), "a namespace under a deny was readable"
        )
        assert f"seen-{namespace}" not in agent.kubectl("get configmaps -A").everything

    def test_a_namespace_made_anew_under_an_old_name_is_judged_by_its_new_labels(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent: Agent
    ) -> None:
        namespace = namespace_factory()
        eventually(
            lambda: agent.kubectl(f"get configmaps -n {namespace}").status == "succeeded", "a namespace was unknown"
        )
        cluster.kubectl("delete", "namespace", namespace)
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": self.SECURE}}
        cluster.kubectl("create", "-f", "-", input=json.dumps(manifest))
        cluster.kubectl("create", "configmap", f"hidden-{namespace}", "-n", namespace)
        eventually(
            lambda: denied(agent.kubectl(f"get configmaps -n {namespace}")), "a namespace made anew kept its old labels"
        )


class TestEscalation:
    """The pod's rights, for good."""

    GROUPS = (
        "rbac.authorization.k8s.io certificates.k8s.io admissionregistration.k8s.io apiextensions.k8s.io "
        "apiregistration.k8s.io authentication.k8s.io authorization.k8s.io"
    )
    RBAC = "rbac.authorization.k8s.io/v1"
    OBJECTS: ClassVar[dict[str, dict[str, Any]]] = {
        "a RoleBinding": {
            "apiVersion": RBAC,
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": "default"}],
        },
        "a ClusterRoleBinding": {
            "apiVersion": RBAC,
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": "default"}],
        },
        "a ClusterRole": {
            "apiVersion": RBAC,
            "kind": "ClusterRole",
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
        },
        "a signing request": {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "spec": {"request": "AAAA", "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
        },
        "a webhook": {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "webhooks": [],
        },
        "an API service": {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "spec": {"group": "evil.example", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1},
        },
        "a definition with a conversion": {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "spec": {
                "group": "evil.example",
                "names": {"kind": "Evil", "plural": "evils"},
                "scope": "Cluster",
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": {"type": "object"}},
                    }
                ],
            },
        },
    }

    @pytest.mark.parametrize("what", list(OBJECTS))
    def test_no_wildcard_writes(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory, what: str
    ) -> None:
        namespace = namespace_factory()
        scopes: tuple[dict[str, Any], ...] = ({"namespaces": ["*"]}, {"clusterScoped": True})
        agent = agent_factory({"rules": [rule("*", "*", groups=self.GROUPS, **scope) for scope in scopes]})
        name = "evils.evil.example" if "definition" in what else f"evil-{uuid.uuid4().hex[:6]}"
        body = {**self.OBJECTS[what], "metadata": {"name": name}}
        for command in ("create", "apply --server-side"):
            answer = agent.kubectl(f"{command} --validate=false -n {namespace} -f -", stdin=json.dumps(body))
            assert denied(answer, "SensitiveNotNamed"), answer.everything
        assert not _exists(cluster, str(body["kind"]), name, "-n", namespace)

    @pytest.mark.parametrize(
        "command",
        [
            "delete crd mcpaccesspolicies.k8s-mcp.io",
            "label crd mcpaccesspolicies.k8s-mcp.io a=b",
            "patch crd mcpaccesspolicies.k8s-mcp.io --type=merge -p '{}'",
            "patch crd mcpaccesspolicies.k8s-mcp.io --subresource=status --type=merge -p '{}'",
            "delete crd --all",
        ],
    )
    def test_our_own_definition_is_out_of_reach_though_definitions_are_named(
        self, cluster: TestCluster, agent_factory: AgentFactory, command: str
    ) -> None:
        named = "customresourcedefinitions customresourcedefinitions/status"
        rights = rule("*", named, groups="apiextensions.k8s.io", clusterScoped=True)
        agent = agent_factory({"rules": [rights]})
        before = cluster.kubectl("get", "crd", "-o", "name").stdout
        assert denied(agent.kubectl(f"{command} --dry-run=server"), "NeverAllowed", "Several")
        assert cluster.kubectl("get", "crd", "-o", "name").stdout == before


class TestPolicyWriting:
    """Writing policies."""

    @pytest.mark.parametrize(
        "command",
        [
            "create -f -",
            "apply --server-side -f -",
            "delete mcpap {mine}",
            "delete mcpap --all",
            'patch mcpap {mine} --type=merge -p \'{{"spec":{{"suspend":true}}}}\'',
            "patch mcpap {mine} --subresource=status --type=merge -p '{{\"status\":{{}}}}'",
            "label mcpap {mine} a=b",
        ],
    )
    def test_no_policy_lets_anybody_write_one(
        self, cluster: TestCluster, agent_factory: AgentFactory, command: str
    ) -> None:
        named = "mcpaccesspolicies mcpaccesspolicies/status"
        agent = agent_factory({"rules": [rule("*", named, groups="k8s-mcp.io", clusterScoped=True)]})
        before = cluster.kubectl("get", "mcpap", "-o", "name").stdout
        mine = {
            "apiVersion": "k8s-mcp.io/v1alpha1",
            "kind": "McpAccessPolicy",
            "metadata": {"name": f"{agent.account}-2"},
            "spec": {"subjects": [{"kind": "Group", "name": "system:serviceaccounts"}], "rules": []},
        }
        stdin = {"stdin": json.dumps(mine)} if command.endswith("-f -") else {}
        answer = agent.kubectl(command.format(mine=agent.account), **stdin)
        assert denied(answer, "NeverAllowed"), answer.everything
        assert cluster.kubectl("get", "mcpap", "-o", "name").stdout == before
        assert agent.kubectl(f"get mcpap {agent.account}").status == "succeeded"

    def test_the_service_s_account_writes_none_though_it_holds_every_right(self, cluster: TestCluster) -> None:
        spec = {"subjects": [{"kind": "User", "name": "x"}], "rules": []}
        body = {"apiVersion": "k8s-mcp.io/v1alpha1", "kind": "McpAccessPolicy", "metadata": {"name": "x"}, "spec": spec}
        account = f"--as=system:serviceaccount:{OWN}:{OWN_ACCOUNT}"
        refused = cluster.kubectl("create", "-f", "-", account, input=json.dumps(body), check=False)
        assert refused.returncode != 0
        assert "ValidatingAdmissionPolicy" in refused.stderr


class TestRevocation:
    """What was revoked, in further ways than those of test_revocation.py."""

    READ: ClassVar[dict[str, Any]] = rule("get list watch", "configmaps")
    OTHER: ClassVar[dict[str, Any]] = {"kind": "User", "name": "nobody"}

    @pytest.mark.parametrize(
        "spec",
        [
            pytest.param({"rules": [rule("get list", "configmaps", namespaces=["*"])]}, id="without the verb"),
            pytest.param({"subjects": [OTHER]}, id="for somebody else"),
            pytest.param({"mode": "Audit", "expiresAfter": "1m", "rules": []}, id="in mode Audit, and expired"),
            pytest.param({"expiresAt": "0000-01-01T00:00:00Z"}, id="unreadable"),
        ],
    )
    def test_a_watch_ends_when_its_policy_is(
        self,
        cluster: TestCluster,
        namespace_factory: NamespaceFactory,
        agent_factory: AgentFactory,
        spec: dict[str, Any],
    ) -> None:
        namespace = namespace_factory()
        agent = agent_factory({"rules": [{**self.READ, "namespaces": [namespace]}]})
        with Running(cluster, agent, f"get configmaps -n {namespace} --watch") as running:
            running.await_request("watch")
            change_policy(cluster, agent.account, **spec)
            answer = running.answer(within=REVOKED_SECONDS)
        assert denied(answer), answer.everything

    def test_a_watch_of_one_namespace_ends_when_its_labels_no_longer_select_it(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        label = f"team-{uuid.uuid4().hex[:6]}"
        namespace = namespace_factory(labels={label: "a"})
        selector = {"namespaceSelector": {"matchLabels": {label: "a"}}}
        agent = agent_factory({"rules": [{**self.READ, **selector}]})
        with Running(cluster, agent, f"get configmaps -n {namespace} --watch") as running:
            running.await_request("watch")
            cluster.kubectl("label", "namespace", namespace, f"{label}=b", "--overwrite")
            assert denied(running.answer(within=REVOKED_SECONDS))

    def test_a_watch_of_all_namespaces_shows_nothing_more_of_one_that_was_taken_away(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        kept, taken = namespace_factory("kept"), namespace_factory("taken")
        agent = agent_factory({"rules": [{**self.READ, "namespaces": [kept, taken]}]})
        with Running(cluster, agent, "get configmaps -A --watch -o name", timeout=20) as running:
            running.await_request("watch")
            change_policy(cluster, agent.account, rules=[{**self.READ, "namespaces": [kept]}])
            eventually(lambda: denied(agent.kubectl(f"get configmaps -n {taken}")), "a namespace was not taken away")
            cluster.kubectl("create", "configmap", "afterwards-hidden", "-n", taken)
            cluster.kubectl("create", "configmap", "afterwards-seen", "-n", kept)
            answer = running.answer()
        assert "afterwards-seen" in answer.stdout
        assert "afterwards-hidden" not in answer.everything

    @pytest.mark.parametrize(
        ("command", "subresource"),
        [
            pytest.param("exec app -- sleep 40", "exec", id="exec"),
            pytest.param("logs app --follow", "log", id="log"),
        ],
    )
    def test_a_stream_ends_with_its_policy(
        self,
        cluster: TestCluster,
        namespace_factory: NamespaceFactory,
        agent_factory: AgentFactory,
        *,
        command: str,
        subresource: str,
    ) -> None:
        namespace = namespace_factory(labels={ENFORCE: "baseline"})
        cluster.kubectl("run", "app", "-n", namespace, f"--image={IMAGE}")
        cluster.kubectl("wait", "pod/app", "-n", namespace, "--for=condition=Ready", "--timeout=30s")
        rights = (rule("get list", "pods pods/log"), rule("create", "pods/exec"))
        agent = agent_factory({"rules": [{**item, "namespaces": [namespace]} for item in rights]})
        with Running(cluster, agent, command.replace(" app", f" app -n {namespace}")) as running:
            running.await_request("get", subresource=subresource)
            change_policy(cluster, agent.account, suspend=True)
            assert denied(running.answer(within=REVOKED_SECONDS), "PolicySuspended")

    def test_a_watch_ends_when_the_role_that_gave_it_no_longer_does(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        namespace, name = namespace_factory(), f"role-{uuid.uuid4().hex[:6]}"
        cluster.kubectl("create", "clusterrole", name, "--verb=get,list,watch", "--resource=configmaps")
        try:
            agent = agent_factory(
                {"rules": [{"namespaces": [namespace], "roleRef": {"kind": "ClusterRole", "name": name}}]}
            )
            eventually(
                lambda: agent.kubectl(f"get configmaps -n {namespace}").status == "succeeded", "the role gave nothing"
            )
            with Running(cluster, agent, f"get configmaps -n {namespace} --watch") as running:
                running.await_request("watch")
                cluster.kubectl("delete", "clusterrole", name)
                assert denied(running.answer(within=REVOKED_SECONDS))
        finally:
            cluster.kubectl("delete", "clusterrole", name, "--ignore-not-found")

    def test_a_token_of_an_account_that_is_gone_is_refused_within_the_stated_time(
        self, cluster: TestCluster, namespace_factory: NamespaceFactory, agent_factory: AgentFactory
    ) -> None:
        namespace = namespace_factory()
        agent = agent_factory({"rules": [{**self.READ, "namespaces": [namespace]}]})
        assert agent.kubectl(f"get configmaps -n {namespace}").status == "succeeded"
        cluster.kubectl("delete", "serviceaccount", agent.account, "-n", AGENTS_NAMESPACE)
        assert agent.http_status() == HTTPStatus.OK
        deadline = time.monotonic() + TOKEN_SECONDS
        while agent.http_status() != HTTPStatus.UNAUTHORIZED:
            assert time.monotonic() < deadline, "the token of an account that is gone was still good"
