"""Reviews about oneself are answered for the client: what the policy allows and the API server gives as well."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from k8s_mcp_server.gateway.head import Headers
from k8s_mcp_server.gateway.reviews.coverage import gives, gives_path, rules_about
from k8s_mcp_server.gateway.reviews.listing import Listing
from k8s_mcp_server.gateway.reviews.wire import NonResourceRule, ResourceRule, RulesStatus, accepts_json
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.tools import Tool
from tests.support.asking import CATALOG, context, policy, rule
from tests.support.fake_upstream import Received, Reply
from tests.support.gateway_bench import AGENT, Bench, allow, cut_to, deny
from tests.support.raw_http import RawResponse

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
PODS = {"namespace": "a", "verb": "get", "resource": "pods"}
JSON = "Content-Type: application/json"
PROTOBUF = "Content-Type: application/vnd.kubernetes.protobuf"
EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}


def field(number: int, value: bytes) -> bytes:
    """A length-delimited protobuf field."""
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


def protobuf(kind: str, spec: bytes) -> bytes:
    """A review as kubectl encodes it."""
    type_meta = field(1, b"authorization.k8s.io/v1") + field(2, kind.encode())
    return b"k8s\0" + field(1, type_meta) + field(2, field(1, b"") + field(2, spec) + field(3, b""))


def answering(bench: Bench, status: dict[str, Any]) -> None:
    bench.upstream.respond = lambda _: Reply(status=201, parts=json.dumps({"status": status}).encode())


async def ask(bench: Bench, target: str, document: Any, *headers: str) -> RawResponse:
    return await bench.ask("POST", target, headers=headers or (JSON,), body=json.dumps(document).encode())


@pytest.mark.parametrize("ours", [True, False], ids=["ours too", "not ours"])
@pytest.mark.parametrize("policy_allows", [True, False], ids=["policy allows", "policy denies"])
async def test_allowed_is_what_both_the_policy_and_the_api_server_allow(
    bench: Bench, ours: bool, policy_allows: bool
) -> None:
    bench.authorizer.rule = lambda info: allow() if policy_allows or info.resource != "pods" else deny("Not you.")
    answering(bench, {"allowed": ours, "reason": "ours"})
    answer = await ask(bench, ACCESS, {"spec": {"resourceAttributes": PODS}})
    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json"
    review = answer.json()
    assert (review["kind"], review["apiVersion"]) == ("SelfSubjectAccessReview", "authorization.k8s.io/v1")
    assert review["spec"] == {"resourceAttributes": PODS}
    assert review["status"]["allowed"] is (ours and policy_allows)
    if not policy_allows:
        assert review["status"]["reason"] == "Not you."
    [received] = bench.upstream.requests
    assert json.loads(received.body)["spec"] == {"resourceAttributes": PODS}
    assert (received.header("content-type"), received.header("accept")) == ("application/json", "application/json")
    assert bench.session.requests_denied == 0


async def test_a_question_in_protobuf_is_the_same_question(bench: Bench) -> None:
    answering(bench, {"allowed": True})
    attributes = b"".join(
        field(n, v) for n, v in enumerate([b"a", b"get", b"apps", b"v1", b"deployments", b"scale", b"x"], 1)
    )
    body = protobuf("SelfSubjectAccessReview", field(1, attributes))
    headers = (PROTOBUF, "Accept: application/vnd.kubernetes.protobuf, application/json")
    answer = await bench.ask("POST", ACCESS, headers=headers, body=body)
    spec = {
        "resourceAttributes": {
            "namespace": "a", "verb": "get", "group": "apps", "version": "v1", "resource": "deployments",
            "subresource": "scale", "name": "x",
        }
    }  # fmt: skip
    assert answer.json()["spec"] == spec
    assert json.loads(bench.upstream.requests[0].body)["spec"] == spec
    [asked] = bench.authorizer.asked[1]
    assert (asked.verb, asked.api_group, asked.full_resource) == ("get", "apps", "deployments/scale")
    assert (asked.namespace, asked.name) == ("a", "x")


async def test_a_path_is_asked_about_in_protobuf(bench: Bench) -> None:
    answering(bench, {"allowed": True})
    body = protobuf("SelfSubjectAccessReview", field(2, field(1, b"/metrics") + field(2, b"get")))
    answer = await bench.ask("POST", ACCESS, headers=(PROTOBUF,), body=body)
    assert answer.json()["spec"] == {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}
    [asked] = bench.authorizer.asked[1]
    assert (asked.is_resource_request, asked.path, asked.verb) == (False, "/metrics", "get")


async def test_a_list_that_would_be_cut_may_be_made(bench: Bench) -> None:
    bench.authorizer.rule = lambda info: cut_to("a") if info.resource == "pods" else allow()
    answering(bench, {"allowed": True})
    answer = await ask(bench, ACCESS, {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}})
    assert answer.json()["status"]["allowed"] is True


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        pytest.param({**PODS, "verb": "update"}, ["update", "create"], id="update creates what is missing"),
        pytest.param({**PODS, "subresource": "exec"}, ["create"], id="exec over WebSocket"),
        pytest.param(
            {**PODS, "verb": "*"},
            ["get", "list", "watch", "create", "update", "create", "patch", "delete", "deletecollection"],
            id="every verb",
        ),
    ],
)
async def test_a_question_is_decided_as_its_request_would_be(
    bench: Bench, attributes: dict[str, str], expected: list[str]
) -> None:
    answering(bench, {"allowed": True})
    await ask(bench, ACCESS, {"spec": {"resourceAttributes": attributes}})
    assert [item.verb for item in bench.authorizer.asked[1]] == expected


async def test_the_namespace_of_a_cluster_scoped_resource_does_not_matter(bench: Bench) -> None:
    bench.authorizer.catalog = Catalog([ApiResource(group="", resource="nodes", kind="Node", scope=Scope.CLUSTER)])
    answering(bench, {"allowed": True})
    await ask(bench, ACCESS, {"spec": {"resourceAttributes": {**PODS, "resource": "nodes"}}})
    await ask(bench, ACCESS, {"spec": {"resourceAttributes": {**PODS, "resource": "namespaces", "name": "b"}}})
    assert [item.namespace for asked in bench.authorizer.asked[1::2] for item in asked] == ["", "b"]


async def test_nobody_may_do_everything(bench: Bench) -> None:
    answering(bench, {"allowed": True})
    answer = await ask(bench, ACCESS, {"spec": {"resourceAttributes": {"verb": "get", "group": "*", "resource": "*"}}})
    assert answer.json()["status"]["allowed"] is False


async def test_what_the_api_server_finds_wrong_is_told_in_its_words(bench: Bench) -> None:
    bench.upstream.respond = lambda _: Reply(status=422, parts=b'{"kind":"Status","message":"exactly one"}')
    answer = await ask(bench, ACCESS, {"spec": {}})
    assert (answer.status, answer.json()["message"], answer.json()["reason"]) == (422, "exactly one", "Invalid")


@pytest.mark.parametrize("parts", [b"", b"{}", b'{"status":{"allowed":"yes"}}', b"\xff"])
async def test_an_answer_that_cannot_be_read_is_none(bench: Bench, parts: bytes) -> None:
    bench.upstream.respond = lambda _: Reply(status=201, parts=parts)
    assert (await ask(bench, ACCESS, {"spec": {"resourceAttributes": PODS}})).status == 502


async def test_a_review_is_sent_again_over_a_new_connection_when_the_kept_one_broke(bench: Bench) -> None:
    answering(bench, {"allowed": True})
    question = {"spec": {"resourceAttributes": PODS}}
    assert (await ask(bench, ACCESS, question)).status == 201
    sound = bench.upstream.respond

    def break_once(_: Received) -> Reply:
        bench.upstream.respond = sound
        return Reply(raw=b"", close=True)

    bench.upstream.respond = break_once
    assert (await ask(bench, ACCESS, question)).status == 201


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        pytest.param(b"", "application/json", 400, id="nothing"),
        pytest.param(b"[]", "application/json", 400, id="no object"),
        pytest.param(b'{"spec":' + b"[" * 9000, "application/json", 400, id="thousands of brackets"),
        pytest.param(b'{"spec":{"resourceAttributes":{"verb":1}}}', "application/json", 400, id="a numeric verb"),
        pytest.param(b'{"kind":"SubjectAccessReview","spec":{}}', "application/json", 400, id="another review"),
        pytest.param(b"spec: {}", "application/yaml", 415, id="YAML"),
        pytest.param(b"{}", "application/vnd.kubernetes.protobuf", 400, id="JSON as protobuf"),
        pytest.param(protobuf("Pod", b""), "application/vnd.kubernetes.protobuf", 400, id="a Pod in protobuf"),
        pytest.param(
            protobuf("", field(1, b"") + field(1, b"")), "application/vnd.kubernetes.protobuf", 400, id="two questions"
        ),
        pytest.param(
            protobuf("", field(1, field(2, b"\xff"))), "application/vnd.kubernetes.protobuf", 400, id="not UTF-8"
        ),
    ],
)
async def test_a_question_that_cannot_be_read_is_refused_and_not_forwarded(
    bench: Bench, body: bytes, content_type: str, status: int
) -> None:
    answer = await bench.ask("POST", ACCESS, headers=(f"Content-Type: {content_type}",), body=body)
    assert answer.status == status
    assert bench.upstream.requests == []


async def test_a_version_that_is_not_answered_is_not_forwarded(bench: Bench) -> None:
    assert (await ask(bench, ACCESS.replace("v1", "v1beta1"), {})).status == 404
    assert bench.upstream.requests == []


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        ((), True),
        (("application/json",), True),
        (("application/vnd.kubernetes.protobuf,application/json",), True),
        (("application/vnd.kubernetes.protobuf", "*/*;q=0.1"), True),
        (("application/vnd.kubernetes.protobuf",), False),
        (("application/json;as=Table;v=v1;g=meta.k8s.io",), False),
    ],
)
def test_reviews_are_answered_in_json_to_whoever_takes_it(accept: tuple[str, ...], accepted: bool) -> None:
    assert accepts_json(Headers(tuple(("accept", value) for value in accept))) is accepted


async def test_a_client_whose_policy_does_not_count_gets_no_answer(bench: Bench) -> None:
    bench.authorizer.rule = lambda _: deny()
    assert (await ask(bench, WHOAMI, {})).status == 403


async def test_who_am_i_is_answered_without_the_api_server(bench: Bench) -> None:
    member = Client(username="oidc:alice", groups=frozenset({"oidc:b", "oidc:a"}))
    session = bench.gateway.open(client=member, tool=Tool.KUBECTL, command_id="c-2")
    answer = await bench.ask("POST", WHOAMI, token=session.token, headers=(JSON,), body=b"{}")
    assert answer.status == 201
    assert answer.json()["status"] == {"userInfo": {"username": "oidc:alice", "groups": ["oidc:a", "oidc:b"]}}
    assert (await ask(bench, WHOAMI, {})).json()["status"] == {"userInfo": {"username": AGENT.username}}
    assert bench.upstream.requests == []
    assert [record.status for record in await bench.recorded(2)] == [201, 201]


async def test_rules_are_answered_in_one_document(bench: Bench) -> None:
    subject = {"kind": "User", "name": "oidc:alice"}
    asking = context([policy("p", rule("get", "pods"), subjects=[subject])])
    bench.authorizer.snapshot = asking.snapshot
    verbs = frozenset({"get", "list"})
    bench.authorizer.catalog = Catalog([replace(item, verbs=verbs) for item in CATALOG])
    session = bench.gateway.open(client=Client(username="oidc:alice"), tool=Tool.KUBECTL, command_id="c-2")
    status = {"resourceRules": [EVERYTHING], "nonResourceRules": None, "incomplete": True, "evaluationError": "role x"}
    answering(bench, status)
    body = protobuf("SelfSubjectRulesReview", field(1, b"team-a"))
    answer = await bench.ask("POST", RULES, token=session.token, headers=(PROTOBUF,), body=body)
    review = answer.json()
    assert review["spec"] == {"namespace": "team-a"}
    about_pods = [item for item in review["status"]["resourceRules"] if item["resources"] == ["pods"]]
    assert about_pods == [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": []}]
    assert review["status"]["incomplete"] is True
    assert review["status"]["evaluationError"] == "the API server could not evaluate all of its own rules"
    assert json.loads(bench.upstream.requests[0].body)["spec"] == {"namespace": "team-a"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(
            {"namespaces": ["team-a"], "fromRBAC": True}, "what a rule with fromRBAC gives is left out", id="own"
        ),
        pytest.param(rule("get", "pods"), "", id="the policy's"),
    ],
)
async def test_a_list_of_rules_says_when_it_leaves_out_the_clients_own_rights(
    bench: Bench, given: dict[str, Any], said: str
) -> None:
    asking = context([policy("p", given, subjects=[{"kind": "User", "name": "oidc:alice"}])])
    bench.authorizer.snapshot = asking.snapshot
    session = bench.gateway.open(client=Client(username="oidc:alice"), tool=Tool.KUBECTL, command_id="c-2")
    answering(bench, {"resourceRules": [EVERYTHING]})
    body = json.dumps({"spec": {"namespace": "team-a"}}).encode()
    status = (await bench.ask("POST", RULES, token=session.token, headers=(JSON,), body=body)).json()["status"]
    assert status["incomplete"] is bool(said)
    assert status["evaluationError"].partition(";")[0] == said


SERVED = Catalog(
    [
        ApiResource(
            group="",
            resource="pods",
            kind="Pod",
            scope=Scope.NAMESPACED,
            verbs=frozenset({"get", "list", "delete"}),
            subresources=(("log", frozenset({"get"})), ("exec", frozenset({"get", "create"}))),
        ),
        ApiResource(group="", resource="secrets", kind="Secret", scope=Scope.NAMESPACED, verbs=frozenset({"get"})),
        ApiResource(group="", resource="nodes", kind="Node", scope=Scope.CLUSTER, verbs=frozenset({"get"})),
    ]
)
ALL = ResourceRule(verbs=("*",), api_groups=("*",), resources=("*",))


def listed(*rules: dict[str, Any], rbac: tuple[ResourceRule, ...] = (ALL,), **spec: Any) -> dict[str, str]:
    """What is listed in team-a: verbs by resource, with its names."""
    listing = Listing(
        context([policy("p", *rules, **spec)], catalog=SERVED),
        namespace="team-a",
        rbac=RulesStatus(resource_rules=rbac),
    )
    found = [item for group in listing.resource_rules() for item in group]
    return {" ".join((*item.resources, *item.resource_names)): " ".join(item.verbs) for item in found}


def test_a_listing_holds_what_is_decided_so_and_no_wildcard() -> None:
    assert listed(rule("*", "*")) == {"pods": "get list delete", "pods/log": "get"}


def test_a_listing_stops_where_a_deny_begins() -> None:
    assert listed(rule("*", "*"), deny=[rule("delete", "pods")]) == {"pods": "get list", "pods/log": "get"}


def test_a_listing_names_what_is_given_by_name() -> None:
    rules = [rule("get list", "pods", resourceNames=["web-*", "db"]), rule("delete", "pods", resourceNames=["db"])]
    assert listed(*rules) == {"pods": "list", "pods db": "get delete", "pods web-*": "get"}


def test_a_listing_holds_the_sensitive_and_the_cluster_scoped_where_they_are_named() -> None:
    rules = [rule("create", "pods/exec"), rule("get", "nodes", clusterScoped=True), rule("get", "secrets")]
    assert listed(*rules) == {"pods/exec": "get create", "secrets": "get", "nodes": "get"}


def test_a_listing_is_no_wider_than_the_api_servers_rules() -> None:
    rbac = (
        ResourceRule(verbs=("get",), api_groups=("",), resources=("pods",)),
        ResourceRule(verbs=("delete",), api_groups=("",), resources=("pods",), resource_names=("web",)),
        ResourceRule(verbs=("*",), api_groups=("apps",), resources=("*",)),
    )
    assert listed(rule("*", "*"), rbac=rbac) == {"pods": "get", "pods web": "delete"}


def test_paths_are_listed_as_far_as_both_sides_give_them() -> None:
    paths = rule("get", nonResourceURLs=["/metrics", "/healthz*", "/logs"])
    given = NonResourceRule(verbs=("get",), urls=("/api", "/api/*", "/metrics", "/healthz*"))
    listing = Listing(context([policy("p", paths)]), namespace="team-a", rbac=RulesStatus(non_resource_rules=(given,)))
    found = [url for item in listing.path_rules() for url in item.urls]
    assert found == ["/api", "/api/*", "/metrics", "/healthz*"]


@pytest.mark.parametrize(
    ("resources", "names", "asked", "name", "given"),
    [
        (("pods",), (), "pods", "", True),
        (("*",), (), "pods/log", "", True),
        (("*/log",), (), "pods/log", "", True),
        (("pods",), (), "pods/log", "", False),
        (("pods/*",), (), "pods/log", "", False),
        (("pods",), ("web",), "pods", "", False),
        (("pods",), ("web",), "pods", "web", True),
        (("pods",), ("web",), "pods", "db", False),
    ],
)
def test_rbac_rules_are_matched_as_rbac_matches_them(
    resources: tuple[str, ...], names: tuple[str, ...], asked: str, name: str, given: bool
) -> None:
    rules = [ResourceRule(verbs=("get",), api_groups=("",), resources=resources, resource_names=names)]
    resource, _, subresource = asked.partition("/")
    about = list(rules_about(rules, group="", resource=resource, subresource=subresource))
    assert gives(about, verb="get", name=name) is given
    assert not gives(about, verb="list", name=name)
    assert not list(rules_about(rules, group="apps", resource=resource, subresource=subresource))


def test_rbac_paths_are_matched_as_rbac_matches_them() -> None:
    rules = [NonResourceRule(verbs=("get",), urls=("/a", "/b/*"))]
    assert gives_path(rules, verb="get", path="/a")
    assert gives_path(rules, verb="get", path="/b/c")
    assert not gives_path(rules, verb="get", path="/b")
    assert not gives_path(rules, verb="post", path="/a")
