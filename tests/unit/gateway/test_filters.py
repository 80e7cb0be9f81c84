"""Filtered answers are the full ones filtered by hand, and what is not understood does not pass."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8s_mcp_server.gateway.filters.errors import Unfilterable
from k8s_mcp_server.gateway.filters.lists import filter_list
from k8s_mcp_server.gateway.filters.negotiation import filterable, json_only
from k8s_mcp_server.gateway.filters.watches import LONGEST_EVENT, WatchFilter
from k8s_mcp_server.gateway.head import Headers
from k8s_mcp_server.gateway.target import parse_target
from tests.support.gateway_bench import Namespaces

pytestmark = pytest.mark.unit

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are slow at times
CUT = Namespaces(frozenset({"a", "b"}))
names = st.sampled_from(["a", "b", "c", "kube-system", "é", 'quo"te', "x" * 40])
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
objects = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": names, "namespace": names}, optional={"labels": values, "uid": st.text(max_size=12)}
        )
    },
    optional={"spec": values, "status": values, "kind": st.just("Pod"), "metadata2": values},
)
cluster_objects = st.fixed_dictionaries({"metadata": st.fixed_dictionaries({"name": names})}, optional={"spec": values})


def allowed(item: Any) -> bool:
    metadata = item["metadata"]
    return CUT.allows(namespace=metadata.get("namespace", ""), name=metadata["name"])


def cut(document: dict[str, Any]) -> dict[str, Any]:
    answer = json.loads(filter_list(json.dumps(document).encode(), CUT))
    assert isinstance(answer, dict)
    return answer


@patient
@given(st.lists(objects | cluster_objects, max_size=8))
def test_a_filtered_list_is_the_list_filtered_by_hand(items: list[dict[str, Any]]) -> None:
    document = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items}
    assert cut(document) == {**document, "items": [item for item in items if allowed(item)]}


@patient
@given(st.lists(objects, max_size=8), st.lists(values, max_size=3))
def test_a_filtered_table_is_the_table_filtered_by_hand(items: list[dict[str, Any]], cells: list[Any]) -> None:
    rows = [{"cells": cells, "object": item} for item in items]
    document = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": [{"name": "Name"}], "rows": rows}
    assert cut(document) == {**document, "rows": [row for row in rows if allowed(row["object"])]}


@patient
@given(st.lists(st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED"]), objects), max_size=6), st.data())
def test_a_filtered_watch_is_the_watch_filtered_by_hand(events: list[tuple[str, Any]], data: st.DataObject) -> None:
    lines = [json.dumps({"type": kind, "object": item}) + "\n" for kind, item in events]
    stream = "".join(lines).encode()
    expected = "".join(line for line, (_, item) in zip(lines, events, strict=True) if allowed(item))
    events_filter, out, position = WatchFilter(CUT), b"", 0
    while position < len(stream):
        size = data.draw(st.integers(1, 200))
        out += events_filter.feed(stream[position : position + size])
        position += size
    assert (out + events_filter.finish()).decode() == expected


@patient
@given(st.binary(max_size=200))
def test_any_bytes_are_filtered_or_refused(data: bytes) -> None:
    events = WatchFilter(CUT)
    with contextlib.suppress(Unfilterable):
        filter_list(data, CUT)
    with contextlib.suppress(Unfilterable):
        events.feed(data)
    with contextlib.suppress(Unfilterable):
        events.finish()


def test_counts_are_dropped() -> None:
    metadata = {"resourceVersion": "7", "continue": "", "remainingItemCount": 3, "selfLink": "/x", "shardInfo": {}}
    answer = cut({"kind": "PodList", "metadata": metadata, "items": None})
    assert answer == {"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": None}


def test_a_namespaces_own_object_is_known_by_its_name() -> None:
    items = [{"metadata": {"name": "a"}}, {"metadata": {"name": "c"}}]
    assert cut({"kind": "NamespaceList", "items": items})["items"] == items[:1]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b'{"items":[]}x', id="something behind it"),
        pytest.param(b'{"kind":"Pod","apiVersion":"v1"}', id="no list"),
        pytest.param(b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}', id="a status"),
        pytest.param(b'{"kind":"PodList","items":[],"rows":[]}', id="both items and rows"),
        pytest.param(b'{"kind":"PodList","rows":[]}', id="rows outside of a Table"),
        pytest.param(b'{"kind":"PodList","items":[],"extra":1}', id="an unknown field"),
        pytest.param(b'{"kind":"PodList","items":{}}', id="items that are no array"),
        pytest.param(b'{"kind":"PodList","items":[1]}', id="an item that is no object"),
        pytest.param(b'{"kind":"PodList","items":[{}]}', id="an item without metadata"),
        pytest.param(b'{"kind":"PodList","items":[{"metadata":null}]}', id="metadata that is null"),
        pytest.param(b'{"kind":"PodList","items":[{"metadata":{"namespace":"a"}}]}', id="an item without a name"),
        pytest.param(b'{"kind":"PodList","items":[{"metadata":{"name":"","namespace":"a"}}]}', id="an empty name"),
        pytest.param(b'{"kind":"PodList","items":[{"metadata":{"name":1,"namespace":"a"}}]}', id="a numeric name"),
        pytest.param(b'{"kind":"PodList","items":[{"metadata":{"name":"x","namespace":null}}]}', id="a null namespace"),
        pytest.param(b'{"kind":"PodList","metadata":[],"items":[]}', id="metadata that is no object"),
        pytest.param(b'{"kind":"PodList","metadata":{"continue":1},"items":[]}', id="a numeric continue token"),
        pytest.param(b'{"kind":"PodList","metadata":{"continue":"t"},"items":[]}', id="a page of several"),
        pytest.param(b'{"kind":1,"rows":[]}', id="a kind that is no string"),
        pytest.param(b'{"kind":"Table","rows":[{"cells":[]}]}', id="a row without its object"),
        pytest.param(b'{"kind":"Table","rows":[{"cells":[],"object":null}]}', id="a row with a null object"),
        pytest.param(b"k8s\0\x0a\x10", id="protobuf"),
        pytest.param(b"\x1f\x8b\x08\x00", id="gzip"),
        pytest.param(b'{"kind":"PodList","items":[{"metadata":{"name":"\xff","namespace":"a"}}]}', id="not UTF-8"),
    ],
)
def test_a_list_that_is_not_understood_does_not_pass(body: bytes) -> None:
    with pytest.raises(Unfilterable):
        filter_list(body, CUT)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"x\n", id="no JSON"),
        pytest.param(b'{"type":"ADDED"}\n', id="no object"),
        pytest.param(b'{"type":"ADDED","object":{},"more":1}\n', id="an unknown field"),
        pytest.param(b'{"type":"RENAMED","object":{"metadata":{"name":"x","namespace":"a"}}}\n', id="an unknown type"),
        pytest.param(b'{"type":1,"object":{"metadata":{"name":"x","namespace":"a"}}}\n', id="a numeric type"),
        pytest.param(b'{"type":"ADDED","object":{"metadata":{}}}\n', id="no name"),
        pytest.param(b'{"type":"ADDED","object":[]}\n', id="an array"),
        pytest.param(b'{"type":"ADDED","object":{"kind":"Table"}}\n', id="a Table without rows"),
        pytest.param(
            b'{"type":"ADDED","object":{"kind":"Table","rows":[{"cells":[]}]}}\n', id="a row without an object"
        ),
    ],
)
def test_an_event_that_is_not_understood_does_not_pass(line: bytes) -> None:
    with pytest.raises(Unfilterable):
        WatchFilter(CUT).feed(line)


def test_an_endless_event_does_not_pass() -> None:
    events = WatchFilter(CUT)
    assert events.feed(b" " * LONGEST_EVENT) == b""
    with pytest.raises(Unfilterable):
        events.feed(b" ")


def test_bookmarks_and_errors_pass_untouched() -> None:
    lines = (
        b'{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9","creationTimestamp":null,'
        b'"annotations":{"k8s.io/initial-events-end":"true"}}}}\n{"type":"ERROR","object":{"kind":"Status","code":410}}\n'
    )
    assert WatchFilter(CUT).feed(lines) == lines


def table_event(namespace: str, *, columns: bool) -> dict[str, Any]:
    row = {"cells": ["x"], "object": {"metadata": {"name": "x", "namespace": namespace}}}
    definitions = {"columnDefinitions": [{"name": "Name"}]} if columns else {"columnDefinitions": None}
    return {"type": "ADDED", "object": {"kind": "Table", "apiVersion": "meta.k8s.io/v1", **definitions, "rows": [row]}}


def test_the_columns_of_a_dropped_first_event_come_with_the_next_one() -> None:
    events = [table_event("c", columns=True), table_event("a", columns=False), table_event("b", columns=False)]
    stream = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    passed = [json.loads(line) for line in WatchFilter(CUT).feed(stream).splitlines()]
    assert passed == [table_event("a", columns=True), table_event("b", columns=False)]


def test_a_cut_that_changes_holds_for_the_next_event() -> None:
    events = WatchFilter(CUT)
    line = b'{"type":"ADDED","object":{"metadata":{"name":"x","namespace":"a"}}}\n'
    assert events.feed(line) == line
    events.cut = Namespaces(frozenset())
    assert events.feed(line) == b""


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        (("application/vnd.kubernetes.protobuf,application/json",), "application/json"),
        (("application/vnd.kubernetes.protobuf",), "application/json"),
        ((), "application/json"),
        (("*/*",), "application/json"),
        (("application/yaml",), "application/json"),
        (("application/cbor, application/json;stream=watch",), "application/json"),
        (
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json",),
            "application/json;as=Table;v=v1;g=meta.k8s.io, application/json",
        ),
        (("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", "application/json"), "application/json"),
    ],
)
def test_only_plain_json_is_asked_for(accept: tuple[str, ...], asked: str) -> None:
    overrides = json_only(Headers(tuple(("accept", value) for value in accept)))
    assert overrides == {"accept": asked, "accept-encoding": "", "if-none-match": ""}


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        (
            "/api/v1/pods?includeObject=None&fieldSelector=a%3Db",
            "/api/v1/pods?fieldSelector=a%3Db&includeObject=Metadata",
        ),
        ("/api/v1/pods?limit=5&continue=&resourceVersion=0", "/api/v1/pods?resourceVersion=0"),
        ("/api/v1/pods?limit=x&watch=1", "/api/v1/pods?watch=1"),
        ("/api/v1/pods?includeObject=Object", "/api/v1/pods?includeObject=Object"),
        ("/api/v1/pods?includeObject=", "/api/v1/pods?includeObject="),
        ("/api/v1/pods?pretty=true&watch=1", "/api/v1/pods?watch=1"),
        ("/api/v1/pods", "/api/v1/pods"),
    ],
)
def test_what_is_cut_is_asked_for_whole_and_with_its_metadata(target: str, asked: str) -> None:
    assert filterable(parse_target(target)).encode() == asked
