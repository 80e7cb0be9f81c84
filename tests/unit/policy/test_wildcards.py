"""RBAC's fields: verbs, groups, resources, subresources and names, with their wildcards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from k8s_mcp_server.policy.compile import InvalidPolicy, read_policy
from k8s_mcp_server.policy.decide import decide
from k8s_mcp_server.policy.decision import Reason, Verdict
from tests.support.asking import ask, body, context, grant, request, rule, seen

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("given", "asked", "allowed"),
    [
        pytest.param("pods", "get pods web -n team-a", True, id="a resource by name"),
        pytest.param("pods", "get services web -n team-a", False, id="another resource"),
        pytest.param("pods", "get pods/log web -n team-a", False, id="pods is not pods/log"),
        pytest.param("pods/log", "get pods/log web -n team-a", True, id="a subresource by name"),
        pytest.param("pods/log", "get pods web -n team-a", False, id="pods/log is not pods"),
        pytest.param("pods/*", "get pods/log web -n team-a", True, id="pods/* is every subresource of pods"),
        pytest.param("pods/*", "get pods web -n team-a", False, id="pods/* is not pods"),
        pytest.param("pods/*", "get services/status web -n team-a", False, id="pods/* is not another's subresource"),
        pytest.param("*/status", "get services/status web -n team-a", True, id="*/status is status of every resource"),
        pytest.param("*/status", "get pods/log web -n team-a", False, id="*/status is no other subresource"),
        pytest.param("*/*", "get pods/log web -n team-a", True, id="*/* is every subresource"),
        pytest.param("*", "get pods web -n team-a", True, id="* is every resource"),
        pytest.param("*", "get pods/log web -n team-a", True, id="* covers subresources, as in RBAC"),
    ],
)
def test_resources_match_as_in_rbac(given: str, asked: str, allowed: bool) -> None:
    assert ask(asked, grant(rule("get", given))).allowed is allowed


@pytest.mark.parametrize(
    ("groups", "asked", "allowed"),
    [
        pytest.param("-", "get pods web -n team-a", True, id="the core group is the empty one"),
        pytest.param("-", "get pods.metrics.k8s.io web -n team-a", False, id="the same resource of another group"),
        pytest.param("metrics.k8s.io", "get pods.metrics.k8s.io web -n team-a", True, id="a group by name"),
        pytest.param("*", "get pods.metrics.k8s.io web -n team-a", True, id="* is every group"),
    ],
)
def test_groups_match_as_in_rbac(groups: str, asked: str, allowed: bool) -> None:
    assert ask(asked, grant(rule("get", "pods", groups=groups))).allowed is allowed


def test_a_star_in_groups_is_refused_with_any_writing_verb() -> None:
    for verbs in ("*", "get create", "delete"):
        assert isinstance(read_policy(body("p", rule(verbs, "*", groups="*"))), InvalidPolicy)
    grant(rule("get list watch", "*", groups="*"))


def test_a_star_in_the_groups_of_a_deny_goes_with_every_verb() -> None:
    policy = grant(rule("*", "pods"), deny=[rule("*", "*", groups="*")])
    assert ask("delete pods web -n team-a", policy).reason is Reason.DENIED_BY_RULE


def test_a_star_in_verbs_is_every_verb() -> None:
    policy = grant(rule("*", "services"))
    for verb in ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"):
        name = "" if verb in {"list", "watch", "create", "deletecollection"} else "web"
        assert ask(f"{verb} services {name} -n team-a", policy).allowed


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ("get services web-1 -n team-a", True),
        ("get services db -n team-a", True),
        ("get services mail -n team-a", False),
        ("delete services web-1 -n team-a", True),
        ("patch services mail -n team-a", False),
    ],
)
def test_resource_names_are_names_or_globs(asked: str, allowed: bool) -> None:
    assert ask(asked, grant(rule("*", "services", resourceNames=["web-*", "db"]))).allowed is allowed


def test_empty_resource_names_are_every_name() -> None:
    assert ask("create services -n team-a", grant(rule("*", "services", resourceNames=[]))).verdict is Verdict.EXACT


@pytest.mark.parametrize("verb", ["create", "deletecollection"])
@pytest.mark.parametrize("names", [["web"], ["*"]])
def test_resource_names_never_match_create_or_deletecollection(verb: str, names: list[str]) -> None:
    policy = grant(rule("*", "services", resourceNames=names))
    assert not ask(f"{verb} services -n team-a", policy).allowed
    assert not ask(f"{verb} services web -n team-a", policy).allowed


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_lists_are_filtered_by_resource_names(verb: str) -> None:
    policy = grant(
        rule("*", "services", resourceNames=["web-*", "db"]),
        rule("*", "nodes", clusterScoped=True, resourceNames=["n1"]),
    )
    services = ask(f"{verb} services -n team-a", policy)
    assert services.verdict is Verdict.FILTERED
    assert seen(services, "team-a/web-1", "team-a/db", "team-a/mail", "team-b/db") == ["team-a/web-1", "team-a/db"]
    nodes = ask(f"{verb} nodes", policy)
    assert nodes.verdict is Verdict.FILTERED
    assert seen(nodes, "/n1", "/n2", "team-a/n1") == ["/n1"]


def test_a_list_that_is_narrowed_to_a_name_is_decided_by_that_name_and_still_filtered() -> None:
    policy = grant(rule("list", "services", resourceNames=["web"]))
    decision = ask("list services web -n team-a", policy)
    assert decision.verdict is Verdict.FILTERED
    assert seen(decision, "team-a/web", "team-a/mail") == ["team-a/web"]
    assert ask("list services mail -n team-a", policy).verdict is Verdict.DENY


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(rule("*", "*", groups="helm.sh"), id="a star in resources"),
        pytest.param(rule("get", "releases", groups="*"), id="a star in groups"),
        pytest.param(rule("get", "*", groups="*"), id="a star in both"),
    ],
)
def test_wildcards_never_reach_a_virtual_group(given: dict[str, object]) -> None:
    assert not ask("get releases.helm.sh web -n team-a", grant(given)).allowed


def test_a_resource_of_a_virtual_group_is_given_by_its_name() -> None:
    assert ask("get releases.helm.sh web -n team-a", grant(rule("get", "releases", groups="helm.sh"))).allowed


def test_a_star_in_a_deny_reaches_virtual_groups() -> None:
    policy = grant(rule("get", "releases", groups="helm.sh"), deny=[rule("*", "*", groups="*")])
    assert ask("get releases.helm.sh web -n team-a", policy).reason is Reason.DENIED_BY_RULE


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/metrics", True), ("/metrics/cadvisor", False), ("/logs/kubelet", True), ("/logs", False), ("/healthz", False)],
)
def test_paths_are_exact_or_end_in_a_star(path: str, allowed: bool) -> None:
    policy = grant({"nonResourceURLs": ["/metrics", "/logs/*"], "verbs": ["get"]})
    assert ask(f"get {path}", policy).allowed is allowed
    assert not ask(f"post {path}", policy).allowed


def test_a_deny_of_a_path_wins() -> None:
    policy = grant(
        {"nonResourceURLs": ["/*"], "verbs": ["get"]}, deny=[{"nonResourceURLs": ["/debug/*"], "verbs": ["*"]}]
    )
    assert ask("get /metrics", policy).allowed
    assert ask("get /debug/pprof", policy).reason is Reason.DENIED_BY_RULE


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/v1",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/api/v1",
        "/version",
    ],
)
def test_discovery_is_readable_for_every_client_with_an_active_policy(path: str) -> None:
    policy = grant(rule("get", "pods"))
    assert ask(f"get {path}", policy).reason is Reason.ALWAYS_ALLOWED
    assert not ask(f"post {path}", policy).allowed


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/apiserver", "/openapi", "/versions"])
def test_other_paths_need_a_rule(path: str) -> None:
    assert ask(f"get {path}", grant(rule("get", "pods"))).reason is Reason.NOT_ALLOWED


def test_a_deny_of_discovery_wins() -> None:
    policy = grant(rule("get", "pods"), deny=[{"nonResourceURLs": ["/openapi/*"], "verbs": ["get"]}])
    assert ask("get /openapi/v3", policy).reason is Reason.DENIED_BY_RULE


def test_a_request_without_a_verb_is_denied() -> None:
    everything = grant({"nonResourceURLs": ["/*"], "verbs": ["*"]}, rule("*", "*", namespaces=["*"]))
    for text in ("get /metrics", "get pods web -n team-a"):
        nothing = replace(request(text), verb="")
        assert decide(nothing, context([everything])).reason is Reason.MALFORMED_REQUEST
