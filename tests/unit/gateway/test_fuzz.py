"""Random bytes against the readers of the gateway: what is accepted has one meaning, what is not is refused in words.

Bounded here; ``make fuzz`` runs the same for minutes (``K8S_MCP_FUZZ_EXAMPLES``, and ``--hypothesis-seed`` repeats it).
"""

from __future__ import annotations

import json
import os
from typing import Any

import httptools
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from k8s_mcp_server.gateway.filters.errors import Unfilterable
from k8s_mcp_server.gateway.filters.lists import ListFilter
from k8s_mcp_server.gateway.filters.watches import WatchFilter
from k8s_mcp_server.gateway.head import HeadRefused, parse_head
from k8s_mcp_server.gateway.requestinfo import UnresolvableRequest, request_info
from k8s_mcp_server.gateway.target import TargetRefused, parse_target
from tests.support.gateway_bench import Namespaces
from tests.support.random_targets import read_like_go

EXAMPLES = int(os.environ.get("K8S_MCP_FUZZ_EXAMPLES", "200"))
pytestmark = [pytest.mark.unit, pytest.mark.timeout(60 + EXAMPLES // 100)]
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
CUT = Namespaces(frozenset({"a"}))
HIDDEN = "hidden-7f3a"

# Heads: mostly well-formed lines, with parts from the edges of the grammar.
_METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "get", "HEAD", "G\x00T", ""])
_FIELDS = st.sampled_from(
    [
        "Host: x", "host:y", "Content-Length: 2", "Content-Length:\t2 ", "content-length: +2",
        "Transfer-Encoding: chunked", "Transfer-Encoding: CHUNKED", "transfer-encoding:\x0bchunked",
        "Transfer-Encoding : chunked", "Expect: 100-continue", "Connection: upgrade", "Connection: close",
        "Connection: Keep-Alive, Upgrade", "Upgrade: websocket", "Upgrade:", "Authorization: Bearer x", " folded",
        "\tfolded", "X: \xe9", "X: \x00", "X", ": x", "X:", "X: a\rb", "X: a\nb",
    ]
)  # fmt: skip
_LINES = st.lists(_FIELDS | st.text(st.characters(max_codepoint=255), max_size=12), max_size=6)
_ENDS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r"])
_PIECES = st.sampled_from(
    [
        "/", "/api/v1", "/apis/apps/v1", "/namespaces/a", "/pods", "/watch", "/proxy", "/secrets", "//", "/..", "/.",
        "%2f",
        "%2e", "%2E%2e", "%00", "%25", "%", "%zz", "%C0%AF", "%ED%A0%80", "%C3%A9", ";", "\\", "#", "?", "&", "=", "+",
        "watch=1", "limit=1", "fieldSelector=metadata.name%3Dx", "labelSelector=a", "*", "@", ":", "a", "~",
    ]
)  # fmt: skip
_TARGETS = st.lists(_PIECES | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=3), max_size=9).map(
    "".join
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A head with its end."""
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2", "http/1.1"]))
    lines = [f"{draw(_METHODS)} {draw(_TARGETS) or '/'} {version}", *draw(_LINES)]
    return (draw(_ENDS).join(lines) + "\r\n\r\n").encode("latin-1")


class Llhttp:
    """What llhttp makes of a head."""

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[str, str]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")))


@bounded
@given(heads() | st.binary(max_size=120).map(lambda data: data + b"\r\n\r\n"))
@example(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
def test_a_head_that_is_accepted_is_read_the_same_by_llhttp(data: bytes) -> None:
    assume(data.find(b"\r\n\r\n") == len(data) - 4)  # the front cuts there
    refusal: HeadRefused | None = None
    try:
        head = parse_head(data)
    except HeadRefused as error:
        refusal = error
    if refusal is not None:
        assert 400 <= refusal.status < 600
        assert refusal.message
        return
    other = Llhttp()
    parser = httptools.HttpRequestParser(other)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        assert head.upgrade
    except httptools.HttpParserError:
        return  # the front refuses what either of them does
    assert parser.get_method().decode() == head.method
    assert parser.get_http_version() == "1.1"
    assert other.url.decode() == head.target
    assert other.fields == list(head.headers)
    lengths = head.headers.all("content-length") + head.headers.all("transfer-encoding")
    assert len(lengths) <= 1
    assert head.has_body is (head.content_length != 0)


@bounded
@given(_TARGETS | st.text(max_size=60), st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]))
@example("/api/v1/namespaces/a/pods?watch=1", "GET")
def test_a_target_that_is_accepted_means_the_same_to_go_before_and_after(raw: str, method: str) -> None:
    try:
        target = parse_target(raw)
    except TargetRefused:
        return
    encoded = target.encode()
    assert parse_target(encoded) == target
    assert read_like_go(raw) == read_like_go(encoded) == (target.path, list(target.query))
    assert ".." not in target.path.split("/")
    assert "" not in target.path.strip("/").split("/") or target.path == "/"
    try:
        info = request_info(method, target.path, target.query)
    except UnresolvableRequest:
        raise AssertionError("a path without a verb prefix has a meaning") from None
    assert info == request_info(method, parse_target(encoded).path, parse_target(encoded).query)


_SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["a", "b", "", HIDDEN, "Table", "ADDED"])
_KEYS = st.sampled_from(
    ["kind", "metadata", "items", "rows", "object", "name", "namespace", "type", "columnDefinitions", "continue", "x"]
)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=14
)


def _object(namespace: str) -> dict[str, Any]:
    return {"metadata": {"name": HIDDEN if namespace != "a" else "seen", "namespace": namespace}}


_OBJECTS = st.sampled_from(["a", "b"]).map(_object)
_DOCUMENTS = st.one_of(
    st.dictionaries(_KEYS, _VALUES, max_size=5),
    st.fixed_dictionaries({"kind": st.just("PodList"), "items": st.lists(_OBJECTS, max_size=3)}),
    st.fixed_dictionaries(
        {"kind": st.just("Table"), "rows": st.lists(_OBJECTS.map(lambda item: {"cells": [], "object": item}))}
    ),
)


@bounded
@given(_DOCUMENTS, st.data())
def test_a_damaged_list_shows_no_hidden_object_as_one(document: dict[str, Any], data: st.DataObject) -> None:
    body = damaged(json.dumps(document).encode(), data)
    try:
        cutter = ListFilter(CUT)
        answer = cutter.feed(body) + cutter.finish()
    except Unfilterable:
        return
    shown = json.loads(answer.decode(errors="replace"))  # what an object holds stays bytes
    for item in shown.get("items") or []:
        assert item["metadata"].get("namespace") == "a"
    for row in shown.get("rows") or []:
        assert row["object"]["metadata"].get("namespace") == "a"


@bounded
@given(st.lists(_OBJECTS | _VALUES, max_size=4), st.data())
def test_a_damaged_watch_shows_no_hidden_object_as_one(items: list[Any], data: st.DataObject) -> None:
    kinds = st.sampled_from(["ADDED", "MODIFIED", "DELETED", "RENAMED"])
    lines = [json.dumps({"type": data.draw(kinds), "object": item}).encode() for item in items]
    stream = damaged(b"\n".join(lines) + b"\n", data)
    events = WatchFilter(CUT)
    try:
        shown = events.feed(stream) + events.finish()
    except Unfilterable:
        return
    for line in shown.split(b"\n")[:-1]:
        event = json.loads(line.decode(errors="replace"))
        if event["type"] not in {"BOOKMARK", "ERROR"} and event["object"].get("kind") != "Table":
            assert event["object"]["metadata"]["namespace"] == "a"


def damaged(body: bytes, data: st.DataObject) -> bytes:
    """The bytes with up to two of them replaced, left out or put in."""
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, max(0, len(body) - 1)))
        piece = data.draw(
            st.sampled_from([b"", b"{", b"}", b'"', b",", b"\\", b"\x00", b"\xff", b"\n", b":", b"a", b"null"])
        )
        body = body[:at] + piece + body[at + data.draw(st.integers(0, 1)) :]
    return body
