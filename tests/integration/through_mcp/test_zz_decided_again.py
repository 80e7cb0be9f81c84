"""After all other tests: every request that reached the API server through the gateway is decided a second time.

The API server's audit log says what it saw; the recording says which policies, namespaces, roles and kinds there
were. The file's name puts it last in its folder, so that it sees what the others did.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.gateway.permissions import required_requests
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.compile import read_policy
from k8s_mcp_server.policy.decide import DecisionContext, decide
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Authenticator, Client
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.rights import Rights
from k8s_mcp_server.policy.roles import ClusterRole, read_role
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.policy.tools import Tool
from tests.support.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from devtools.cluster import TestCluster
    from devtools.installed import InstalledService
    from k8s_mcp_server.policy.decision import Decision
    from tests.support.recording import ObjectRecorder

pytestmark = pytest.mark.integration

CLIENT = "k8s-mcp.io/client"
SWITCHING_PROTOCOLS = 101
# A watch tells the service and the recorder of a change at slightly different times; a full list comes each 10 s.
LAG_SECONDS = 12.0
LEAD_SECONDS = 2.0


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def _records(replicas: list[InstalledService], *, kind: str) -> Iterator[dict[str, Any]]:
    """The audit lines of all replicas."""
    return (line for replica in replicas for line in _lines(replica.audit_log) if line["kind"] == kind)


def _events(audit_log: Path, service: InstalledService) -> Iterator[dict[str, Any]]:
    """The API server's events of the service's account since the service runs; other tests have gateways too."""
    account = f"system:serviceaccount:k8s-mcp-system:{service.deployment.service_account}"
    for event in _lines(audit_log):
        at = datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
        if event["user"].get("username") == account and at >= service.started_at:
            yield event


def _through_gateway(audit_log: Path, service: InstalledService) -> dict[str, dict[str, Any]]:
    """The events of impersonated requests, the last stage of each, by audit ID."""
    events = (
        event for event in _events(audit_log, service) if CLIENT in event.get("impersonatedUser", {}).get("extra", {})
    )
    return {event["auditID"]: event for event in events}


def _request(event: dict[str, Any]) -> RequestInfo:
    path = event["requestURI"].partition("?")[0]
    if "objectRef" not in event:
        return RequestInfo(is_resource_request=False, path=path, verb=event["verb"])
    target = event["objectRef"]
    return RequestInfo(
        is_resource_request=True,
        path=path,
        verb=event["verb"],
        upgrade=event.get("responseStatus", {}).get("code") == SWITCHING_PROTOCOLS,
        api_group=target.get("apiGroup", ""),
        api_version=target.get("apiVersion", ""),
        namespace=target.get("namespace", ""),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        # The audit log fills in the name of what was created from the body; the URL, which is decided, has none.
        name="" if event["verb"] == "create" and "subresource" not in target else target.get("name", ""),
    )


def _attributes(request: RequestInfo) -> dict[str, str]:
    if not request.is_resource_request:
        return {"verb": request.verb, "path": request.path}
    return {
        "verb": request.verb,
        "apiGroup": request.api_group,
        "apiVersion": request.api_version,
        "resource": request.resource,
        "subresource": request.subresource,
        "namespace": request.namespace,
        "name": request.name,
    }


def _catalog(cluster: TestCluster, recorder: ObjectRecorder) -> Catalog:
    """What is served now, and what tests have defined meanwhile."""
    specs = (change.body["spec"] for change in recorder.changes if change.kind == "customresourcedefinitions")
    defined = {(spec["group"], spec["names"]["plural"], spec["scope"] == "Namespaced") for spec in specs}
    resources = [
        ApiResource(group=group, resource=name, kind="", scope=Scope.NAMESPACED if namespaced else Scope.CLUSTER)
        for group, name, namespaced in defined
    ]
    for scope, namespaced in ((Scope.NAMESPACED, "true"), (Scope.CLUSTER, "false")):
        names = cluster.kubectl("api-resources", f"--namespaced={namespaced}", "--output=name").stdout.split()
        for name in names:
            resource, _, group = name.partition(".")
            resources.append(ApiResource(group=group, resource=resource, kind="", scope=scope))
    return Catalog(resources)


class _Snapshots:
    """What the service may have known at a time; each state is read once, for many requests saw it."""

    def __init__(self, recorder: ObjectRecorder) -> None:
        self._recorder = recorder
        self._known: dict[int, Snapshot] = {}
        self._roles: dict[tuple[str, str], ClusterRole] = {}

    def between(self, start: float, end: float) -> Iterator[tuple[float, Snapshot]]:
        """Each state from the one at ``start`` to the one at ``end``, and when it began."""
        for moment in self._recorder.times_between(start, end):
            state = sum(change.at <= moment for change in list(self._recorder.changes))
            if state not in self._known:
                self._known[state] = self._at(moment)
            yield moment, self._known[state]

    def _at(self, moment: float) -> Snapshot:
        policies = self._recorder.in_force("mcpaccesspolicies", at=moment)
        namespaces = self._recorder.in_force("namespaces", at=moment)
        roles = self._recorder.in_force("clusterroles", at=moment)
        return Snapshot.build(
            [read_policy(body) for body in policies.values()],
            [Namespace(name=name, labels=body["metadata"].get("labels", {})) for name, body in namespaces.items()],
            [self._role(body) for body in roles.values()],
        )

    def _role(self, body: dict[str, Any]) -> ClusterRole:
        version = (body["metadata"]["name"], body["metadata"]["resourceVersion"])
        if version not in self._roles:
            self._roles[version] = read_role(body)
        return self._roles[version]


def _understood(request: RequestInfo, record: dict[str, Any]) -> RequestInfo:
    """What the request was decided as: a Secret that holds a release of Helm's is decided by the right to releases.

    What the gateway itself puts to end an operation that a command left pending has the decision that began it.
    """
    recorded = record["attributes"]
    if record["tool"] == "helm" and (record["method"], recorded.get("verb")) == ("PUT", "create"):
        assert record["target"] == request.path
        request = replace(request, verb="create", name="")
    if record["tool"] != "helm" or recorded.get("apiGroup") != "helm.sh":
        return request
    assert (request.resource, request.namespace) == ("secrets", recorded["namespace"])
    return RequestInfo(
        is_resource_request=True,
        path="",
        verb=recorded["verb"],
        api_group="helm.sh",
        resource=recorded["resource"],
        subresource=recorded["subresource"],
        namespace=recorded["namespace"],
        name=recorded["name"],
    )


def _decisions(
    request: RequestInfo, *, client: Client, tool: Tool, at: float, catalog: Catalog, snapshots: _Snapshots
) -> Iterator[Decision]:
    """The decision under each state that the service may have known at that time."""
    for moment, snapshot in snapshots.between(at - LAG_SECONDS, at + LEAD_SECONDS):
        context = DecisionContext(
            client=client,
            tool=tool,
            snapshot=snapshot,
            catalog=catalog,
            environment=Environment(),
            now=datetime.fromtimestamp(moment).astimezone(),
            snapshot_age=0.0,
            rights=Rights(answers={request: True}),  # RBAC's answer of that time is not recorded; it was a yes
        )
        yield decide(request, context)


def _was_ended(record: dict[str, Any]) -> bool:
    """Whether the request was answered, and a policy's change or end ended it while it ran."""
    return bool(record["verdict"] == "deny" and record["status"] < HTTPStatus.BAD_REQUEST)


def _same(decision: Decision, record: dict[str, Any], *, recorder: ObjectRecorder) -> bool:
    matched = decision.matched
    if _was_ended(record):
        return decision.allowed  # when it began
    if not decision.allowed or decision.verdict.value != record["verdict"]:
        return False
    if matched is None:
        return bool(record["policyUID"] == "")
    if (matched.uid, matched.rule) != (record["policyUID"], record["rule"]):
        return False
    # A status written meanwhile gives a new resourceVersion, and decides nothing: the spec must be the same.
    now = recorder.version(matched.uid, resource_version=matched.resource_version)
    then = recorder.version(record["policyUID"], resource_version=record["policyResourceVersion"])
    return bool(now["spec"] == then["spec"])


@pytest.fixture
def audit_log(cluster: TestCluster) -> Path:
    if cluster.audit_log is None:
        pytest.skip("this cluster's audit log cannot be read from here: requests are not decided again")
    return cluster.audit_log


@pytest.fixture
def some_traffic(installed: InstalledService, demo_tokens: dict[str, str]) -> None:
    """Requests of every kind, so that the test means something when it runs alone."""
    deployer = Agent(installed.url, demo_tokens["shop-deployer"])
    for command in (
        "get pods -A",
        "get pods -n shop",
        "get namespaces",
        "label deploy cart -n shop seen=yes --overwrite",
    ):
        assert deployer.kubectl(command).status == "succeeded"
    assert deployer.kubectl("get secrets -n shop").status == "denied"


@pytest.mark.usefixtures("some_traffic")
def test_every_request_that_reached_the_api_server_was_rightly_allowed(
    cluster: TestCluster,
    installed: InstalledService,
    replicas: list[InstalledService],
    recorder: ObjectRecorder,
    audit_log: Path,
) -> None:
    catalog, snapshots = _catalog(cluster, recorder), _Snapshots(recorder)
    records = {line["auditID"]: line for line in _records(replicas, kind="Request")}
    groups = {line["commandID"]: line["groups"] for line in _records(replicas, kind="Command")}
    events = _through_gateway(audit_log, installed)
    wrong: list[str] = []
    verdicts: Counter[str] = Counter()
    for audit_id, event in events.items():
        username = event["impersonatedUser"]["extra"][CLIENT][0]
        record = records.get(audit_id)
        if record is None or record["client"] != username:
            wrong.append(f"no record of ours: {event['verb']} {event['requestURI']}")
            continue
        request = _understood(_request(event), record)
        at = datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
        # What the record says was decided may be `create` where the request itself is a GET: exec over WebSocket.
        (decided, *_) = required_requests(request, method="", content_type="")
        if request.subresource == "token":  # the audit log holds no body, so the audience is not compared here
            decided = replace(decided, audiences=("not ours",))
        client = Client(
            username=username,
            groups=frozenset(groups[record["commandID"]]),
            authenticator=Authenticator(record["authenticator"]),
        )
        tool = Tool(record["tool"])
        decisions = list(_decisions(decided, client=client, tool=tool, at=at, catalog=catalog, snapshots=snapshots))
        if not any(_same(decision, record, recorder=recorder) for decision in decisions):
            wrong.append(f"{username} {event['verb']} {event['requestURI']}: recorded {record}, again {decisions[-1]}")
        if _attributes(request) != record["attributes"]:
            wrong.append(f"read differently: {_attributes(request)} and {record['attributes']}")
        verdicts[record["verdict"]] += 1
    print(f"decided again: {len(events)} requests, {dict(verdicts)}")
    assert wrong == [], "\n".join(wrong[:10])
    assert verdicts["exact"] >= 3
    assert verdicts["filtered"] >= 2


@pytest.mark.usefixtures("some_traffic")
def test_no_denied_request_reached_the_api_server(
    installed: InstalledService, replicas: list[InstalledService], audit_log: Path
) -> None:
    records = [line for line in _records(replicas, kind="Request") if line["verdict"] == "deny"]
    denied = {line["auditID"] for line in records if not _was_ended(line)}
    assert denied
    assert denied & set(_through_gateway(audit_log, installed)) == set()
