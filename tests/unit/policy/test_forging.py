"""Whose identity the clients of policies can take on."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_mcp_server.cluster.warnings import Warnings
from k8s_mcp_server.policy.compile import CompiledPolicy
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.roles import read_role
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from tests.support.asking import ENFORCED, NOW, policy, rule
from tests.support.policies import role_body

pytestmark = pytest.mark.unit

ACCOUNT = {"kind": "ServiceAccount", "namespace": "agents", "name": "bot"}
USER = {"kind": "User", "name": "oidc:ann"}
NAMESPACES = {"agents": {**ENFORCED, "team": "a"}, "loose": {}, "team-a": {**ENFORCED, "team": "b"}}
FOLLOWS = {"namespaces": ["agents"], "roleRef": {"kind": "ClusterRole", "name": "deploy"}}
DEPLOY = role_body("deploy", {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["create"]})


def forged(victim: CompiledPolicy, *others: CompiledPolicy) -> list[str]:
    """What is said about the subjects of a policy beside others."""
    namespaces = [Namespace(name=name, labels=labels) for name, labels in NAMESPACES.items()]
    snapshot = Snapshot.build([victim, *others], namespaces, [read_role(DEPLOY)])
    told = Warnings(environment=Environment(), now=lambda: NOW).about(snapshot.following(victim), snapshot)
    return [notice.message for notice in told if notice.reason == "SubjectForgeable"]


def victim(subject: dict[str, Any] = ACCOUNT) -> CompiledPolicy:
    return policy("victim", rule("get"), subjects=[subject])


def other(*given: dict[str, Any], **spec: Any) -> CompiledPolicy:
    return policy("other", *given, subjects=[USER], **spec)


@pytest.mark.parametrize(
    ("given", "forgeable"),
    [
        pytest.param(rule("create", namespaces=["agents"]), True, id="workloads beside the identity"),
        pytest.param(rule("patch", "deployments", groups="apps", namespaces=["agents"]), True, id="a template"),
        pytest.param(rule("*", "*", namespaces=["a*"]), True, id="by glob"),
        pytest.param(rule("create", namespaceSelector={"matchLabels": {"team": "a"}}), True, id="by label"),
        pytest.param(rule("create", namespaceSelector={"matchLabels": {"team": "b"}}), False, id="by another label"),
        pytest.param(rule("create", namespaceSelector={"matchSubject": {"label": "team"}}), True, id="of its own team"),
        pytest.param(FOLLOWS, True, id="by a role"),
        pytest.param(rule("create", "pods/exec", namespaces=["agents"]), True, id="into a pod that runs"),
        pytest.param(rule("create", "pods/*", namespaces=["agents"]), False, id="no exec by wildcard"),
        pytest.param(rule("create", "serviceaccounts/token", namespaces=["agents"]), True, id="tokens"),
        pytest.param(rule("create", namespaces=["team-a"]), False, id="workloads elsewhere"),
        pytest.param(rule("get list delete", namespaces=["agents"]), False, id="no workload is written"),
        pytest.param({"namespaces": ["agents"], "fromRBAC": True}, False, id="what the client may do anyway"),
    ],
)
def test_an_identity_that_another_policy_s_clients_can_take_on_is_told(
    given: dict[str, Any], *, forgeable: bool
) -> None:
    assert bool(forged(victim(), other(given))) is forgeable


def test_who_can_and_by_which_rule_is_told() -> None:
    (told,) = forged(victim(), other(rule("create", namespaces=["agents"], name="deploy")))
    assert "the clients of policy other may run workloads in agents (rule deploy)" in told
    assert "become ServiceAccount agents/bot" in told


def test_another_policy_is_named_before_its_own() -> None:
    own = policy("victim", rule("create", namespaces=["agents"]), subjects=[ACCOUNT])
    assert "its own clients" in forged(own)[0]
    assert "policy other" in forged(own, other(rule("create", namespaces=["agents"])))[0]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"suspend": True}, id="suspended"),
        pytest.param({"expiresAt": "2026-01-02T00:00:00Z"}, id="expired"),
    ],
)
def test_a_policy_that_gives_nothing_forges_nothing(spec: dict[str, Any]) -> None:
    assert forged(victim(), other(rule("create", namespaces=["agents"]), **spec)) == []


def test_workloads_are_forged_only_where_they_may_be_written() -> None:
    loose = victim({**ACCOUNT, "namespace": "loose"})
    given = rule("create", namespaces=["loose"])
    assert forged(loose, other(given)) == []
    assert forged(loose, other({**given, "allowPrivilegedWorkloads": True}))


@pytest.mark.parametrize(
    ("subject", "forgeable"),
    [
        pytest.param({"kind": "Group", "name": "system:serviceaccounts:agents"}, True, id="a namespace's accounts"),
        pytest.param({"kind": "Group", "name": "system:serviceaccounts:team-a"}, False, id="another's"),
        pytest.param({"kind": "Group", "name": "system:serviceaccounts:a*"}, True, id="those of some namespaces"),
        pytest.param({"kind": "Group", "name": "system:serviceaccounts:t*"}, False, id="of others"),
        pytest.param({"kind": "Group", "name": "system:serviceaccounts"}, True, id="all accounts"),
        pytest.param({"kind": "Group", "name": "system:serviceaccounts*"}, True, id="all accounts, by glob"),
        pytest.param({"kind": "User", "name": "system:serviceaccount:agents:bot"}, True, id="an account by username"),
        pytest.param({"kind": "User", "name": "system:serviceaccount:ag*"}, True, id="accounts by username"),
        pytest.param({"kind": "User", "name": "system:serviceaccount:team-a:bot"}, False, id="another by username"),
        pytest.param({"kind": "Group", "name": "oidc:team-a"}, False, id="a group of an issuer"),
        pytest.param({"kind": "User", "name": "oidc:*"}, False, id="users of an issuer"),
    ],
)
def test_every_way_to_name_a_service_account_counts(subject: dict[str, Any], *, forgeable: bool) -> None:
    assert bool(forged(victim(subject), other(rule("create", namespaces=["agents"])))) is forgeable


def test_with_many_policies_forgers_are_looked_for_less_often() -> None:
    times = iter([0.0, 2.0, 10.0, 30.0, 30.0])
    warnings = Warnings(environment=Environment(), now=lambda: NOW, clock=lambda: next(times))
    namespaces = [Namespace(name=name, labels=labels) for name, labels in NAMESPACES.items()]
    before, after = (
        Snapshot.build([victim(), *found], namespaces) for found in ([], [other(rule("create", namespaces=["agents"]))])
    )
    assert not warnings.about(victim(), before)
    assert not warnings.about(victim(), after), "a look of two seconds counts for twenty"
    assert warnings.about(victim(), after)
