"""`policy check`: what fails, what is warned of, and on which line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.policy_commands import crd, enforced, namespace, policy, rule, run, write
from tests.support.policy_samples import bad_specs

pytestmark = pytest.mark.unit

ACCOUNT = {"kind": "ServiceAccount", "namespace": "agents", "name": "bot"}


def findings(path: Path, *more: object, severity: str = "") -> dict[str, str]:
    """Reason and message of everything found."""
    answer = run("policy", "check", path, *more, "-o", "json")
    found = [item for item in answer.value if severity in ("", item["severity"])]
    return {item["reason"]: f"{item['path']}: {item['message']}" for item in found}


def test_a_good_policy_passes_without_a_word_but_the_count(tmp_path: Path) -> None:
    answer = run("policy", "check", write(tmp_path / "a.yaml", policy(rule())))
    assert (answer.code, answer.out, answer.err) == (0, "1 policy: 0 errors, 0 warnings\n", "")


def test_a_mistake_is_told_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    text = "apiVersion: k8s-mcp.io/v1alpha1\nkind: McpAccessPolicy\nmetadata: {name: a}\nspec:\n  subject: []\n"
    path.write_text(text, encoding="utf-8")

    answer = run("policy", "check", path)

    assert answer.code == 1
    assert f"{path}:5: error: spec.subject: unknown field; did you mean subjects? [Schema]" in answer.out


@pytest.mark.parametrize(("spec", "message"), bad_specs())
def test_whatever_the_api_server_refuses_fails_here_too(tmp_path: Path, spec: Any, message: str) -> None:
    answer = run("policy", "check", write(tmp_path / "a.yaml", {**policy(), "spec": spec}))
    assert answer.code == 1
    assert "[Schema]" in answer.out, message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"expires": "2h"}, "unknown field; did you mean expiresAt?", id="unknown field"),
        pytest.param({"Suspend": True}, "unknown field; did you mean suspend?", id="wrong capital"),
        pytest.param({"suspend": "yes"}, 'spec.suspend: must be true or false, not "yes"', id="wrong type"),
        pytest.param({"rules": {}}, "spec.rules: must be a list, not an object", id="object for a list"),
        pytest.param({"tools": ["kubctl"]}, 'not "kubctl"; did you mean kubectl?', id="near an enum"),
        pytest.param({"limits": {"timeoutSeconds": 0}}, "must be at least 1", id="too small"),
        pytest.param({"limits": {"timeoutSeconds": True}}, "must be a whole number", id="truth is no number"),
        pytest.param({"rules": [rule("get get")]}, 'verbs[1]: "get" is there twice', id="twice in a set"),
        pytest.param({"subjects": []}, "must be at least 1 entries", id="too few"),
        pytest.param({"subjects": [{"kind": "User"}]}, "spec.subjects[0]: name is missing", id="missing"),
        pytest.param({"reason": "x" * 257}, "must be at most 256 characters", id="too long"),
        pytest.param({"expiresAfter": "2d"}, '"2d" does not have the form', id="pattern"),
        pytest.param({"reason": None}, "spec.reason: must be text", id="null"),
    ],
)
def test_the_schema_is_checked_and_the_likely_meaning_told(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    answer = run("policy", "check", write(tmp_path / "a.yaml", policy(**change)))
    assert answer.code == 1
    assert message in answer.out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"apiVersion": "k8s-mcp.io/v1"}, "must be k8s-mcp.io/v1alpha1", id="version"),
        pytest.param({"kind": "McpAcessPolicy"}, "must be McpAccessPolicy", id="kind"),
        pytest.param({"metadata": {}}, "metadata.name is missing", id="no name"),
        pytest.param({"metadata": {"name": "A_b"}}, '"A_b" is no name', id="bad name"),
    ],
)
def test_the_envelope_is_checked(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    answer = run("policy", "check", write(tmp_path / "a.yaml", {**policy(rule()), **change}))
    assert answer.code == 1
    assert message in answer.out


def test_two_policies_with_one_name_fail(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", policy(rule()), policy(rule()))
    assert "has this name" in findings(path, severity="error")["NameTaken"]


@pytest.mark.parametrize(
    ("mistaken", "message"),
    [
        pytest.param(rule(resources="pod"), "pod is no resource; did you mean pods?", id="singular"),
        pytest.param(rule(resources="po"), "po is no resource; did you mean pods?", id="short name"),
        pytest.param(rule(resources="deployments"), 'is in apiGroup "apps", not in ""', id="group"),
        pytest.param(rule(resources="configmap-s"), "did you mean configmaps?", id="misspelt"),
        pytest.param(rule(resources="pods/logs"), "did you mean pods/log?", id="subresource"),
        pytest.param(rule("read"), "read is no verb of RBAC; did you mean get, list, watch?", id="habit"),
        pytest.param(rule("lst"), "did you mean list?", id="misspelt verb"),
        pytest.param(rule("create", resourceNames=["a"]), "never matches create", id="names of what is created"),
    ],
)
def test_a_sure_mistake_in_a_rule_fails(tmp_path: Path, mistaken: dict[str, Any], message: str) -> None:
    for body in (policy(mistaken), policy(deny=[mistaken])):
        answer = run("policy", "check", write(tmp_path / "a.yaml", body))
        assert answer.code == 1
        assert message in answer.out


@pytest.mark.parametrize(
    ("doubtful", "reason"),
    [
        pytest.param(rule(resources="widgets", groups="example.com"), "UnknownResource", id="unknown group"),
        pytest.param(rule(resources="nodes"), "NeverMatches", id="cluster resource in a namespace"),
        pytest.param(rule(clusterScoped=True), "NeverMatches", id="namespaced resource of the cluster"),
        pytest.param(rule(namespaces=["k8s-mcp-system"]), "NeverMatches", id="own namespace"),
    ],
)
def test_what_may_be_right_somewhere_is_a_warning(tmp_path: Path, doubtful: dict[str, Any], reason: str) -> None:
    path = write(tmp_path / "a.yaml", policy(doubtful))
    assert reason in findings(path, severity="warning")
    assert run("policy", "check", path).code == 0
    assert run("policy", "check", "--strict", path).code == 1


def test_a_crd_among_the_files_makes_its_resources_known(tmp_path: Path) -> None:
    widgets = crd("widgets", group="example.com", kind="Widget")
    path = write(tmp_path / "a.yaml", policy(rule(resources="widgets widgets/scale", groups="example.com")), widgets)
    assert findings(path) == {}


@pytest.mark.parametrize(
    "virtual",
    [
        pytest.param(rule("get list create", "releases", groups="helm.sh"), id="releases of Helm"),
        pytest.param(
            rule("get sync override action/*", "applications", groups="argocd.argoproj.io", clusterScoped=True),
            id="applications of Argo CD",
        ),
    ],
)
def test_virtual_resources_and_their_verbs_are_known_without_a_crd(tmp_path: Path, virtual: dict[str, Any]) -> None:
    assert findings(write(tmp_path / "a.yaml", policy(virtual, tools=["helm", "argocd"]))) == {}


@pytest.mark.parametrize(
    ("mistaken", "reason"),
    [
        pytest.param(rule("get", "releases/contents", groups="helm.sh"), "UnknownResource", id="subresource"),
        pytest.param(
            rule("get", "apps", groups="argocd.argoproj.io", clusterScoped=True), "UnknownResource", id="name"
        ),
        pytest.param(rule("get", "releases", groups="helm.sh", clusterScoped=True), "NeverMatches", id="scope"),
        pytest.param(
            rule("synk", "applications", groups="argocd.argoproj.io", clusterScoped=True), "UnknownVerb", id="verb"
        ),
    ],
)
def test_mistakes_about_virtual_resources_are_told(tmp_path: Path, mistaken: dict[str, Any], reason: str) -> None:
    assert reason in findings(write(tmp_path / "a.yaml", policy(mistaken)))


def test_a_namespace_that_no_file_has_is_doubted_only_where_files_have_some(tmp_path: Path) -> None:
    known = write(tmp_path / "a.yaml", policy(rule(namespaces=["team-x"])), namespace("team-a"))
    assert "no file has a Namespace team-x; did you mean team-a?" in findings(known)["UnknownNamespace"]
    assert findings(write(tmp_path / "b.yaml", policy(rule(namespaces=["team-x"])))) == {}


@pytest.mark.parametrize(
    ("given", "reasons"),
    [
        pytest.param(rule("create", "deployments", groups="apps"), {"WorkloadWrites"}, id="workloads"),
        pytest.param(rule("patch", "*", groups="apps"), {"WorkloadWrites", "Wildcard"}, id="workloads by wildcard"),
        pytest.param(
            rule("create", allowPrivilegedWorkloads=True), {"WorkloadWrites", "PrivilegedWorkloads"}, id="privileged"
        ),
        pytest.param(rule("create", "rolebindings", groups="rbac.authorization.k8s.io"), {"RBACWrites"}, id="RBAC"),
        pytest.param(
            rule("patch", "kustomizations", groups="kustomize.toolkit.fluxcd.io"),
            {"Deputy", "UnknownResource"},
            id="Flux",
        ),
        pytest.param(
            rule("create", "applications", groups="argoproj.io"),
            {"Deputy", "Sensitive", "UnknownResource"},
            id="Argo CD",
        ),
        pytest.param(
            rule("create", "providers", groups="pkg.crossplane.io", clusterScoped=True),
            {"Deputy", "UnknownResource"},
            id="Crossplane",
        ),
        pytest.param(rule("get", "secrets"), {"Sensitive"}, id="secrets"),
        pytest.param(rule("create", "pods/exec"), {"Sensitive"}, id="exec"),
        pytest.param(
            rule("patch", "validatingwebhookconfigurations", groups="admissionregistration.k8s.io", clusterScoped=True),
            {"ControlsTheCluster", "Sensitive"},
            id="webhooks",
        ),
        pytest.param(rule("*", "configmaps"), {"Wildcard"}, id="every verb"),
        pytest.param(rule("patch", "configmaps", namespaces=["*"]), {"Wildcard"}, id="every namespace"),
        pytest.param(rule("get list watch", "*", groups="*", namespaces=["*"]), set(), id="reading everything"),
        pytest.param(rule("patch", "deployments/scale", groups="apps"), set(), id="scale"),
    ],
)
def test_what_a_rule_amounts_to_is_warned_of(tmp_path: Path, given: dict[str, Any], reasons: set[str]) -> None:
    assert set(findings(write(tmp_path / "a.yaml", policy(given)), severity="warning")) == reasons


def test_a_deny_is_not_warned_of(tmp_path: Path) -> None:
    assert findings(write(tmp_path / "a.yaml", policy(deny=[rule("*", "*", groups="*")]))) == {}


@pytest.mark.parametrize(
    ("given", "forgeable"),
    [
        pytest.param(rule("create", namespaces=["agents"]), True, id="workloads beside the identity"),
        pytest.param(rule("create", namespaces=["a*"]), True, id="by glob"),
        pytest.param(rule("create", "serviceaccounts/token", namespaces=["agents"]), True, id="tokens"),
        pytest.param(rule("create", namespaces=["team-a"]), False, id="workloads elsewhere"),
        pytest.param(rule("get list", namespaces=["agents"]), False, id="reading beside it"),
        pytest.param(rule("create", namespaceSelector={"matchLabels": {"team": "a"}}), True, id="by label"),
        pytest.param(rule("create", namespaceSelector={"matchLabels": {"team": "b"}}), False, id="by another label"),
    ],
)
def test_an_identity_that_clients_can_take_on_is_warned_of(
    tmp_path: Path, given: dict[str, Any], *, forgeable: bool
) -> None:
    agents = namespace("agents", team="a")
    path = write(tmp_path / "a.yaml", policy(given, subjects=[ACCOUNT]), agents, enforced("team-a"))
    assert ("SubjectForgeable" in findings(path)) is forgeable


def test_an_identity_that_the_clients_of_another_policy_can_take_on_is_warned_of(tmp_path: Path) -> None:
    victim = policy(rule(), name="victim", subjects=[ACCOUNT])
    other = policy(rule("create", namespaces=["agents"]), name="other")
    found = findings(write(tmp_path / "a.yaml", victim, other))
    assert "the clients of policy other may write workloads in agents" in found["SubjectForgeable"]


def test_standard_input_folders_and_lists_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "below" / "a.yaml", {"apiVersion": "v1", "kind": "List", "items": [policy(rule())]})
    text = path.read_text(encoding="utf-8")
    assert run("policy", "check", tmp_path).code == 0
    assert run("policy", "check", "-", stdin=text).out == run("policy", "check", path).out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: [", "a.yaml:1: ", id="no YAML"),
        pytest.param("- a", "not an object", id="a list"),
        pytest.param("kind: A\nkind: B\n", "a.yaml:2: kind is there twice", id="a key twice"),
        pytest.param("kind: ConfigMap\n", "there is no McpAccessPolicy in", id="no policy"),
    ],
)
def test_what_cannot_be_read_exits_2_and_says_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    answer = run("policy", "check", tmp_path / "a.yaml")
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


def test_a_missing_file_exits_2(tmp_path: Path) -> None:
    assert run("policy", "check", tmp_path / "none.yaml").code == 2


def test_a_time_without_quotation_marks_is_text_as_in_kubernetes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.yaml", policy(rule(), expiresAt="TIME"))
    path.write_text(path.read_text(encoding="utf-8").replace("TIME", "2030-12-31T00:00:00Z"), encoding="utf-8")
    assert run("policy", "check", path).code == 0
