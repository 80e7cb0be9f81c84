"""What wildcards never give, what nobody ever gets, and workload writes."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_mcp_server.policy.decision import Reason
from tests.support.asking import ENFORCED, ask, grant, rule

pytestmark = pytest.mark.unit

HERE = "-n team-a"
EVERYWHERE: tuple[dict[str, Any], ...] = (
    rule("*", "* */* pods/* nodes/* */finalizers", groups="- apps rbac.authorization.k8s.io", namespaces=["*"]),
    rule("get list watch", "*", groups="*", namespaces=["*"]),
    rule("get list watch", "*", groups="*", clusterScoped=True),
    rule(
        "*",
        "* */*",
        groups="- rbac.authorization.k8s.io certificates.k8s.io authentication.k8s.io authorization.k8s.io"
        " apiextensions.k8s.io admissionregistration.k8s.io apiregistration.k8s.io flowcontrol.apiserver.k8s.io"
        " storage.k8s.io scheduling.k8s.io argoproj.io networking.k8s.io",
        clusterScoped=True,
    ),
    rule("*", "* */*", groups="rbac.authorization.k8s.io argoproj.io", namespaces=["*"]),
)

# Each line: a request, and the resource that a rule must name to give it.
SENSITIVE = [
    f"get secrets db {HERE} | secrets",
    f"list secrets {HERE} | secrets",
    f"watch secrets {HERE} | secrets",
    f"patch secrets db {HERE} | secrets",
    f"delete secrets db {HERE} | secrets",
    f"deletecollection secrets {HERE} | secrets",
    f"create pods/exec web {HERE} | pods/exec",
    f"create pods/attach web {HERE} | pods/attach",
    f"create pods/portforward web {HERE} | pods/portforward",
    f"get pods/proxy web {HERE} | pods/proxy",
    f"get pods/ephemeralcontainers web {HERE} | pods/ephemeralcontainers",
    f"patch pods/ephemeralcontainers web {HERE} | pods/ephemeralcontainers",
    f"create pods/binding web {HERE} | pods/binding",
    f"create bindings {HERE} | bindings",
    f"get services/proxy web {HERE} | services/proxy",
    "get nodes/proxy n1 | nodes/proxy",
    "get nodes/log n1 | nodes/log",
    "update nodes/status n1 | nodes/status",
    f"get roles.rbac.authorization.k8s.io r {HERE} | roles",
    f"list rolebindings.rbac.authorization.k8s.io {HERE} | rolebindings",
    "create clusterroles.rbac.authorization.k8s.io | clusterroles",
    "get certificatesigningrequests.certificates.k8s.io x | certificatesigningrequests",
    f"create serviceaccounts {HERE} | serviceaccounts",
    f"delete serviceaccounts x {HERE} | serviceaccounts",
    "create namespaces | namespaces",
    "patch namespaces team-a | namespaces",
    "delete namespaces team-a | namespaces",
    "update namespaces/finalize team-a | namespaces/finalize",
    "patch nodes n1 | nodes",
    "create persistentvolumes | persistentvolumes",
    "create customresourcedefinitions.apiextensions.k8s.io | customresourcedefinitions",
    "update validatingwebhookconfigurations.admissionregistration.k8s.io x | validatingwebhookconfigurations",
    "patch apiservices.apiregistration.k8s.io x | apiservices",
    "create flowschemas.flowcontrol.apiserver.k8s.io | flowschemas",
    "create storageclasses.storage.k8s.io | storageclasses",
    "create priorityclasses.scheduling.k8s.io | priorityclasses",
    f"create applications.argoproj.io {HERE} | applications",
    f"update deployments.apps/finalizers web {HERE} | deployments/finalizers",
]
PLAIN = [
    f"create secrets {HERE}",
    f"update secrets db {HERE}",
    f"get serviceaccounts x {HERE}",
    f"list configmaps {HERE}",
    f"get pods/log web {HERE}",
    f"create pods/eviction web {HERE}",
    "get nodes n1",
    "list persistentvolumes",
    "get customresourcedefinitions.apiextensions.k8s.io x",
    "list storageclasses.storage.k8s.io",
    f"get applications.argoproj.io x {HERE}",
    f"patch deployments.apps/scale web {HERE}",
]


@pytest.mark.parametrize("line", SENSITIVE)
def test_wildcards_never_give(line: str) -> None:
    text = line.partition(" | ")[0]
    assert ask(text, grant(*EVERYWHERE)).reason is Reason.SENSITIVE_NOT_NAMED


@pytest.mark.parametrize("line", SENSITIVE)
def test_a_rule_that_names_it_gives(line: str) -> None:
    text, _, resource = line.partition(" | ")
    verb, asked = text.split()[:2]
    group = asked.partition("/")[0].partition(".")[2]
    scope: dict[str, Any] = {"namespaces": ["team-a"]} if HERE in text else {"clusterScoped": True}
    assert ask(text, grant(rule(verb, resource, groups=group or "-", **scope))).allowed


@pytest.mark.parametrize("text", PLAIN)
def test_wildcards_give(text: str) -> None:
    assert ask(text, grant(*EVERYWHERE)).allowed


def test_a_group_by_wildcard_does_not_give_a_resource_that_is_named() -> None:
    named = grant(rule("get", "secrets", groups="*"))
    assert ask(f"get secrets db {HERE}", named).reason is Reason.SENSITIVE_NOT_NAMED


@pytest.mark.parametrize("verb", ["escalate", "bind", "approve", "sign"])
def test_the_verbs_of_escalation_are_given_only_by_their_name(verb: str) -> None:
    text = f"{verb} clusterroles.rbac.authorization.k8s.io admin"
    group = "rbac.authorization.k8s.io"
    by_star = grant(rule("*", "clusterroles", groups=group, clusterScoped=True))
    assert ask(text, by_star).reason is Reason.SENSITIVE_NOT_NAMED
    assert ask(text, grant(rule(verb, "clusterroles", groups=group, clusterScoped=True))).allowed


def test_every_upgrade_is_sensitive_whatever_serves_it() -> None:
    console = "get deployments.apps/console web -n team-a"
    for resources in ("*", "deployments/*", "*/console"):
        decision = ask(console, grant(rule("get", resources, groups="apps")), upgrade=True)
        assert decision.reason is Reason.SENSITIVE_NOT_NAMED
    assert ask(console, grant(rule("get", "deployments/console", groups="apps")), upgrade=True).allowed
    assert ask(console, grant(rule("get", "deployments/*", groups="apps"))).allowed


@pytest.mark.parametrize(
    "text", ["get releases.helm.sh/content web -n team-a", "get proxysecrets.istioctl.istio.io x -n team-a"]
)
def test_sensitive_virtual_resources_are_given_by_their_name(text: str) -> None:
    asked = text.split()[1]
    resource, _, group = asked.partition("/")[0].partition(".")
    named = f"{resource}/content" if "/" in asked else resource
    assert not ask(text, grant(rule("get", "*", groups=group))).allowed
    assert not ask(text, grant(rule("get", resource + "/*", groups=group))).allowed
    assert ask(text, grant(rule("get", named, groups=group))).allowed


def test_reading_a_release_is_not_reading_its_content() -> None:
    assert not ask(
        "get releases.helm.sh/content web -n team-a", grant(rule("get", "releases", groups="helm.sh"))
    ).allowed


OURS = "mcpaccesspolicies.k8s-mcp.io"
APISERVICES = "apiservices.apiregistration.k8s.io"
CRDS = "customresourcedefinitions.apiextensions.k8s.io"
ALL_NAMED = (
    rule("*", "mcpaccesspolicies mcpaccesspolicies/status", groups="k8s-mcp.io", clusterScoped=True),
    rule(
        "*",
        "customresourcedefinitions customresourcedefinitions/status",
        groups="apiextensions.k8s.io",
        clusterScoped=True,
    ),
    rule("*", "apiservices", groups="apiregistration.k8s.io", clusterScoped=True),
    rule("* impersonate", "serviceaccounts serviceaccounts/token pods", namespaces=["team-a"]),
    rule("*", "tokenreviews selfsubjectreviews", groups="authentication.k8s.io", clusterScoped=True),
    rule(
        "*",
        "subjectaccessreviews selfsubjectaccessreviews selfsubjectrulesreviews",
        groups="authorization.k8s.io",
        clusterScoped=True,
    ),
    rule("*", "localsubjectaccessreviews", groups="authorization.k8s.io", namespaces=["team-a"]),
)


@pytest.mark.parametrize(
    "text",
    [
        f"create {OURS}",
        f"patch {OURS} policy",
        f"delete {OURS} policy",
        f"deletecollection {OURS}",
        f"update {OURS}/status policy",
        f"delete {CRDS} {OURS}",
        f"patch {CRDS} {OURS}",
        f"update {CRDS}/status {OURS}",
        f"deletecollection {CRDS}",
        f"patch {APISERVICES} v1alpha1.k8s-mcp.io",
        f"deletecollection {APISERVICES}",
        f"impersonate serviceaccounts x {HERE}",
        "create tokenreviews.authentication.k8s.io",
        "create subjectaccessreviews.authorization.k8s.io",
        f"create localsubjectaccessreviews.authorization.k8s.io {HERE}",
        "get selfsubjectaccessreviews.authorization.k8s.io",
        "create selfsubjectrulesreviews.authorization.k8s.io x",
        "create selfsubjectreviews.authentication.k8s.io/status",
    ],
)
def test_no_policy_gives(text: str) -> None:
    assert ask(text, grant(*ALL_NAMED)).reason is Reason.NEVER_ALLOWED


@pytest.mark.parametrize(
    "text", [f"get {OURS} policy", f"list {OURS}", f"get {CRDS} {OURS}", f"delete {CRDS} widgets.example.com"]
)
def test_reading_policies_and_writing_other_definitions_can_be_given(text: str) -> None:
    assert ask(text, grant(*ALL_NAMED)).allowed


REVIEWS = (
    "create selfsubjectaccessreviews.authorization.k8s.io",
    "create selfsubjectrulesreviews.authorization.k8s.io",
    "create selfsubjectreviews.authentication.k8s.io",
)


@pytest.mark.parametrize("review", REVIEWS)
def test_whoever_has_a_policy_may_ask_about_itself(review: str) -> None:
    decision = ask(review, grant(rule("get", "pods")))
    assert (decision.allowed, decision.reason) == (True, Reason.ALWAYS_ALLOWED)


@pytest.mark.parametrize("review", REVIEWS)
def test_whoever_has_no_policy_may_not_even_ask_about_itself(review: str) -> None:
    assert ask(review).reason is Reason.NO_POLICY


@pytest.mark.parametrize(
    ("audiences", "allowed"),
    [
        pytest.param(("vault",), True, id="another audience"),
        pytest.param((), True, id="the API server's default"),
        pytest.param(("k8s-mcp-server",), False, id="ours"),
        pytest.param(("vault", "k8s-mcp-server"), False, id="ours among others"),
        pytest.param(None, False, id="audiences that could not be read"),
    ],
)
def test_tokens_for_our_own_audience_are_never_given(audiences: tuple[str, ...] | None, allowed: bool) -> None:
    named = grant(rule("create", "serviceaccounts/token"))
    decision = ask(f"create serviceaccounts/token x {HERE}", named, audiences=audiences)
    assert decision.allowed is allowed
    assert allowed or decision.reason is Reason.NEVER_ALLOWED


def test_tokens_are_sensitive() -> None:
    by_star = grant(rule("*", "serviceaccounts serviceaccounts/*"))
    decision = ask(f"create serviceaccounts/token x {HERE}", by_star, audiences=())
    assert decision.reason is Reason.SENSITIVE_NOT_NAMED


WORKLOADS = [
    "pods",
    "podtemplates",
    "replicationcontrollers",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "controllerrevisions.apps",
    "jobs.batch",
    "cronjobs.batch",
]
ANY_WORKLOAD = rule("*", "* pods/ephemeralcontainers", groups="- apps batch", namespaces=["team-a", "team-a-test"])
FREE = {**ANY_WORKLOAD, "allowPrivilegedWorkloads": True}


@pytest.mark.parametrize("verb", ["create", "update", "patch"])
@pytest.mark.parametrize("resource", WORKLOADS)
def test_a_workload_is_written_only_where_pod_security_enforces(verb: str, resource: str) -> None:
    name = "" if verb == "create" else "web"
    assert ask(f"{verb} {resource} {name} -n team-a", grant(ANY_WORKLOAD)).allowed
    assert ask(f"{verb} {resource} {name} -n team-a-test", grant(ANY_WORKLOAD)).reason is Reason.PRIVILEGED_WORKLOAD
    assert ask(f"{verb} {resource} {name} -n team-a-test", grant(FREE)).allowed


@pytest.mark.parametrize(
    ("label", "allowed"),
    [("baseline", True), ("restricted", True), ("privileged", False), ("", False), ("Baseline", False)],
)
def test_baseline_and_restricted_count_as_enforced(label: str, allowed: bool) -> None:
    namespaces = {"team-a": {**ENFORCED, "pod-security.kubernetes.io/enforce": label}}
    assert ask("create pods -n team-a", grant(ANY_WORKLOAD), namespaces=namespaces).allowed is allowed


def test_warn_and_audit_labels_do_not_count() -> None:
    labels = {"pod-security.kubernetes.io/warn": "restricted", "pod-security.kubernetes.io/audit": "restricted"}
    assert not ask("create pods -n team-a", grant(ANY_WORKLOAD), namespaces={"team-a": labels}).allowed


@pytest.mark.parametrize(
    "text",
    [
        "patch deployments.apps/scale web",
        "delete pods web",
        "deletecollection jobs.batch",
        "patch pods/status web",
        "create services",
    ],
)
def test_what_writes_no_pod_template_needs_no_pod_security(text: str) -> None:
    assert ask(f"{text} -n team-a-test", grant(ANY_WORKLOAD)).allowed


def test_ephemeral_containers_are_a_workload_write_as_well() -> None:
    text = "patch pods/ephemeralcontainers web -n team-a-test"
    assert ask(text, grant(ANY_WORKLOAD)).reason is Reason.PRIVILEGED_WORKLOAD
    assert ask(text, grant(FREE)).allowed


def test_one_rule_must_say_it_itself_that_privileged_workloads_are_allowed() -> None:
    elsewhere = {**FREE, "namespaces": ["team-b"]}
    assert not ask("create pods -n team-a-test", grant(ANY_WORKLOAD, elsewhere)).allowed
