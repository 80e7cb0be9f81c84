"""RequestInfo, row by row, after the cases of requestinfo_test.go; an integration test asks the real API server."""

from __future__ import annotations

import pytest

from k8s_mcp_server.gateway.requestinfo import UnresolvableRequest, request_info, uses_verb_prefix
from k8s_mcp_server.gateway.selectors import (
    FieldTerm,
    SelectorError,
    is_int64,
    label_selector_parses,
    parse_field_selector,
)
from k8s_mcp_server.gateway.target import parse_target

pytestmark = pytest.mark.unit

# method, target, verb, group, version, namespace, resource, subresource, name
RESOURCE_REQUESTS = [
    ("GET", "/api/v1/namespaces", "list", "", "v1", "", "namespaces", "", ""),
    ("GET", "/api/v1/namespaces/a", "get", "", "v1", "a", "namespaces", "", "a"),
    ("GET", "/api/v1/namespaces/a/pods", "list", "", "v1", "a", "pods", "", ""),
    ("GET", "/api/v1/namespaces/a/pods/", "list", "", "v1", "a", "pods", "", ""),
    ("GET", "/api/v1/namespaces/a/pods/p", "get", "", "v1", "a", "pods", "", "p"),
    ("HEAD", "/api/v1/namespaces/a/pods/p", "get", "", "v1", "a", "pods", "", "p"),
    ("HEAD", "/api/v1/pods", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?watch=true", "watch", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?watch=1", "watch", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?watch", "watch", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?watch=", "watch", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?watch=no", "watch", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?watch=0", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?watch=FALSE", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?watch=fal%C5%BFe", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?watch=fal%C5%BFe&limit=x", "watch", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?Watch=true", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/namespaces/a/pods/p?watch=1", "get", "", "v1", "a", "pods", "", "p"),
    ("GET", "/api/v1/namespaces/a/pods/p/status", "get", "", "v1", "a", "pods", "status", "p"),
    ("GET", "/api/v1/namespaces/a/pods/p/proxy/x/y", "get", "", "v1", "a", "pods", "proxy", "p"),
    ("GET", "/api/v1/namespaces/a/pods/watch", "get", "", "v1", "a", "pods", "", "watch"),
    ("PUT", "/api/v1/namespaces/a/finalize", "update", "", "v1", "a", "namespaces", "finalize", "a"),
    ("PUT", "/api/v1/namespaces/a/status", "update", "", "v1", "a", "namespaces", "status", "a"),
    ("GET", "/api/v1/namespaces/a/status/x", "get", "", "v1", "a", "namespaces", "status", "a"),
    ("PATCH", "/api/v1/namespaces/a/pods/p", "patch", "", "v1", "a", "pods", "", "p"),
    ("PUT", "/api/v1/namespaces/a/pods/p", "update", "", "v1", "a", "pods", "", "p"),
    ("DELETE", "/api/v1/namespaces/a/pods/p", "delete", "", "v1", "a", "pods", "", "p"),
    ("DELETE", "/api/v1/namespaces/a/pods", "deletecollection", "", "v1", "a", "pods", "", ""),
    ("DELETE", "/api/v1/namespaces/a", "delete", "", "v1", "a", "namespaces", "", "a"),
    ("DELETE", "/api/v1/namespaces", "deletecollection", "", "v1", "", "namespaces", "", ""),
    ("DELETE", "/api/v1/nodes?fieldSelector=metadata.name%3Dx", "deletecollection", "", "v1", "", "nodes", "", ""),
    ("POST", "/api/v1/namespaces/a/pods", "create", "", "v1", "a", "pods", "", ""),
    ("POST", "/api/v1/namespaces/a/pods/p/exec", "create", "", "v1", "a", "pods", "exec", "p"),
    ("POST", "/apis/apps/v1/namespaces/a/deployments", "create", "apps", "v1", "a", "deployments", "", ""),
    ("GET", "/apis/apps/v1/deployments/d/scale", "get", "apps", "v1", "", "deployments", "scale", "d"),
    ("GET", "/apis/batch/v1/namespaces/a/jobs/j", "get", "batch", "v1", "a", "jobs", "", "j"),
    ("GET", "/apis/x.example.com/v1/namespaces", "list", "x.example.com", "v1", "", "namespaces", "", ""),
    ("OPTIONS", "/api/v1/pods", "", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dx", "list", "", "v1", "", "pods", "", "x"),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name==x&watch=1", "watch", "", "v1", "", "pods", "", "x"),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name!=x", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name=b,metadata.name=a", "list", "", "v1", "", "pods", "", "a"),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name=.,metadata.name=a", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name=a%2Fb", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name=x,spec", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name=x&limit=many", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name=x&timeoutSeconds=1.5", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name=x&labelSelector=a%20in", "list", "", "v1", "", "pods", "", ""),
    ("GET", "/api/v1/pods?fieldSelector=metadata.name=x&labelSelector=a+in+(b)", "list", "", "v1", "", "pods", "", "x"),
    ("GET", "/api/v1/namespaces?fieldSelector=metadata.name=x", "list", "", "v1", "", "namespaces", "", "x"),
]  # fmt: skip


@pytest.mark.parametrize("row", RESOURCE_REQUESTS, ids=lambda row: f"{row[0]} {row[1]}")
def test_a_resource_request_has_the_api_servers_attributes(row: tuple[str, ...]) -> None:
    method, raw = row[:2]
    target = parse_target(raw)
    info = request_info(method, target.path, target.query)
    assert info.is_resource_request
    assert (
        info.verb, info.api_group, info.api_version, info.namespace, info.resource, info.subresource, info.name,
    ) == row[2:]  # fmt: skip
    assert info.api_prefix == ("apis" if raw.startswith("/apis/") else "api")


@pytest.mark.parametrize(
    "target",
    [
        "/", "/api", "/api/", "/apis", "/api/v1", "/api/v1/", "/apis/apps", "/apis/apps/v1", "/version", "/healthz",
        "/openapi/v3/apis/apps/v1", "/API/v1/pods", "/badprefix/v1/pods", "/apis/v1/pods", "/namespaces/a/pods",
    ],
)  # fmt: skip
def test_other_paths_are_non_resource_requests(target: str) -> None:
    parsed = parse_target(target)
    info = request_info("GET", parsed.path, parsed.query)
    assert (info.is_resource_request, info.verb, info.path) == (False, "get", parsed.path)
    assert info.resource == info.namespace == info.api_group == ""


@pytest.mark.parametrize("path", ["/api/v1/watch", "/api/v1/proxy/", "/apis/apps/v1/watch"])
def test_a_verb_prefix_without_a_resource_cannot_be_resolved(path: str) -> None:
    with pytest.raises(UnresolvableRequest):
        request_info("GET", path, ())


@pytest.mark.parametrize(
    ("path", "verb", "subresource"),
    [
        ("/api/v1/watch/namespaces/a/pods/p", "watch", ""),
        ("/api/v1/watch/namespaces/a/pods/p/status", "watch", "status"),
        ("/api/v1/proxy/namespaces/a/pods/p/sub/path", "proxy", ""),
    ],
)
def test_the_deprecated_verb_prefixes_are_mapped_as_the_api_server_maps_them(
    path: str, verb: str, subresource: str
) -> None:
    info = request_info("DELETE", path, ())
    assert (info.verb, info.namespace, info.resource, info.name) == (verb, "a", "pods", "p")
    assert info.subresource == subresource
    assert uses_verb_prefix(path)


def test_the_first_of_a_repeated_parameter_counts() -> None:
    query = (("watch", "0"), ("watch", "1"), ("fieldSelector", "metadata.name=x"), ("fieldSelector", "metadata.name=y"))
    info = request_info("GET", "/api/v1/pods", query)
    assert (info.verb, info.name) == ("list", "x")


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("5", True), ("-5", True), ("+5", True), ("007", True), ("0" * 100 + "7", True), ("", False), ("-", False),
        ("1_0", False), ("0x1", False), ("1.5", False), (" 1", False), ("\u0661", False), ("9223372036854775807", True),
        ("9223372036854775808", False), ("-9223372036854775808", True), ("-9223372036854775809", False),
        ("9" * 5000, False),
    ],
)  # fmt: skip
def test_integers_are_those_of_go(text: str, accepted: bool) -> None:
    assert is_int64(text) is accepted


@pytest.mark.parametrize(
    ("selector", "accepted"),
    [
        ("", True), ("  ", True), ("a", True), ("!a", True), ("a,b", True), ("a=b", True), ("a==b", True),
        ("a!=b", True),
        ("a=", True), ("a=,b", True), ("a in (b)", True), ("a in(b,c)", True), ("a notin ()", True),
        ("a in (,)", True),
        ("a in (,b,,c,)", True), ("in=in", True), ("in in (in,notin)", True), ("x.io/a=b", True), ("a>5", True),
        ("a<-5", False), ("a>b", False), ("a > 5,b", True), ("a\t=\nb", True), ("A_b.C-d=E_f.G-h", True),
        (",", False), ("a,", False), (",a", False), ("a,,b", False), ("a b", False), ("a=b=c", False),
        ("a=b c", False),
        ("!a=b", False), ("!!a", False), ("!", False), ("=", False), ("=b", False), ("a in", False),
        ("a in b", False),
        ("a in (", False), ("a in (b", False), ("a in (b c)", False), ("a in (b=c)", False), ("a in b)", False),
        ("-a=b", False), ("a-=b", False), ("a=-b", False), ("a/b/c=d", False), ("/a=b", False), ("X.io/a=b", False),
        ("a/=b", False), ("a" * 63, True), ("a" * 64, False), ("a=" + "b" * 63, True), ("a=" + "b" * 64, False),
        ("p" * 253 + "/a", True), ("p" * 254 + "/a", False), ("é=b", False), ("a=é", False),
        ("(", False), (")", False),
    ],
)  # fmt: skip
def test_label_selectors_are_those_of_go(selector: str, accepted: bool) -> None:
    assert label_selector_parses(selector) is accepted


def test_field_terms_are_sorted_unescaped_and_without_empty_ones() -> None:
    assert parse_field_selector("b=1,,a!=x\\,y\\=z\\\\") == (
        FieldTerm(field="a", negated=True, value="x,y=z\\"),
        FieldTerm(field="b", negated=False, value="1"),
    )


@pytest.mark.parametrize("selector", ["a", "a=b=c", "a=b\\", "a=b\\x", "a=b,c"])
def test_a_bad_field_selector_is_an_error(selector: str) -> None:
    with pytest.raises(SelectorError):
        parse_field_selector(selector)
