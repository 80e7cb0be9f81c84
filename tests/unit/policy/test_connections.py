"""What helm may connect to: hosts that a policy names, at public addresses or in networks that it names, too."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from k8s_mcp_server.policy.compile import InvalidPolicy, read_policy
from k8s_mcp_server.policy.connections import Connection, chart_repositories, decide_connection
from k8s_mcp_server.policy.tools import Tool
from tests.support.asking import body, context, policy, rule

pytestmark = pytest.mark.unit

REPOSITORIES = [
    {"name": "acme", "url": "https://charts.example.com/stable/", "secretRef": {"name": "acme"}},
    {"name": "other", "url": "https://charts.example.org:8443"},
    {"name": "registry", "url": "oci://registry.example.com/charts"},
]
SPEC: dict[str, Any] = {
    "tools": ["helm"],
    "charts": {"repositories": REPOSITORIES},
    "egress": {"hosts": ["blobs.example.com:443"]},
}


def ask(host: str, port: int, *specs: dict[str, Any], tool: Tool = Tool.HELM) -> Connection:
    policies = [policy(f"p{number}", rule("get"), **spec) for number, spec in enumerate(specs)]
    return decide_connection((host, port), context(policies, tool=tool))


@pytest.mark.parametrize(
    ("host", "port"),
    [
        pytest.param("charts.example.com", 443, id="a repository's, at the port of https"),
        pytest.param("charts.example.org", 8443, id="a repository's own port"),
        pytest.param("registry.example.com", 443, id="a registry's"),
        pytest.param("blobs.example.com", 443, id="one among egress.hosts"),
    ],
)
def test_hosts_that_a_policy_names_may_be_connected_to(host: str, port: int) -> None:
    assert ask(host, port, SPEC).decision.allowed


@pytest.mark.parametrize(
    ("host", "port"),
    [
        pytest.param("charts.example.com", 80, id="another port"),
        pytest.param("charts.example.com", 8443, id="another repository's port"),
        pytest.param("example.com", 443, id="the domain above"),
        pytest.param("a.charts.example.com", 443, id="a name below"),
        pytest.param("charts.example.com.", 443, id="the same with a dot"),
        pytest.param("CHARTS.EXAMPLE.COM", 443, id="the same in capitals"),
        pytest.param("", 443, id="none"),
    ],
)
def test_no_other_host_may(host: str, port: int) -> None:
    decision = ask(host, port, SPEC).decision
    assert (decision.allowed, decision.reason.value) == (False, "NotAllowed")
    assert "Named are: blobs.example.com:443, charts.example.com:443" in decision.message


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        pytest.param({"tools": ["kubectl"]}, "ToolNotAllowed", id="its tools have no helm"),
        pytest.param({"suspend": True}, "PolicySuspended", id="it is suspended"),
        pytest.param({"expiresAt": "2026-01-02T00:00:00Z"}, "PolicyExpired", id="it has expired"),
        pytest.param({"block": True}, "Blocked", id="the client is blocked"),
    ],
)
def test_a_policy_that_gives_nothing_names_no_hosts(more: dict[str, Any], reason: str) -> None:
    spec = {**SPEC, **more}
    assert ask("charts.example.com", 443, spec).decision.reason.value == reason
    assert chart_repositories(context([policy("p", rule("get"), **spec)], tool=Tool.HELM)) == () or "block" in more


def test_hosts_count_for_their_own_policy_s_commands_only() -> None:
    others = {"tools": ["kubectl"], "charts": SPEC["charts"]}
    assert not ask("charts.example.com", 443, others, {"tools": ["helm"]}).decision.allowed
    assert not ask("charts.example.com", 443, SPEC, tool=Tool.KUBECTL).decision.allowed


def test_the_first_policy_s_repository_wins_a_name() -> None:
    first = {"tools": ["helm"], "charts": {"repositories": [{"name": "acme", "url": "https://a.example.com"}]}}
    policies = [policy("a", rule("get"), **first), policy("b", rule("get"), **SPEC)]
    found = {each.name: each.url for each in chart_repositories(context(policies, tool=Tool.HELM))}
    assert found["acme"] == "https://a.example.com"
    assert set(found) == {"acme", "other", "registry"}


PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1",
    "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::a00:1",
    "2002:7f00:1::1", "2001:0:1::1", "fec0::1", "::10.0.0.1", "::ffff:0:10.0.0.1", "5f00::1", "100:0:0:1::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_out_of_reach(address: str) -> None:
    assert not ask("charts.example.com", 443, SPEC).reaches(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34"])
def test_public_addresses_are_within_reach(address: str) -> None:
    assert ask("charts.example.com", 443, SPEC).reaches(ip_address(address))


def test_networks_that_the_same_policy_names_are_within_reach() -> None:
    spec = {**SPEC, "egress": {"privateCIDRs": ["10.20.0.0/16", "fd00:1::/64"]}}
    connection = ask("charts.example.com", 443, spec)
    reached = [
        each
        for each in ("10.20.3.4", "10.21.0.1", "fd00:1::5", "::ffff:10.20.0.1")
        if connection.reaches(ip_address(each))
    ]
    assert reached == ["10.20.3.4", "fd00:1::5", "::ffff:10.20.0.1"]
    others = {"tools": ["helm"], "egress": {"privateCIDRs": ["10.0.0.0/8"]}}
    assert not ask("charts.example.com", 443, SPEC, others).reaches(ip_address("10.20.3.4"))


def repository(**fields: str) -> dict[str, Any]:
    return {"charts": {"repositories": [{"name": "a", "url": "https://a.example.com", **fields}]}}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(repository(url="http://a.example.com"), id="no TLS"),
        pytest.param(repository(url="https://u:p@a.example.com"), id="a user"),
        pytest.param(repository(url="https://a.example.com:99999"), id="a repository's port too high"),
        pytest.param(repository(name="a/b"), id="a slash"),
        pytest.param({"charts": {"repositories": [REPOSITORIES[0]] * 2}}, id="a name twice"),
        pytest.param({"egress": {"hosts": ["a.example.com"]}}, id="no port"),
        pytest.param({"egress": {"hosts": ["a.example.com:0"]}}, id="port 0"),
        pytest.param({"egress": {"hosts": ["a.example.com:70000"]}}, id="a port too high"),
        pytest.param({"egress": {"hosts": ["*.example.com:443"]}}, id="a glob"),
        pytest.param({"egress": {"hosts": ["https://a.example.com:443"]}}, id="a URL"),
        pytest.param({"egress": {"privateCIDRs": ["10.0.0.1/8"]}}, id="host bits"),
        pytest.param({"egress": {"privateCIDRs": ["10.0.0.0/64"]}}, id="a prefix too long"),
        pytest.param({"egress": {"privateCIDRs": ["10.0.0.0"]}}, id="no network"),
    ],
)
def test_what_could_be_read_in_two_ways_makes_a_policy_invalid(spec: dict[str, Any]) -> None:
    assert isinstance(read_policy(body("p", rule("get"), **spec)), InvalidPolicy)
