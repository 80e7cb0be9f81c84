"""Filtered answers are the full ones filtered by hand, and what is not understood does not pass."""

from __future__ import annotations

import contextlib
import itertools
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k8s_mcp_server.gateway.filters.errors import Unfilterable
from k8s_mcp_server.gateway.filters.lists import LONGEST_VALUE, ListFilter
from k8s_mcp_server.gateway.filters.negotiation import filterable, json_only
from k8s_mcp_server.gateway.filters.scan import end_of_value
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


def filtered(body: bytes, *sizes: int) -> bytes:
    """The list as it comes out when it comes in by these sizes, again and again."""
    cutter, out, position = ListFilter(CUT), b"", 0
    for size in itertools.cycle(sizes or (len(body) + 1,)):
        if position >= len(body):
            break
        out += cutter.feed(body[position : position + size])
        position += size
    return out + cutter.finish()


def cut(document: dict[str, Any], *sizes: int, compact: bool = True) -> dict[str, Any]:
    separators = (",", ":") if compact else None
    answer = json.loads(filtered(json.dumps(document, separators=separators).encode(), *sizes))
    assert isinstance(answer, dict)
    return answer


sizes = st.lists(st.integers(1, 300), min_size=1, max_size=4)


@patient
@given(st.lists(objects | cluster_objects, max_size=8), sizes, st.booleans(), st.data())
def test_a_filtered_list_is_the_list_filtered_by_hand(
    items: list[dict[str, Any]], sizes: list[int], compact: bool, data: st.DataObject
) -> None:
    document = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items}
    document = {key: document[key] for key in data.draw(st.permutations(list(document)))}
    answer = cut(document, *sizes, compact=compact)
    assert answer == {**document, "items": [item for item in items if allowed(item)]}
    assert list(answer) == list(document)


@patient
@given(st.lists(objects, max_size=8), st.lists(values, max_size=3), sizes, st.data())
def test_a_filtered_table_is_the_table_filtered_by_hand(
    items: list[dict[str, Any]], cells: list[Any], sizes: list[int], data: st.DataObject
) -> None:
    rows = [{"cells": cells, "object": item} for item in items]
    document = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": [{"name": "Name"}], "rows": rows}
    document = {key: document[key] for key in data.draw(st.permutations(list(document)))}
    assert cut(document, *sizes) == {**document, "rows": [row for row in rows if allowed(row["object"])]}


def test_elements_that_hold_what_looks_like_the_beginning_of_the_next_one_are_cut_whole() -> None:
    inner = [{"metadata": {"name": "x", "namespace": "a"}}, {"metadata": {"name": "y", "namespace": "a"}}]
    items = [
        {
            "metadata": {
                "name": "x",
                "namespace": "c",
                "annotations": {"a": '},{"metadata":{"name":"y","namespace":"a"}}'},
            }
        },
        {"metadata": {"name": "x", "namespace": "c"}, "spec": {"templates": inner}},
        {"metadata": {"name": "x", "namespace": "a"}, "spec": {"templates": inner}, "text": "}]}{"},
        {"spec": {}, "metadata": {"name": "z", "namespace": "b"}},
    ]
    for size in range(1, 60):
        assert cut({"kind": "List", "items": items}, size)["items"] == items[2:]


def test_elements_larger_than_what_is_searched_for_the_next_are_cut_as_well() -> None:
    large = {"metadata": {"name": "x", "namespace": "a"}, "data": {"a": 'x"{[\\' * 120_000}}
    small = {"metadata": {"name": "y", "namespace": "b"}}
    for items in ([large], [large, small], [small, large, small]):
        assert cut({"kind": "List", "items": items}, 50_000)["items"] == items


def test_an_element_without_end_does_not_pass() -> None:
    body = b'{"items":[{"metadata":{"name":"' + b"x" * 2 * LONGEST_VALUE
    with pytest.raises(Unfilterable):
        filtered(body, 1_000_000)


def test_what_was_given_out_before_a_fault_may_be_seen() -> None:
    allowed_item, other = b'{"metadata":{"name":"x","namespace":"a"}}', b'{"metadata":{"name":"y","namespace":"c"}}'
    cutter = ListFilter(CUT)
    out = cutter.feed(b'{"kind":"PodList","items":[' + allowed_item + b"," + other + b"," + allowed_item + b",")
    assert out == b'{"kind":"PodList","items":[' + allowed_item
    assert cutter.feed(b"]}") == b""
    with pytest.raises(Unfilterable):
        cutter.finish()


def large_list(size: int) -> Iterator[bytes]:
    """A list of that size, a fifth of which may be seen, in parts."""
    yield b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":['
    padding = [{"name": f"VARIABLE_{number}", "value": "v" * 40} for number in range(40)]
    written = number = 0
    while written < size:
        metadata = {"name": f"pod-{number}", "namespace": "a" if number % 5 == 0 else "c"}
        item = json.dumps({"metadata": metadata, "spec": {"env": padding}}, separators=(",", ":")).encode()
        yield (b"," if number else b"") + item
        written, number = written + len(item), number + 1
    yield b"]}"


def test_a_list_of_50_mb_is_never_held_whole() -> None:
    cutter, out = ListFilter(CUT), 0
    body = b"".join(large_list(5_000_000))
    prefix, elements, suffix = body[:80], body[80:-2], body[-2:]
    assert prefix.endswith(b"[")
    tracemalloc.start()
    try:
        out += len(cutter.feed(prefix))
        for _ in range(10):
            for start in range(0, len(elements), 128 * 1024):
                out += len(cutter.feed(elements[start : start + 128 * 1024]))
            out += len(cutter.feed(b","))
        out += len(cutter.feed(b'{"metadata":{"name":"x","namespace":"a"}}' + suffix)) + len(cutter.finish())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 9_000_000 < out < 11_000_000
    assert peak < 4_000_000


@patient
@given(values, st.sampled_from([b"", b" ", b",1", b"]", b"}"]))
def test_a_value_ends_where_it_ends(value: Any, behind: bytes) -> None:
    text = json.dumps(value).encode()
    is_number = isinstance(value, int | float) or value is None
    expected = None if is_number and not behind else 1 + len(text)
    assert end_of_value(b"[" + text + behind, 1) == expected
    if not is_number:
        assert all(end_of_value(text[:length], 0) is None for length in range(1, len(text)))


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
        filtered(data, 7)
    with contextlib.suppress(Unfilterable):
        events.feed(data)
    with contextlib.suppress(Unfilterable):
        events.finish()


DEEP = b"[" * 9000 + b'{"name": "x", "namespace": "a"}' + b"]" * 9000


def deep(namespace: str) -> bytes:
    """An object that is nested as deep as the API server takes it, in its metadata, too."""
    return b'{"data": %b, "metadata": {"managedFields": %b, "name": "one", "namespace": "%b"}, "kind": "Widget"}' % (
        DEEP,
        DEEP,
        namespace.encode(),
    )


@pytest.mark.parametrize("namespace", ["a", "c"])
def test_an_object_that_is_nested_deeper_than_a_decoder_goes_is_cut_like_any_other(namespace: str) -> None:
    item = deep(namespace)
    seen = namespace == "a"
    listed = filtered(b'{"kind": "WidgetList", "items": [%b, %b]}' % (item, item))
    assert listed.count(item) == 2 * seen
    row = b'{"cells": [%b], "object": %b}' % (DEEP, item)
    assert filtered(b'{"kind": "Table", "rows": [%b]}' % row).count(row) == seen
    events = WatchFilter(CUT)
    assert (item in events.feed(b'{"type": "ADDED", "object": %b}\n' % item)) is seen
    table = b'{"type": "ADDED", "object": {"kind": "Table", "rows": [%b]}}\n' % row
    assert (row in events.feed(table)) is seen


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
        pytest.param(b'{"kind":"PodList","items":[],"items":[]}', id="items twice"),
        pytest.param(b'{"kind":"List","kind":"Table","rows":[]}', id="two kinds"),
        pytest.param(b'{"metadata":{},"items":[],"metadata":{}}', id="metadata twice"),
        pytest.param(b'{"rows":[],"kind":"PodList"}', id="rows outside of a Table, said late"),
        pytest.param(b'{"rows":[]}', id="rows of nothing"),
        pytest.param(b'{"items":[],"rows":null}', id="items and no rows"),
        pytest.param(b'{"kind":"PodList","items":[],}', id="a comma too many"),
        pytest.param(b'{"items":[{"metadata":{"name":"x","namespace":"a"}},]}', id="an element too few"),
        pytest.param(b'{"items":[{"metadata":{"name":"x","namespace":"a"}} {}]}', id="no comma"),
        pytest.param(b'{"items":[{"metadata":{"name":"x","namespace":"a"}}', id="an array without end"),
        pytest.param(b'{"items":[],"metadata":{"resourceVersion":"1"', id="metadata without end"),
        pytest.param(b'{"items":[],"apiVersion":v1}', id="an unquoted value"),
        pytest.param(b"{items:[]}", id="an unquoted key"),
        pytest.param(b'{"' + b"x" * 1000, id="an endless key"),
        pytest.param(b'{"kind":"PodList","items":[{"metadata":{"name":"\xff","namespace":"a"}}]}', id="not UTF-8"),
    ],
)
def test_a_list_that_is_not_understood_does_not_pass(body: bytes) -> None:
    for size in (1, len(body) + 1):
        with pytest.raises(Unfilterable):
            filtered(body, size)


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
