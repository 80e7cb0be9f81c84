"""`policy diff`: who gains and who loses what, in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.policy_commands import GROUP, Answer, enforced, namespace, policy, rule, run, write

pytestmark = pytest.mark.unit

READ = rule(resources="deployments", groups="apps")


def diff(tmp_path: Path, old: list[dict[str, Any]], new: list[dict[str, Any]], *more: str) -> Answer:
    """Compare two sets of documents."""
    return run("policy", "diff", write(tmp_path / "old.yaml", *old), write(tmp_path / "new.yaml", *new), *more)


def lines(tmp_path: Path, old: dict[str, Any], new: dict[str, Any], *both: dict[str, Any]) -> list[str]:
    """The sentences about a change of one policy."""
    return diff(tmp_path, [old, *both], [new, *both]).out.splitlines()


def test_the_same_policies_change_nothing(tmp_path: Path) -> None:
    answer = diff(tmp_path, [policy(READ)], [policy(READ)])
    assert (answer.code, answer.out) == (0, "nothing changes\n")


def test_what_only_says_the_same_in_other_words_changes_nothing(tmp_path: Path) -> None:
    two = policy(rule("get", "pods"), rule("list", "pods"))
    assert lines(tmp_path, policy(rule("get list", "pods")), two) == ["nothing changes"]


def test_a_gain_is_one_sentence_with_its_namespaces(tmp_path: Path) -> None:
    where = ["a", "b", "c"]
    old = policy(rule("get", "deployments", groups="apps", namespaces=where))
    new = policy(rule("get delete", "deployments", groups="apps", namespaces=where))
    told = "+ oidc:team-a may now delete deployments.apps in 3 namespaces (a, b, c); sensitive: none"
    assert lines(tmp_path, old, new) == [told]
    assert lines(tmp_path, new, old) == [told.replace("+", "-").replace("may now", "may no longer")]


def test_sensitive_rights_are_named(tmp_path: Path) -> None:
    told = lines(tmp_path, policy(), policy(rule("get", "secrets pods")))
    assert told == [
        "+ oidc:team-a may now get pods and secrets in 1 namespace (team-a); sensitive: get secrets",
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param(["team-a"], ["team-a", "team-b"], ["+ … in 1 namespace (team-b)"], id="one more"),
        pytest.param(["team-a"], ["team-*"], ["+ … in any team-*"], id="a glob"),
        pytest.param(["team-*"], ["team-a-*"], ["- … in any team-*"], id="a narrower glob"),
        pytest.param(["team-a"], ["*"], ["+ … in any namespace"], id="everywhere"),
    ],
)
def test_places_are_compared_without_knowing_the_cluster(
    tmp_path: Path, old: list[str], new: list[str], told: list[str]
) -> None:
    found = lines(tmp_path, policy(rule("get", namespaces=old)), policy(rule("get", namespaces=new)))
    assert [_shortened(item) for item in found] == told


@pytest.mark.parametrize(
    ("old", "new", "gained"),
    [
        pytest.param({"team": ["a"]}, {"team": ["a", "b"]}, "any namespace with team=b", id="a second value"),
        pytest.param({"team": ["b"]}, {"team": ["a"]}, "any namespace with team=a", id="another value"),
    ],
)
def test_label_selectors_are_compared_without_knowing_the_cluster(
    tmp_path: Path, old: dict[str, list[str]], new: dict[str, list[str]], gained: str
) -> None:
    def selecting(labels: dict[str, list[str]]) -> dict[str, Any]:
        terms = [{"key": key, "operator": "In", "values": values} for key, values in labels.items()]
        return policy(rule("get", namespaceSelector={"matchExpressions": terms}))

    assert any(item.startswith("+") and gained in item for item in lines(tmp_path, selecting(old), selecting(new)))


def test_an_excluded_value_that_is_let_in_is_a_gain(tmp_path: Path) -> None:
    def excluding(*values: str) -> dict[str, Any]:
        terms = [{"key": "env", "operator": "NotIn", "values": list(values)}]
        return policy(rule("get", namespaceSelector={"matchExpressions": terms}))

    (told,) = lines(tmp_path, excluding("prod", "stage"), excluding("prod"))
    assert told == "+ oidc:team-a may now get pods in any namespace with env=stage; sensitive: none"


def test_what_a_rule_s_glob_and_a_deny_s_glob_share_is_told(tmp_path: Path) -> None:
    denied = rule("get", namespaces=["*-prod"])
    held, free = policy(rule("get", namespaces=["team-*"]), deny=[denied]), policy(rule("get", namespaces=["team-*"]))
    assert lines(tmp_path, held, free) == [
        "+ oidc:team-a may now get pods in any team-*-prod; sensitive: none",
    ]


def test_a_deny_by_label_in_a_named_namespace_is_told(tmp_path: Path) -> None:
    denied = rule("get", namespaceSelector={"matchLabels": {"env": "prod"}})
    assert lines(tmp_path, policy(rule("get"), deny=[denied]), policy(rule("get"))) == [
        "+ oidc:team-a may now get pods in team-a with env=prod; sensitive: none",
    ]


def test_a_label_that_no_longer_has_to_be_there_is_told(tmp_path: Path) -> None:
    both, one = {"team": "a", "env": "dev"}, {"team": "a"}
    (told,) = lines(
        tmp_path,
        policy(rule("get", namespaceSelector={"matchLabels": both})),
        policy(rule("get", namespaceSelector={"matchLabels": one})),
    )
    assert told == (
        "+ oidc:team-a may now get pods in any namespace with team=a "
        "and any namespace with team=a, another env; sensitive: none"
    )


def test_real_namespaces_are_counted_where_files_have_them(tmp_path: Path) -> None:
    selecting = policy(rule("get", namespaceSelector={"matchLabels": {"team": "a"}}))
    both = (namespace("one", team="a"), namespace("two", team="a"), namespace("three", team="b"))
    (told,) = lines(tmp_path, policy(), selecting, *both)
    assert "in 2 namespaces (one, two) and any namespace with team=a" in told


def test_a_relabelled_namespace_changes_rights(tmp_path: Path) -> None:
    selecting = policy(rule("get", namespaceSelector={"matchLabels": {"team": "a"}}))
    answer = diff(tmp_path, [selecting, namespace("one", team="b")], [selecting, namespace("one", team="a")])
    assert answer.out == "+ oidc:team-a may now get pods in 1 namespace (one); sensitive: none\n"


def test_a_new_deny_is_a_loss_and_a_dropped_one_a_gain(tmp_path: Path) -> None:
    free, held = policy(rule("get delete")), policy(rule("get delete"), deny=[rule("delete")])
    told = "- oidc:team-a may no longer delete pods in 1 namespace (team-a); sensitive: none"
    assert lines(tmp_path, free, held) == [told]
    assert lines(tmp_path, held, free)[0].startswith("+ oidc:team-a may now delete pods")


def test_a_deny_of_some_names_is_told_by_its_names(tmp_path: Path) -> None:
    free, held = policy(rule("delete")), policy(rule("delete"), deny=[rule("delete", resourceNames=["prod-*"])])
    assert "may no longer delete pods named prod-* in" in lines(tmp_path, free, held)[0]


def test_rules_held_to_names_are_told_by_their_names(tmp_path: Path) -> None:
    held = policy(rule("get list", resourceNames=["web"]))
    assert "may now get and list pods named web in" in lines(tmp_path, policy(), held)[0]
    assert "may now get and list pods in" in lines(tmp_path, held, policy(rule("get list")))[0]


def test_privileged_workloads_are_told_where_pod_security_does_not_enforce(tmp_path: Path) -> None:
    usual = policy(rule("create"))
    privileged = policy(rule("create", allowPrivilegedWorkloads=True))
    (told,) = lines(tmp_path, usual, privileged)
    assert told == (
        "+ oidc:team-a may now create pods in 1 namespace (team-a), "
        "where Pod Security does not enforce; sensitive: none"
    )
    assert lines(tmp_path, usual, privileged, enforced("team-a")) == ["nothing changes"]


def test_cluster_scope_and_paths_are_compared(tmp_path: Path) -> None:
    metrics = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
    told = lines(tmp_path, policy(), policy(rule("get", "nodes", clusterScoped=True), metrics))
    assert told == [
        "+ oidc:team-a may now get /metrics and nodes; sensitive: none",
    ]


def test_a_new_subject_gains_everything_of_the_policy(tmp_path: Path) -> None:
    account = {"kind": "ServiceAccount", "namespace": "agents", "name": "bot"}
    (told,) = lines(tmp_path, policy(rule("get")), policy(rule("get"), subjects=[GROUP, account]))
    assert told.startswith("+ serviceaccount agents/bot may now get pods")


def test_what_two_policies_give_together_is_compared_not_each_alone(tmp_path: Path) -> None:
    first, second = policy(rule("get"), name="first"), policy(rule("get"), name="second")
    assert diff(tmp_path, [first, second], [first]).out == "~ policy second is gone\n"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"suspend": True}, "~ policy sample: suspend: not stated → True", id="suspend"),
        pytest.param({"expiresAfter": "2h"}, "~ policy sample: expiresAfter: not stated → 2h", id="expiry"),
    ],
)
def test_other_settings_are_told_as_they_are(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    assert told in lines(tmp_path, policy(rule()), policy(rule(), **change))


def test_suspending_and_blocking_take_the_rights_away(tmp_path: Path) -> None:
    for held in (policy(rule(), suspend=True), policy(rule(), block=True)):
        assert any(item.startswith("- ") for item in lines(tmp_path, policy(rule()), held))


def test_a_gain_can_fail_a_pipeline(tmp_path: Path) -> None:
    more, less = [policy(rule("get list"))], [policy(rule("get"))]
    assert diff(tmp_path, less, more, "--fail-on-gain").code == 1
    assert diff(tmp_path, more, less, "--fail-on-gain").code == 0


def test_machines_get_the_rights(tmp_path: Path) -> None:
    (gained,) = diff(tmp_path, [policy()], [policy(rule("get", "secrets"))], "-o", "json").value["rights"]
    assert (gained["change"], gained["subject"], gained["verbs"]) == ("gained", GROUP, ["get"])
    assert (gained["resources"], gained["namespaces"], gained["sensitive"]) == (
        ["secrets"],
        ["team-a"],
        ["get secrets"],
    )


def test_an_invalid_policy_is_warned_of(tmp_path: Path) -> None:
    answer = diff(tmp_path, [policy(rule())], [policy(rule(), bad=1)])
    assert "policy sample is invalid and gives nothing" in answer.err
    assert answer.out.startswith("- ")


def _shortened(told: str) -> str:
    sign, _, rest = told.partition(" ")
    return f"{sign} … in {rest.partition(' in ')[2].partition(';')[0]}"
