"""After all other tests: what the service asked for itself, beside what its manifests let it ask.

Its own requests are those in the API server's audit log that impersonate nobody. A right that is missing shows as a
refusal; one that nothing uses is a right too many. The file's name puts it last in its folder.
"""

from __future__ import annotations

import functools
import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from devtools.installed.deployment import NAME, NAMESPACE
from k8s_mcp_server.cluster.events import NAMESPACE as EVENTS_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from devtools.cluster import TestCluster
    from devtools.installed import InstalledService
    from tests.integration.through_mcp.conftest import AgentFactory

pytestmark = pytest.mark.integration

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{NAME}"
COMMANDS_GROUP = "k8s-mcp.io:commands"
# The Lease is renewed, and policies are listed anew, when their time comes.
WITHIN = 30.0
READ_SHOP = {"namespaces": ["shop"], "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
# Every authenticated account may read these: the ClusterRole system:discovery.
DISCOVERY = ("/api", "/apis", "/openapi", "/version")


@dataclass(frozen=True, order=True, slots=True)
class Right:
    """One verb on one resource in RBAC's words; with a name where the role names the objects."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    name: str = ""


@pytest.fixture
def audit_log(cluster: TestCluster) -> Path:
    if cluster.audit_log is None:
        pytest.skip("this cluster's audit log cannot be read from here: rights and requests are not compared")
    return cluster.audit_log


@pytest.fixture
def every_kind_of_traffic(cluster: TestCluster, agent_factory: AgentFactory) -> None:
    """Clients whose rights come from a policy and from the cluster's RBAC, so that each of ours is needed."""
    assert agent_factory({"rules": [READ_SHOP]}).kubectl("get pods -n shop").status == "succeeded"
    by_rbac = agent_factory({"rules": [{"namespaces": ["shop"], "fromRBAC": True}]}, name="by-rbac")
    for number in (1, 2):  # of the first an Event is made, which the second changes
        assert by_rbac.kubectl("get pods -n shop").status == "denied"
        _wait(functools.partial(_has_occurred, cluster, "by-rbac-", times=number))


@pytest.fixture
def granted(cluster: TestCluster) -> set[Right]:
    """What the applied roles give the service for itself."""
    return (
        _rights(cluster, "clusterrole", NAME)
        | _rights(cluster, "role", NAME, namespace=NAMESPACE)
        | _rights(cluster, "role", f"{NAME}-events", namespace=EVENTS_NAMESPACE)
    )


@pytest.fixture
def everybodys(cluster: TestCluster) -> set[Right]:
    """What every account that is authenticated may ask, about itself."""
    return _rights(cluster, "clusterrole", "system:basic-user")


def _has_occurred(cluster: TestCluster, policy: str, *, times: int) -> bool:
    """Whether as much has occurred to policies whose names begin so, as their Events count it."""
    raw = cluster.kubectl("get", "events.events.k8s.io", f"--namespace={EVENTS_NAMESPACE}", "--output=json").stdout
    found = [item for item in json.loads(raw)["items"] if item["regarding"]["name"].startswith(policy)]
    return bool(sum(item.get("series", {}).get("count", 1) for item in found) >= times)


def _rights(cluster: TestCluster, kind: str, name: str, *, namespace: str = "") -> set[Right]:
    where = (f"--namespace={namespace}",) if namespace else ()
    body = json.loads(cluster.kubectl("get", kind, name, *where, "--output=json").stdout)
    return {
        Right(verb, group, resource, namespace, object_name)
        for rule in body["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for object_name in rule.get("resourceNames", [""])
    }


def _events(audit_log: Path, service: InstalledService) -> list[dict[str, Any]]:
    """The API server's events of the service's account since it runs."""
    with audit_log.open(encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines if ACCOUNT in line and line.endswith("\n")]
    return [
        event
        for event in events
        if event["user"].get("username") == ACCOUNT
        and datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp() >= service.started_at
    ]


def _needed(event: dict[str, Any]) -> Iterator[Right]:
    """What the API server asked RBAC for when it let this request in."""
    if (other := event.get("impersonatedUser")) is not None:
        yield Right("impersonate", "", "serviceaccounts", NAMESPACE, other["username"].rpartition(":")[2])
        yield from (
            Right("impersonate", "", "groups", name=group)
            for group in other["groups"]
            if group != "system:authenticated"  # the API server adds it
        )
        yield from (Right("impersonate", "authentication.k8s.io", f"userextras/{key}") for key in other["extra"])
        return
    target = event.get("objectRef")
    if target is None:
        assert event["verb"] == "get"
        assert event["requestURI"].startswith(DISCOVERY)
        return
    resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
    yield Right(
        event["verb"], target.get("apiGroup", ""), resource, target.get("namespace", ""), target.get("name", "")
    )


def _covers(right: Right, needed: Right) -> bool:
    same = (right.verb, right.group, right.resource) == (needed.verb, needed.group, needed.resource)
    return same and right.namespace in {"", needed.namespace} and right.name in {"", needed.name}


@pytest.mark.timeout(180)  # the first test of the file also waits for the service
@pytest.mark.usefixtures("every_kind_of_traffic")
def test_the_service_needs_every_right_that_its_roles_give_it_and_no_other(
    installed: InstalledService, audit_log: Path, granted: set[Right], everybodys: set[Right]
) -> None:
    def compared() -> tuple[set[Right], set[Right]]:
        needed = {right for event in _events(audit_log, installed) for right in _needed(event)}
        missing = {right for right in needed if not any(_covers(each, right) for each in granted | everybodys)}
        unused = {right for right in granted if not any(_covers(right, each) for each in needed)}
        return missing, unused

    _wait(lambda: compared() == (set(), set()))
    assert compared() == (set(), set())


def test_no_request_of_the_service_itself_was_refused(installed: InstalledService, audit_log: Path) -> None:
    refused = [
        (event["verb"], event["requestURI"])
        for event in _events(audit_log, installed)
        if event.get("responseStatus", {}).get("code") in {401, 403} and "impersonatedUser" not in event
    ]
    assert refused == []


def _wait(condition: Callable[[], bool]) -> None:
    """Until the condition holds, or its time is over; the assertion that follows says which."""
    deadline = time.monotonic() + WITHIN
    while not condition() and time.monotonic() < deadline:
        time.sleep(2)


def _dispatched(cluster: TestCluster, schema: str) -> int:
    """How many requests the API server has begun under this FlowSchema."""
    metrics = cluster.kubectl("get", "--raw", "/metrics").stdout.splitlines()
    counter, label = "apiserver_flowcontrol_dispatched_requests_total{", f'flow_schema="{schema}"'
    return sum(int(float(line.rpartition(" ")[2])) for line in metrics if line.startswith(counter) and label in line)


def test_commands_have_seats_of_their_own_at_the_api_server(cluster: TestCluster, agent_factory: AgentFactory) -> None:
    agent = agent_factory({"rules": [READ_SHOP]})
    before = _dispatched(cluster, "k8s-mcp-commands")
    assert agent.kubectl("get pods -n shop").status == "succeeded"
    assert _dispatched(cluster, "k8s-mcp-commands") > before


def test_no_request_of_the_service_or_its_clients_shares_seats_with_other_workloads(
    cluster: TestCluster, installed: InstalledService, audit_log: Path
) -> None:
    before = _dispatched(cluster, "k8s-mcp-control")
    _wait(lambda: _dispatched(cluster, "k8s-mcp-control") > before)
    assert _dispatched(cluster, "k8s-mcp-control") > before
    groups = [
        event["impersonatedUser"]["groups"] for event in _events(audit_log, installed) if "impersonatedUser" in event
    ]
    assert groups
    assert all(COMMANDS_GROUP in each for each in groups)
