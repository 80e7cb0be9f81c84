"""`policy rbac` on a real API server: with its answer the pod can do what the policies give, and nothing beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools.cluster import TestCluster
from tests.integration.conftest import NamespaceFactory
from tests.support.policy_commands import namespace, policy, rule, run, write

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("verb", "resource", "allowed"),
    [
        pytest.param("list", "pods", True, id="given"),
        pytest.param("get", "pods/log", True, id="given by wildcard"),
        pytest.param("create", "pods/exec", True, id="exec"),
        pytest.param("get", "pods/exec", True, id="exec over WebSocket"),
        pytest.param("patch", "deployments.apps/web", True, id="a name"),
        pytest.param("patch", "deployments.apps/db", False, id="another name"),
        pytest.param("get", "secrets", False, id="sensitive"),
        pytest.param("delete", "pods", False, id="not given"),
    ],
)
def test_the_pod_gets_what_the_policies_give(
    cluster: TestCluster,
    namespace_factory: NamespaceFactory,
    tmp_path: Path,
    verb: str,
    resource: str,
    *,
    allowed: bool,
) -> None:
    inside, outside = namespace_factory("rbac"), namespace_factory("rbac")
    given = policy(
        rule("get list watch", "*", groups="*", namespaces=[inside]),
        rule("create", "pods/exec", namespaces=[inside]),
        rule("patch", "deployments", groups="apps", resourceNames=["web"], namespaces=[inside]),
    )
    account = f"{outside}/server"
    path = write(tmp_path / "a.yaml", given, namespace(inside))
    printed = run("policy", "rbac", path, "--service-account", account)
    cluster.kubectl("apply", "-f", "-", input=printed.out)
    try:
        who = f"--as=system:serviceaccount:{outside}:server"
        words = ["auth", "can-i", verb, *resource.replace("pods/", "pods --subresource=").split(), who]
        assert (cluster.kubectl(*words, "-n", inside, check=False).stdout.strip() == "yes") is allowed
        assert cluster.kubectl(*words, "-n", outside, check=False).stdout.strip() == "no"
    finally:
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", "k8s-mcp-agents", "--ignore-not-found")
