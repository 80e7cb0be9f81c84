"""Targets: what is refused, and that what is passed on means what was decided on."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8s_mcp_server.gateway.target import LONGEST_TARGET, Target, TargetRefused, parse_target
from tests.support.random_targets import random_request, read_like_go

pytestmark = pytest.mark.unit

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are slow at times
P = "/api/v1/namespaces/a"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("", id="empty"),
        pytest.param("*", id="asterisk-form"),
        pytest.param("https://10.0.0.1/api", id="absolute-form"),
        pytest.param("10.0.0.1:443", id="authority-form"),
        pytest.param("api/v1", id="relative"),
        pytest.param("/api\t", id="tab"),
        pytest.param("/api/v1/pods#x", id="fragment"),
        pytest.param("/api/v1/é", id="not ASCII"),
        pytest.param("//api/v1/pods", id="leading double slash"),
        pytest.param("/api//v1/pods", id="double slash"),
        pytest.param("/api/v1/pods//", id="trailing double slash"),
        pytest.param("//", id="only slashes"),
        pytest.param(f"{P}/./pods", id="dot segment"),
        pytest.param(f"{P}/../b/pods", id="dot-dot segment"),
        pytest.param(f"{P}/%2e%2e/b/pods", id="encoded dot-dot"),
        pytest.param(f"{P}/.%2E/b/pods", id="half-encoded dot-dot"),
        pytest.param(f"{P}/%2e/pods", id="encoded dot"),
        pytest.param(f"{P}%2Fpods", id="encoded slash"),
        pytest.param(f"{P}%2fpods", id="encoded slash in lower case"),
        pytest.param(f"{P}/pods%5cx", id="encoded backslash"),
        pytest.param(f"{P}\\..\\b/pods", id="backslash"),
        pytest.param(f"{P}/pods%00", id="encoded NUL"),
        pytest.param(f"{P}/pods%0a", id="encoded line feed"),
        pytest.param(f"{P}/pods%20", id="encoded blank"),
        pytest.param(f"{P}/pods%7f", id="encoded DEL"),
        pytest.param(f"{P}/pods%c2%85", id="encoded C1 control"),
        pytest.param(f"{P}/pods%3Fwatch=1", id="encoded question mark"),
        pytest.param(f"{P}/pods%23", id="encoded hash"),
        pytest.param(f"{P}/pods%252Fx", id="twice encoded slash"),
        pytest.param(f"{P}/pods;x=1", id="matrix parameter"),
        pytest.param(f"{P}/pods%3bx", id="encoded semicolon"),
        pytest.param(f"{P}/pods%", id="lone percent"),
        pytest.param(f"{P}/pods%zz", id="bad escape"),
        pytest.param(f"{P}/pods%ff", id="not UTF-8"),
        pytest.param(f"{P}/pods%c0%af", id="overlong slash"),
        pytest.param("/api/v1/pods?watch=0;watch=1", id="semicolon in the query"),
        pytest.param("/api/v1/pods?a=%zz", id="bad escape in the query"),
        pytest.param("/api/v1/pods?a=%ff", id="query not UTF-8"),
        pytest.param("/api/v1/pods?a=%00", id="NUL in the query"),
        pytest.param("/api/v1/pods?watch=0&watch=1", id="watch twice"),
        pytest.param("/api/v1/pods?watch=0&%77atch=1", id="watch twice, encoded"),
        pytest.param("/api/v1/pods?fieldSelector=a=b&fieldSelector=c=d", id="fieldSelector twice"),
        pytest.param("/api/v1/pods?labelSelector=a&labelSelector=b", id="labelSelector twice"),
        pytest.param("/api/v1/pods?dryRun=All&dryRun=", id="dryRun twice"),
        pytest.param("/api/v1/pods?continue=a&continue=b", id="continue twice"),
        pytest.param("/api/v1/pods?includeObject=None&includeObject=Object", id="includeObject twice"),
        pytest.param("/api/v1/watch/pods", id="watch prefix"),
        pytest.param("/api/v1/watch", id="watch prefix alone"),
        pytest.param("/apis/apps/v1/watch/namespaces/a/deployments", id="watch prefix with a group"),
        pytest.param("/api/v1/proxy/nodes/n", id="proxy prefix"),
        pytest.param("/api/v1/%77atch/pods", id="watch prefix, encoded"),
        pytest.param("/" + "a" * LONGEST_TARGET, id="too long"),
    ],
)
def test_an_ambiguous_target_is_refused(raw: str) -> None:
    with pytest.raises(TargetRefused):
        parse_target(raw)


@pytest.mark.parametrize(
    ("raw", "path", "encoded"),
    [
        ("/", "/", "/"),
        ("/apis/", "/apis/", "/apis/"),
        (f"{P}/pods/p%2Da", f"{P}/pods/p-a", f"{P}/pods/p-a"),
        ("/api/v1/x/system%3Anode", "/api/v1/x/system:node", "/api/v1/x/system:node"),
        ("/api/v1/x/%C3%A9", "/api/v1/x/é", "/api/v1/x/%C3%A9"),
        ("/api/v1/x/a+b", "/api/v1/x/a+b", "/api/v1/x/a+b"),
        ("/api/v1/x/..a", "/api/v1/x/..a", "/api/v1/x/..a"),
        (f"{P}/services/s:80/proxy/", f"{P}/services/s:80/proxy/", f"{P}/services/s:80/proxy/"),
        ("/api/v1/pods?watch", "/api/v1/pods", "/api/v1/pods?watch="),
        ("/api/v1/pods?&a=b&&c=d+e", "/api/v1/pods", "/api/v1/pods?a=b&c=d%20e"),
        ("/api/v1/pods?", "/api/v1/pods", "/api/v1/pods"),
        (f"{P}/pods/p/exec?command=a&command=b", f"{P}/pods/p/exec", f"{P}/pods/p/exec?command=a&command=b"),
        ("/api/v1/pods?fieldSelector=a%5C,b", "/api/v1/pods", "/api/v1/pods?fieldSelector=a%5C%2Cb"),
    ],
)
def test_a_target_is_written_anew(raw: str, path: str, encoded: str) -> None:
    target = parse_target(raw)
    assert target.path == path
    assert target.encode() == encoded


@patient
@given(st.integers())
def test_what_is_forwarded_means_to_go_what_was_decided_on(seed: int) -> None:
    raw = random_request(random.Random(seed)).target  # noqa: S311  test inputs
    try:
        target = parse_target(raw)
    except TargetRefused:
        return
    assert read_like_go(target.encode()) == (target.path, list(target.query))
    assert parse_target(target.encode()) == target


@patient
@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_any_text_is_refused_or_has_one_meaning(text: str) -> None:
    try:
        target = parse_target("/" + text)
    except TargetRefused:
        return
    assert read_like_go(target.encode()) == (target.path, list(target.query))
    assert not {"", ".", ".."} & set(target.path.strip("/").split("/")[1:])


def test_a_parameter_is_replaced_and_dropped() -> None:
    target = Target(path="/x", query=(("a", "1"), ("b", "2"), ("a", "3")))
    assert target.with_parameter("a", "4").encode() == "/x?b=2&a=4"
    assert target.without("a").encode() == "/x?b=2"
