"""Reading policies: what is valid, what is not, and what stays in force of one that is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from k8s_mcp_server.policy.compile import CompiledPolicy, InvalidPolicy, Policy, PolicyState, carry_denies, read_policy
from k8s_mcp_server.policy.decision import Reason, Verdict
from k8s_mcp_server.policy.limits import Limits, effective_limits
from k8s_mcp_server.policy.tools import Tool
from tests.support.asking import AGENT_SUBJECT, NOW, ask, body, grant, policy, rule

pytestmark = pytest.mark.unit

SELECTOR = {"matchLabels": {"team": "a"}}


def invalid(read: Policy) -> InvalidPolicy:
    assert isinstance(read, InvalidPolicy)
    return read


def changed(**spec: Any) -> Policy:
    """The policy of that name, read again with this spec."""
    return read_policy(body("policy", **spec))


def test_the_defaults_are_what_the_crd_states() -> None:
    read = read_policy({"metadata": {"name": "p"}, "spec": {"subjects": [AGENT_SUBJECT]}})
    assert isinstance(read, CompiledPolicy)
    assert (read.tools, read.suspend, read.block, read.expires_at) == (frozenset({Tool.KUBECTL}), False, False, None)
    assert (read.rules, read.denies, read.reason, read.description) == ((), (), "", "")


def test_a_policy_keeps_the_version_that_it_was_read_from() -> None:
    read = policy("p")
    assert (read.name, read.uid, read.resource_version, read.generation) == ("p", "uid-p", "7", 3)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, id="no scope"),
        pytest.param(rule(namespaces=["a"], clusterScoped=True), id="two scopes"),
        pytest.param(rule(namespaces=["a"], namespaceSelector=SELECTOR), id="names and a selector"),
        pytest.param(rule(clusterScoped=False), id="clusterScoped: false"),
        pytest.param(rule(namespaces=[]), id="no namespaces"),
        pytest.param(rule(namespaces=[""]), id="an empty namespace"),
        pytest.param(rule(namespaces=["Team"]), id="no namespace's name"),
        pytest.param(rule(namespaceSelector={}), id="an empty selector"),
        pytest.param(rule(namespaceSelector={"matchLabels": {}}), id="a selector without terms"),
        pytest.param(
            rule(namespaceSelector={"matchExpressions": [{"key": "a", "operator": "In"}]}), id="In without values"
        ),
        pytest.param(
            rule(namespaceSelector={"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}),
            id="Exists with values",
        ),
        pytest.param(rule(namespaceSelector={"matchSubject": {}}), id="a selector that this server does not know"),
        pytest.param({"namespaces": ["a"], "verbs": ["get"], "resources": ["pods"]}, id="no apiGroups"),
        pytest.param({"namespaces": ["a"], "verbs": ["get"], "apiGroups": [""]}, id="no resources"),
        pytest.param(rule("", "pods"), id="no verbs"),
        pytest.param(rule("Get", "pods"), id="a verb in capitals"),
        pytest.param(rule("get", "Pods"), id="a resource in capitals"),
        pytest.param(rule("get", "pods/log/x"), id="three parts of a resource"),
        pytest.param(rule("get", "po*"), id="a glob of resources"),
        pytest.param(rule("get", "pods", groups="apps*"), id="a glob of groups"),
        pytest.param(rule("get", "pods", resourceNames=["a/b"]), id="a name with a slash"),
        pytest.param(rule("get", "pods", resourceNames=[""]), id="an empty name"),
        pytest.param({"nonResourceURLs": ["metrics"], "verbs": ["get"]}, id="a path without a slash"),
        pytest.param({"nonResourceURLs": ["/a*b"], "verbs": ["get"]}, id="a star inside a path"),
        pytest.param(
            {"nonResourceURLs": ["/metrics"], "verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
            id="paths and resources",
        ),
        pytest.param(rule(name="Two Words"), id="a name that is no label"),
        pytest.param(rule(roleRef={"kind": "ClusterRole", "name": "edit"}), id="a field that is not there yet"),
    ],
)
def test_is_no_rule(wrong: dict[str, Any]) -> None:
    assert invalid(changed(rules=[wrong])).errors
    assert invalid(changed(deny=[wrong])).has_deny


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"tools": ["kustomize"]}, id="a tool that is not there"),
        pytest.param({"tools": []}, id="no tools"),
        pytest.param({"tools": "kubectl"}, id="a word instead of a list"),
        pytest.param({"suspend": "true"}, id="text instead of a boolean"),
        pytest.param({"suspend": None}, id="null instead of a boolean"),
        pytest.param({"mode": "Audit"}, id="a field that is not there yet"),
        pytest.param({"expiresAt": "tomorrow"}, id="no time"),
        pytest.param({"expiresAt": "2026-01-01T00:00:00"}, id="a time without a zone"),
        pytest.param({"expiresAt": "2026-02-30T00:00:00Z"}, id="a day that does not exist"),
        pytest.param({"expiresAt": 1767225600}, id="seconds"),
        pytest.param({"expiresAfter": "2 hours"}, id="no duration"),
        pytest.param({"expiresAfter": "0h"}, id="no time at all"),
        pytest.param({"expiresAfter": "2h", "expiresAt": "2026-01-01T00:00:00Z"}, id="both expiries"),
        pytest.param({"rules": [rule(name="a"), rule(name="a")]}, id="a rule name used twice"),
        pytest.param({"description": "a\nb"}, id="a description of two lines"),
        pytest.param({"limits": {"timeoutSeconds": 0}}, id="no timeout"),
        pytest.param({"limits": {"timeoutSeconds": "60"}}, id="a timeout as text"),
        pytest.param({"limits": {"memoryBytes": "1Mi"}}, id="too little memory"),
        pytest.param({"limits": {"memoryBytes": "17Gi"}}, id="too much memory"),
        pytest.param({"limits": {"memoryBytes": "lots"}}, id="no size"),
        pytest.param({"limits": {"memoryBytes": True}}, id="a boolean as a size"),
        pytest.param({"limits": {"cpu": 1}}, id="an unknown limit"),
    ],
)
def test_is_no_spec(spec: dict[str, Any]) -> None:
    assert invalid(changed(**spec)).errors


@pytest.mark.parametrize("spec", [None, "x", 3, [], {}], ids=repr)
def test_an_object_without_a_readable_spec_is_invalid_and_names_nobody(spec: object) -> None:
    read = invalid(read_policy({"metadata": {"name": "p"}, "spec": spec}))
    assert (read.subjects, read.subjects_readable) == ((), False)


@pytest.mark.parametrize(
    "broken",
    [{}, {"metadata": None}, {"metadata": {"name": 3, "generation": "x"}, "spec": {"subjects": [None]}}],
    ids=repr,
)
def test_reading_never_raises(broken: dict[str, Any]) -> None:
    assert invalid(read_policy(broken)).name == ""


def test_another_version_of_the_api_is_not_read() -> None:
    newer = {**body("p", rule("get", "pods")), "apiVersion": "k8s-mcp.io/v1"}
    assert not invalid(read_policy(newer)).spec_readable


def test_expires_after_counts_from_the_creation() -> None:
    assert grant(expiresAfter="1h30m").expires_at == datetime(2026, 1, 1, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("created", [None, "x", "2026-01-01T00:00:00"], ids=repr)
def test_expires_after_needs_the_time_of_creation(created: object) -> None:
    broken = body("p", expiresAfter="1h")
    broken["metadata"]["creationTimestamp"] = created
    assert isinstance(read_policy(broken), InvalidPolicy)


def test_fractions_of_a_second_and_zones_are_read() -> None:
    expires = grant(expiresAt="2026-01-01T02:00:00.123456789+02:00").expires_at
    assert expires is not None
    assert timedelta() <= expires - datetime(2026, 1, 1, tzinfo=UTC) < timedelta(seconds=1)


def test_the_states_of_a_policy() -> None:
    assert grant().state(now=NOW) is PolicyState.ACTIVE
    assert grant(suspend=True).state(now=NOW) is PolicyState.SUSPENDED
    assert grant(expiresAfter="1h").state(now=NOW) is PolicyState.EXPIRED
    assert invalid(changed(tools=[])).state(now=NOW) is PolicyState.INVALID


def test_errors_say_where_and_what_in_bounded_text() -> None:
    read = invalid(changed(rules=[rule("get", "pods"), {"verbs": ["x" * 5000] * 40}] * 30))
    assert 0 < len(read.errors) <= 8
    assert all(len(error) <= 256 for error in read.errors)
    assert any(error.startswith("spec.rules.") for error in read.errors)


class TestWhatAnInvalidPolicyKeeps:
    """`carry_denies`: the last valid denies stay where the subjects cannot be read."""

    previous = policy("policy", rule("*", "pods"), deny=[rule("delete", "pods", name="keep")])
    allowing = policy("other", rule("*", "pods"))

    def test_a_valid_version_replaces_the_last_one(self) -> None:
        current = policy("policy", rule("get", "pods"))
        assert carry_denies(self.previous, current) is current

    def test_unreadable_subjects_keep_the_last_subjects_and_denies(self) -> None:
        broken = invalid(carry_denies(self.previous, changed(subjects=[{"kind": "Robot"}])))
        decision = ask("delete pods web -n team-a", self.allowing, broken)
        assert decision.reason is Reason.DENIED_BY_RULE
        assert decision.matched is not None
        assert (decision.matched.policy, decision.matched.rule) == ("policy", "keep")
        assert ask("get pods web -n team-a", self.allowing, broken).verdict is Verdict.EXACT
        assert ask("get pods web -n team-a", broken).reason is Reason.POLICY_INVALID

    def test_they_stay_over_several_broken_versions(self) -> None:
        first = carry_denies(self.previous, changed(tools=["x"]))
        second = carry_denies(first, changed(subjects="all"))
        assert ask("delete pods web -n team-a", self.allowing, second).reason is Reason.DENIED_BY_RULE

    def test_an_unreadable_spec_refuses_the_clients_that_it_named_last(self) -> None:
        broken = carry_denies(self.previous, read_policy({**body("policy"), "spec": None}))
        assert ask("get pods web -n team-a", self.allowing, broken).reason is Reason.POLICY_INVALID

    def test_subjects_that_can_be_read_are_named_beside_the_last_ones(self) -> None:
        mixed = [{"kind": "User", "name": "oidc:ann"}, {"kind": "Robot", "name": "x"}]
        broken = invalid(carry_denies(self.previous, changed(subjects=mixed, deny=[rule("get", "pods")])))
        assert {str(subject) for subject in broken.subjects} == {"User oidc:ann", "ServiceAccount agents/bot"}

    def test_readable_subjects_end_the_last_denies(self) -> None:
        broken = carry_denies(self.previous, changed(rules=[{"verbs": ["get"]}]))
        assert ask("delete pods web -n team-a", self.allowing, broken).verdict is Verdict.EXACT

    def test_the_last_limits_stay(self) -> None:
        limited = policy("policy", limits={"timeoutSeconds": 5})
        for current in (changed(tools=["x"]), changed(subjects=[])):
            broken = carry_denies(limited, current)
            assert effective_limits([broken], defaults=Limits()).timeout_seconds == 5

    def test_another_object_of_the_same_name_inherits_nothing(self) -> None:
        recreated = body("policy", subjects=[])
        recreated["metadata"]["uid"] = "another"
        assert invalid(carry_denies(self.previous, read_policy(recreated))).denies == ()

    def test_without_a_last_version_nothing_is_kept(self) -> None:
        broken = changed(subjects=[])
        assert carry_denies(None, broken) is broken
        assert carry_denies(broken, broken) is broken
