"""What the author of a policy is told that it gives beyond what it seems to."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_mcp_server.policy.notices import notices
from k8s_mcp_server.policy.roles import read_role
from k8s_mcp_server.policy.snapshot import Snapshot
from tests.support.asking import grant, policy, rule
from tests.support.policies import role_body

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(rule("get list watch", "*", groups="*"), [], id="reading everything"),
        pytest.param(rule("*", "configmaps services"), [], id="writing what is nothing but itself"),
        pytest.param(rule("delete", "pods"), [], id="deleting workloads"),
        pytest.param(rule("create", "pods"), ["WorkloadWrites"], id="pods"),
        pytest.param(rule("patch", "deployments", groups="apps"), ["WorkloadWrites"], id="templates"),
        pytest.param(rule("update", "*"), ["WorkloadWrites"], id="workloads by wildcard"),
        pytest.param(
            rule("create", "pods", allowPrivilegedWorkloads=True),
            ["WorkloadWrites", "PrivilegedWorkloads"],
            id="privileged pods",
        ),
        pytest.param(rule("get", "pods", allowPrivilegedWorkloads=True), [], id="privileged pods that are only read"),
        pytest.param(rule("create", "rolebindings", groups="rbac.authorization.k8s.io"), ["RBACWrites"], id="RBAC"),
        pytest.param(rule("get", "rolebindings", groups="rbac.authorization.k8s.io"), [], id="RBAC that is only read"),
        pytest.param(rule("patch", "applications", groups="argoproj.io"), ["Deputies"], id="Argo CD"),
        pytest.param(rule("*", "kustomizations", groups="kustomize.toolkit.fluxcd.io"), ["Deputies"], id="Flux"),
        pytest.param({"namespaces": ["team-a"], "fromRBAC": True}, ["WorkloadWrites", "Deputies"], id="own rights"),
    ],
)
def test_a_rule_that_gives_more_than_it_seems_is_told(given: dict[str, Any], expected: list[str]) -> None:
    assert [item.reason for item in notices(grant(given).rules)] == expected


def test_a_role_is_told_once_and_by_the_name_of_its_rule() -> None:
    follows = {"name": "by-role", "namespaces": ["team-a"], "roleRef": {"kind": "ClusterRole", "name": "edit"}}
    parts = [{"apiGroups": [group], "resources": ["*"], "verbs": ["*"]} for group in ("", "apps", "argoproj.io")]
    snapshot = Snapshot.build([], [], [read_role(role_body("edit", *parts))])
    (told,) = notices(snapshot.following(policy("p", follows)).rules)  # type: ignore[union-attr]  # it is valid
    assert told.reason == "WorkloadWrites"
    assert told.message.startswith("by-role writes workloads")
