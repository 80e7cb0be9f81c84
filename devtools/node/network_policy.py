"""Enforces a cluster's NetworkPolicies on the node, once, as they and the Pods are at the time.

A test aid and no network plugin: one node, IPv4, and nothing follows later changes. The node's own traffic to its Pods,
such as probes, is not filtered, as with the usual plugins. Semantics: networking.k8s.io/v1, NetworkPolicySpec.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from devtools.node.cluster import NodeCluster

_TABLE: Final = "network_policies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One direction of traffic, in the API's words and in nft's."""

    kind: str
    rules: str
    peers: str
    own: str
    other: str


INGRESS: Final = Side(kind="Ingress", rules="ingress", peers="from", own="daddr", other="saddr")
EGRESS: Final = Side(kind="Egress", rules="egress", peers="to", own="saddr", other="daddr")


def enforce(node: NodeCluster) -> None:
    """Put rules for all policies of the cluster into the node's packet filter, in place of earlier ones."""
    found = (json.loads(node.kubectl("get", kind, "-A", "-o", "json").stdout)["items"] for kind in _KINDS)
    file = node.layout.root / "network-policies.nft"
    file.write_text(ruleset(*found), encoding="utf-8")
    node.run("nft", "--file", str(file))


def lift(node: NodeCluster) -> None:
    """Take the rules away again."""
    node.run("nft", "delete", "table", "ip", _TABLE)


_KINDS: Final = ("pods", "namespaces", "networkpolicies")


def ruleset(
    pods: Sequence[Mapping[str, Any]], namespaces: Sequence[Mapping[str, Any]], policies: Sequence[Mapping[str, Any]]
) -> str:
    """Return the nft rules: for each Pod that a policy selects what may pass, and the end of the rest."""
    compiler = _Compiler(pods, namespaces)
    egress, ingress = (list(compiler.chain(side, policies)) for side in (EGRESS, INGRESS))
    body = "\n    ".join
    return f"""table ip {_TABLE} {{}}
delete table ip {_TABLE}
table ip {_TABLE} {{
  chain egress {{
    {body(egress)}
  }}
  chain ingress {{
    {body(ingress)}
  }}
  chain forward {{
    type filter hook forward priority 10; policy accept;
    ct state established,related accept
    jump egress
    jump ingress
  }}
  chain input {{
    type filter hook input priority 10; policy accept;
    ct state established,related accept
    jump egress
  }}
}}
"""


class _Compiler:
    def __init__(self, pods: Sequence[Mapping[str, Any]], namespaces: Sequence[Mapping[str, Any]]) -> None:
        self._pods = [pod for pod in pods if pod["status"].get("podIP") and not pod["spec"].get("hostNetwork")]
        self._namespaces = {each["metadata"]["name"]: each["metadata"].get("labels") or {} for each in namespaces}

    def chain(self, side: Side, policies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        for pod in self._pods:
            selecting = [policy for policy in policies if _selects(policy, pod) and side.kind in _types(policy)]
            for policy in selecting:
                for rule in policy["spec"].get(side.rules) or ():
                    yield from self._rule(side, rule, pod=pod, namespace=policy["metadata"]["namespace"])
            if selecting:
                yield f"ip {side.own} {pod['status']['podIP']} counter drop"

    def _rule(self, side: Side, rule: Mapping[str, Any], *, pod: Mapping[str, Any], namespace: str) -> Iterator[str]:
        peers = ""
        if rule.get(side.peers):
            addresses = sorted({address for peer in rule[side.peers] for address in self._peer(peer, namespace)})
            if not addresses:
                return
            peers = f"ip {side.other} {{ {', '.join(addresses)} }} "
        targets = [pod] if side is INGRESS else self._pods
        for port in _ports(rule, targets):
            yield f"ip {side.own} {pod['status']['podIP']} {peers}{port}return"

    def _peer(self, peer: Mapping[str, Any], namespace: str) -> Iterator[str]:
        if "ipBlock" in peer:
            yield from _block(peer["ipBlock"])
            return
        for pod in self._pods:
            own = pod["metadata"]["namespace"]
            inside = (
                _matches(peer["namespaceSelector"], self._namespaces.get(own, {}))
                if "namespaceSelector" in peer
                else own == namespace
            )
            if inside and _matches(peer.get("podSelector") or {}, pod["metadata"].get("labels") or {}):
                yield pod["status"]["podIP"]


def _selects(policy: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    return policy["metadata"]["namespace"] == pod["metadata"]["namespace"] and _matches(
        policy["spec"].get("podSelector") or {}, pod["metadata"].get("labels") or {}
    )


def _types(policy: Mapping[str, Any]) -> Sequence[str]:
    types: Sequence[str] = policy["spec"]["policyTypes"]  # the API server fills it in
    return types


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector (meta/v1) matches; an empty one matches everything."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        value, values = labels.get(expression["key"]), expression.get("values") or ()
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds[expression["operator"]]:
            return False
    return True


def _ports(rule: Mapping[str, Any], targets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What a rule says of ports, each as the middle of an nft rule; a name means what each target calls so."""
    if not rule.get("ports"):
        yield ""
    for port in rule.get("ports") or ():
        protocol, number = port.get("protocol", "TCP").lower(), port.get("port")
        if number is None:
            yield f"meta l4proto {protocol} "
        elif isinstance(number, int):
            yield (
                f"{protocol} dport {number}-{port['endPort']} " if "endPort" in port else f"{protocol} dport {number} "
            )
        else:
            for named in sorted(_named_ports(targets, name=number)):
                yield f"{protocol} dport {named} "


def _named_ports(pods: Sequence[Mapping[str, Any]], *, name: str) -> set[int]:
    containers = (container for pod in pods for container in pod["spec"]["containers"])
    ports = (port for container in containers for port in container.get("ports") or ())
    return {port["containerPort"] for port in ports if port.get("name") == name}


def _block(block: Mapping[str, Any]) -> Iterator[str]:
    if ":" in block["cidr"]:
        return  # this node has no IPv6 for a Pod to use
    networks = [ipaddress.IPv4Network(block["cidr"])]
    for text in block.get("except") or ():
        hole = ipaddress.IPv4Network(text)
        networks = [
            part
            for network in networks
            for part in (network.address_exclude(hole) if hole.subnet_of(network) else [network])
        ]
    yield from (str(network) for network in networks)
