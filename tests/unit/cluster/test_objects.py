from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.cluster.objects import ListedObject, Listing, ObjectCache
from k8s_mcp_server.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.unit


def body(name: str, version: str, value: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}, "value": value or f"{name}@{version}"}


def listing(version: str, *bodies: Mapping[str, Any], at: float = 0.0) -> Listing:
    items = tuple(ListedObject.from_raw(json.dumps(item).encode()) for item in bodies)
    return Listing(resource_version=version, requested_at=at, items=items)


@pytest.fixture
def cache() -> ObjectCache[str]:
    return ObjectCache(lambda item, _: item["value"])


def test_a_list_drops_an_object_whose_deletion_no_event_told(cache: ObjectCache[str]) -> None:
    cache.replace(listing("10", body("kept", "1"), body("gone", "2")))

    replaced = cache.replace(listing("20", body("kept", "1")))

    assert list(cache) == ["kept@1"]
    assert replaced.changed
    assert replaced.dropped == {"gone"}


def test_a_list_that_says_the_same_changes_nothing(cache: ObjectCache[str]) -> None:
    cache.replace(listing("10", body("a", "1")))

    assert not cache.replace(listing("20", body("a", "1"))).changed


def test_only_what_changed_is_read_again() -> None:
    read: list[str] = []

    def remember(item: Mapping[str, Any], _: str | None) -> str:
        read.append(item["metadata"]["name"])
        return str(item["value"])

    cache: ObjectCache[str] = ObjectCache(remember)
    cache.replace(listing("10", body("a", "1"), body("b", "2")))

    cache.replace(listing("20", body("a", "1"), body("b", "12")))

    assert read == ["a", "b", "b"]


def test_one_version_that_a_list_shows_otherwise_is_read_again(cache: ObjectCache[str]) -> None:
    """As after a change of the CRD, which adds or takes away fields of what is stored."""
    cache.replace(listing("10", body("a", "1", "without")))
    assert cache.replace(listing("20", body("a", "1", "with"))).changed
    assert list(cache) == ["with"]

    cache.apply("MODIFIED", body("a", "21", "without"))
    assert cache.replace(listing("30", body("a", "21", "with"))).changed
    assert list(cache) == ["with"]


@pytest.mark.parametrize(
    ("event_type", "event", "expected"),
    [
        pytest.param("ADDED", body("new", "21"), ["a@5", "new@21"], id="newer than the list: added"),
        pytest.param("MODIFIED", body("a", "21"), ["a@21"], id="newer than the object: changed"),
        pytest.param(None, body("a", "21"), ["a@21"], id="found by the watcher's own listing: changed"),
        pytest.param("DELETED", body("a", "21"), [], id="newer deletion: gone"),
        pytest.param("ADDED", body("gone", "7"), ["a@5"], id="late: what the list does not have stays away"),
        pytest.param("MODIFIED", body("a", "4"), ["a@5"], id="late: an older version of the object"),
        pytest.param("DELETED", body("a", "4"), ["a@5"], id="late: deletion of an object made anew since"),
        pytest.param("MODIFIED", body("a", "odd"), ["a@odd"], id="a version that is no number is taken"),
        pytest.param("DELETED", body("a", "odd"), [], id="a deletion with a version that is no number is taken"),
    ],
)
def test_an_event_counts_unless_it_is_late(
    cache: ObjectCache[str], event_type: str | None, event: dict[str, Any], expected: list[str]
) -> None:
    cache.replace(listing("20", body("a", "5")))

    changed = cache.apply(event_type, event)

    assert list(cache) == expected
    assert changed == (expected != ["a@5"])


def test_events_before_the_first_list_count(cache: ObjectCache[str]) -> None:
    assert cache.apply("ADDED", body("a", "3"))
    assert not cache.apply("ADDED", body("a", "3"))
    assert not cache.apply("MODIFIED", body("a", "2"))
    assert list(cache) == ["a@3"]
    assert cache.synced_at is None


def test_what_an_event_told_after_the_list_was_made_outlives_the_list(cache: ObjectCache[str]) -> None:
    cache.replace(listing("10", body("a", "1"), body("b", "2")))
    cache.apply("MODIFIED", body("a", "25"))
    cache.apply("DELETED", body("b", "26"))
    cache.apply("ADDED", body("c", "27"))

    replaced = cache.replace(listing("20", body("a", "1"), body("b", "2")))

    assert sorted(cache) == ["a@25", "c@27"]
    assert not replaced.changed
    assert not replaced.dropped


def test_an_object_deleted_and_made_anew_while_a_list_was_under_way_is_the_new_one(cache: ObjectCache[str]) -> None:
    cache.replace(listing("10", body("a", "1")))
    cache.apply("DELETED", body("a", "21"))
    cache.apply("ADDED", body("a", "22"))

    cache.replace(listing("20", body("a", "1")))

    assert list(cache) == ["a@22"]


def test_a_deletion_is_forgotten_once_a_list_is_newer(cache: ObjectCache[str]) -> None:
    cache.apply("DELETED", body("a", "15"))

    cache.replace(listing("20", body("a", "18")))

    assert list(cache) == ["a@18"]


def test_a_list_of_another_history_counts_whole(cache: ObjectCache[str]) -> None:
    """After etcd was restored from a backup, versions begin again lower."""
    cache.replace(listing("100", body("a", "90")))
    cache.apply("ADDED", body("b", "110"))
    cache.apply("DELETED", body("c", "111"))

    cache.replace(listing("50", body("a", "40"), body("c", "41")))
    cache.apply("MODIFIED", body("a", "51"))

    assert list(cache) == ["a@51", "c@41"]


def test_forgetting_leaves_no_object_and_no_list(cache: ObjectCache[str]) -> None:
    cache.replace(listing("10", body("a", "1"), at=5.0))
    assert cache.synced_at == 5.0

    cache.clear()

    assert len(cache) == 0
    assert cache.synced_at is None


def test_a_change_of_what_does_not_matter_is_none() -> None:
    cache: ObjectCache[str] = ObjectCache(lambda item, _: item["value"], matters=lambda value: value[0])
    cache.replace(listing("10", body("a", "1", "xy")))

    assert not cache.apply("MODIFIED", body("a", "11", "xz"))
    assert list(cache) == ["xz"]
    assert cache.apply("MODIFIED", body("a", "12", "yz"))


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"metadata": {}}', b'{"metadata": {"name": 1}}', b"\xff", b""])
def test_a_listed_object_without_a_name_is_no_list(raw: bytes) -> None:
    with pytest.raises(Unavailable):
        ListedObject.from_raw(raw)
