"""Limits, sizes, durations and globs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from k8s_mcp_server.policy.limits import MEBIBYTE, Limits, effective_limits
from k8s_mcp_server.policy.patterns import Glob, Names
from k8s_mcp_server.policy.quantity import parse_bytes, parse_duration
from tests.support.asking import policy

pytestmark = pytest.mark.unit


def test_the_lowest_stated_limit_holds_and_else_the_servers_default() -> None:
    policies = [
        policy("a", limits={"timeoutSeconds": 600, "memoryBytes": "1Gi"}),
        policy("b", limits={"timeoutSeconds": 90, "outputBytes": 5000}, suspend=True),
        policy("c", expiresAfter="1s", limits={"commandsPerMinute": 7}),
    ]
    assert effective_limits(policies, defaults=Limits(timeout_seconds=60, concurrent_commands=3)) == Limits(
        timeout_seconds=90,
        output_bytes=5000,
        memory_bytes=1024 * MEBIBYTE,
        concurrent_commands=3,
        commands_per_minute=7,
    )


def test_without_policies_the_defaults_hold() -> None:
    assert effective_limits([], defaults=Limits()) == Limits()


@pytest.mark.parametrize(
    ("text", "size"),
    [("512Mi", 512 * MEBIBYTE), (67108864, 64 * MEBIBYTE), ("2Gi", 2**31), ("3k", 3000), ("4G", 4 * 10**9)],
)
def test_sizes_are_numbers_or_quantities(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5Gi", "5m", "1 Gi", "1Gib", "0x10"])
def test_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("1h30m", 5400), ("45s", 45), ("90m", 5400), ("1h1m1s", 3661)]
)
def test_durations_add_up(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2h ", "2d", "1.5h", "2H"])
def test_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("glob", "name", "matches"),
    [
        ("*", "", True),
        ("a*", "a", True),
        ("a*", "ba", False),
        ("*a", "ba", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b-c", True),
        ("a*b*c", "acb", False),
        ("*b*b*", "b", False),
        ("a.*", "axb", False),
        ("a?*", "abc", False),
        ("[ab]*", "ab", False),
    ],
)
def test_a_glob_knows_only_the_star(glob: str, name: str, matches: bool) -> None:
    assert Glob(glob).matches(name) is matches


def test_names_keep_what_was_written() -> None:
    names = Names.of(["b", "a", "x-*", "a"])
    assert str(names) == "a, b, x-*"
    assert not names.everything
    assert Names.of(["**"]).everything
    assert not Names.of([])


def test_matching_a_glob_of_many_stars_is_not_slow() -> None:
    assert not Glob("*a" * 31 + "*b").matches("a" * 253)
