"""Snapshots: immutable, and found by client without going through all policies."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_mcp_server.policy import snapshot as module
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from tests.support.asking import policy, rule

pytestmark = pytest.mark.unit


def user(name: str) -> dict[str, Any]:
    return {"kind": "User", "name": name}


def test_an_empty_snapshot_names_nobody() -> None:
    empty = Snapshot.empty()
    assert (dict(empty.policies), dict(empty.namespaces)) == ({}, {})
    assert empty.policies_for(Client(username="x")) == ()


def test_the_policies_of_a_client_come_once_each_and_sorted_by_name() -> None:
    twice = [user("oidc:ann"), user("oidc:*"), {"kind": "Group", "name": "oidc:team"}]
    policies = [policy(name, subjects=twice) for name in ("b", "a", "c")] + [policy("d", subjects=[user("oidc:bob")])]
    found = Snapshot.build(policies, []).policies_for(Client(username="oidc:ann", groups=frozenset({"oidc:team"})))
    assert [item.name for item in found] == ["a", "b", "c"]


def test_a_snapshot_cannot_be_changed() -> None:
    policies = [policy("a")]
    namespaces = [Namespace(name="team-a", labels={})]
    built = Snapshot.build(policies, namespaces)
    policies.clear()
    namespaces.clear()
    assert (list(built.policies), list(built.namespaces)) == (["a"], ["team-a"])
    with pytest.raises(TypeError):
        built.policies["b"] = policy("b")  # type: ignore[index]  # that it cannot be done is the point


def test_namespaces_are_found_by_label() -> None:
    names = ("b", "a", "c")
    built = Snapshot.build([], [Namespace(name=name, labels={"team": "x" if name != "c" else "y"}) for name in names])
    assert list(built.namespaces_labelled("team", "x")) == ["a", "b"]
    assert list(built.namespaces_labelled("team", "z")) == []


def test_how_many_clients_are_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_REMEMBERED_CLIENTS", 10)
    built = Snapshot.build([policy("a", rule("get", "pods"), subjects=[user("oidc:*")])], [])
    for number in range(100):
        assert len(built.policies_for(Client(username=f"oidc:{number}"))) == 1
    assert len(built._remembered) <= 10
