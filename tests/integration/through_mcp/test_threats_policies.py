"""Attacks that play policies against each other, against the real API server through MCP.

The service's ServiceAccount is cluster-admin here: nothing but the policies stands between an agent and the cluster, so
what they wrongly allowed would happen.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from devtools.demo.teams import AGENTS_NAMESPACE
from tests.integration.through_mcp.conftest import apply_policy, await_in_force, eventually
from tests.support.threats import change_policy, denied, exists, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtools.cluster import TestCluster
    from tests.integration.conftest import NamespaceFactory
    from tests.integration.through_mcp.conftest import AgentFactory
    from tests.support.agent import Agent


pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("no_ceiling")]


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
            assert exists(cluster, "configmap", "kept", "-n", namespace), command


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
        assert not exists(cluster, "configmap", "made", "-n", namespace)
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
