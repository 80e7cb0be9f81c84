"""Attacks for rights that stay, against the real API server through MCP.

The service's ServiceAccount is cluster-admin here: nothing but the policies stands between an agent and the cluster, so
what they wrongly allowed would happen.
"""

from __future__ import annotations

import json
import time
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from devtools.demo.teams import AGENTS_NAMESPACE
from tests.integration.through_mcp.conftest import eventually
from tests.support.threats import (
    ENFORCE,
    IMAGE,
    OWN,
    OWN_ACCOUNT,
    REVOKED_SECONDS,
    TOKEN_SECONDS,
    Running,
    change_policy,
    denied,
    exists,
    rule,
)

if TYPE_CHECKING:
    from devtools.cluster import TestCluster
    from tests.integration.conftest import NamespaceFactory
    from tests.integration.through_mcp.conftest import AgentFactory


pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("no_ceiling")]


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
        assert not exists(cluster, str(body["kind"]), name, "-n", namespace)

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
