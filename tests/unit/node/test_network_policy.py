"""NetworkPolicies as rules of a packet filter."""

from __future__ import annotations

from typing import Any

import pytest

from devtools.node.network_policy import ruleset

pytestmark = pytest.mark.unit

NAMESPACES = [{"metadata": {"name": name, "labels": {"team": name}}} for name in ("a", "b")]


def _pod(name: str, *, namespace: str, address: str) -> dict[str, Any]:
    ports = [{"name": "web", "containerPort": 8080}]
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"containers": [{"ports": ports}]},
        "status": {"podIP": address},
    }


PODS = [_pod("one", namespace="a", address="10.0.0.1"), _pod("two", namespace="b", address="10.0.0.2")]


def _rules(**spec: Any) -> list[str]:
    policy = {"metadata": {"name": "p", "namespace": "a"}, "spec": {"podSelector": {}, **spec}}
    text = ruleset(PODS, NAMESPACES, [policy])
    return [line.strip() for line in text.splitlines() if line.strip().startswith("ip ")]


def test_a_policy_without_rules_ends_all_traffic_of_its_pods_and_of_no_others() -> None:
    assert _rules(policyTypes=["Ingress"]) == ["ip daddr 10.0.0.1 counter drop"]


def test_a_named_port_is_what_the_pod_calls_so() -> None:
    rules = _rules(policyTypes=["Ingress"], ingress=[{"ports": [{"port": "web"}]}])
    assert rules == ["ip daddr 10.0.0.1 tcp dport 8080 return", "ip daddr 10.0.0.1 counter drop"]


@pytest.mark.parametrize(
    ("peer", "addresses"),
    [
        pytest.param({"podSelector": {}}, "10.0.0.1", id="Pods of the policy's own namespace"),
        pytest.param({"namespaceSelector": {"matchLabels": {"team": "b"}}}, "10.0.0.2", id="Pods of labelled ones"),
        pytest.param(
            {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["b"]}]}},
            "10.0.0.1",
            id="an expression",
        ),
        pytest.param({"ipBlock": {"cidr": "10.1.0.0/31", "except": ["10.1.0.1/32"]}}, "10.1.0.0/32", id="a block"),
    ],
)
def test_a_peer_is_its_addresses(peer: dict[str, Any], addresses: str) -> None:
    rules = _rules(policyTypes=["Egress"], egress=[{"to": [peer]}])
    assert rules[0] == f"ip saddr 10.0.0.1 ip daddr {{ {addresses} }} return"


def test_a_block_of_ipv6_lets_nothing_of_ipv4_through() -> None:
    peers = [{"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}}, {"ipBlock": {"cidr": "10.1.0.0/32"}}]
    rules = _rules(policyTypes=["Egress"], egress=[{"to": peers}])
    assert rules[0] == "ip saddr 10.0.0.1 ip daddr { 10.1.0.0/32 } return"


def test_a_peer_that_selects_nobody_lets_nobody_through() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"team": "nobody"}}}
    assert _rules(policyTypes=["Ingress"], ingress=[{"from": [peer]}]) == ["ip daddr 10.0.0.1 counter drop"]
