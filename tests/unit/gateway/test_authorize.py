"""The authorizer: every permission counts, discovery gets a second chance, and faults are denials."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.gateway.requestinfo import request_info
from k8s_mcp_server.gateway.target import parse_target
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.compile import read_policy
from k8s_mcp_server.policy.decision import Reason, Verdict
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.policy.tools import Tool

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

AGENT = Client(username="system:serviceaccount:agents:deployer")
PODS = ApiResource(group="", resource="pods", kind="Pod", scope=Scope.NAMESPACED)
POLICY = {
    "apiVersion": "k8s-mcp.io/v1alpha1",
    "kind": "McpAccessPolicy",
    "metadata": {"name": "p", "uid": "u", "resourceVersion": "1", "generation": 1},
    "spec": {
        "subjects": [{"kind": "ServiceAccount", "namespace": "agents", "name": "deployer"}],
        "rules": [
            {
                "name": "r",
                "namespaces": ["a"],
                "apiGroups": [""],
                "resources": ["pods"],
                "verbs": ["get", "list", "update"],
                "allowPrivilegedWorkloads": True,
            }
        ],
    },
}


class Sources:
    """Store and discovery."""

    def __init__(self, catalog: Catalog, *, discovered: Catalog | None = None) -> None:
        self.snapshot: Any = Snapshot.build([read_policy(POLICY)], [Namespace(name="a", labels={})])
        self.catalog = catalog
        self.refreshed = 0
        self._discovered = discovered
        self.seconds = 0.0
        self.gives: bool | None = None
        self.reviewed: list[str] = []
        self.meanwhile: Snapshot | None = None  # comes while a look-up runs

    async def review(self, client: Client, request: RequestInfo) -> bool:
        self.reviewed.append(f"{client.username} {request.verb} {request.resource}")
        self.snapshot = self.meanwhile or self.snapshot
        if self.gives is None:
            raise Unavailable("the API server does not answer")
        return self.gives

    def last_known(self, client: Client, request: RequestInfo) -> bool | None:
        del client, request
        return self.gives

    def age(self) -> float:
        return self.seconds

    async def refresh(self) -> None:
        self.refreshed += 1
        if self._discovered is None:
            raise Unavailable("the API server does not answer")
        self.catalog = self._discovered


def authorizer(sources: Sources) -> Authorizer:
    return Authorizer(
        store=sources,
        discovery=sources,
        access=sources,
        environment=Environment(),
        clock=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )


def info(method: str, raw: str) -> RequestInfo:
    target = parse_target(raw)
    return request_info(method, target.path, target.query)


GET = info("GET", "/api/v1/namespaces/a/pods/p")
UPDATE = info("PUT", "/api/v1/namespaces/a/pods/p")
CREATE = info("POST", "/api/v1/namespaces/a/pods")


async def test_all_permissions_must_be_allowed() -> None:
    subject = authorizer(Sources(Catalog([PODS])))
    assert (await subject.authorize([GET], client=AGENT, tool=Tool.KUBECTL)).verdict is Verdict.EXACT
    assert (await subject.authorize([UPDATE], client=AGENT, tool=Tool.KUBECTL)).verdict is Verdict.EXACT
    denied = await subject.authorize([UPDATE, CREATE], client=AGENT, tool=Tool.KUBECTL)
    assert (denied.verdict, denied.reason) == (Verdict.DENY, Reason.NOT_ALLOWED)


async def test_one_cut_makes_the_answer_filtered() -> None:
    subject = authorizer(Sources(Catalog([PODS])))
    decision = await subject.authorize([GET, info("GET", "/api/v1/pods")], client=AGENT, tool=Tool.KUBECTL)
    assert decision.verdict is Verdict.FILTERED
    assert decision.cut is not None
    assert decision.cut.allows(namespace="a", name="x")
    assert not decision.cut.allows(namespace="b", name="x")


async def test_an_unknown_resource_is_looked_up_once() -> None:
    sources = Sources(Catalog(), discovered=Catalog([PODS]))
    assert (await authorizer(sources).authorize([GET], client=AGENT, tool=Tool.KUBECTL)).allowed
    assert sources.refreshed == 1


async def test_a_resource_that_stays_unknown_is_denied() -> None:
    sources = Sources(Catalog(), discovered=Catalog())
    decision = await authorizer(sources).authorize([GET], client=AGENT, tool=Tool.KUBECTL)
    assert (decision.reason, sources.refreshed) == (Reason.UNKNOWN_RESOURCE, 1)


async def test_a_resource_is_denied_while_discovery_fails() -> None:
    decision = await authorizer(Sources(Catalog())).authorize([GET], client=AGENT, tool=Tool.KUBECTL)
    assert decision.reason is Reason.UNKNOWN_RESOURCE


async def test_a_stale_snapshot_denies() -> None:
    sources = Sources(Catalog([PODS]))
    sources.seconds = 1e9
    decision = await authorizer(sources).authorize([GET], client=AGENT, tool=Tool.KUBECTL)
    assert decision.reason is Reason.SNAPSHOT_STALE


async def test_a_fault_is_a_denial(caplog: pytest.LogCaptureFixture) -> None:
    sources = Sources(Catalog([PODS]))
    sources.snapshot = None
    decision = await authorizer(sources).authorize([GET], client=AGENT, tool=Tool.KUBECTL)
    assert (decision.verdict, decision.reason) == (Verdict.DENY, Reason.ERROR)
    assert "could not be decided" in caplog.text


async def test_nothing_asked_is_a_denial() -> None:
    decision = await authorizer(Sources(Catalog([PODS]))).authorize([], client=AGENT, tool=Tool.KUBECTL)
    assert decision.reason is Reason.ERROR


class TestOwnRights:
    """Rules that give what the cluster's own RBAC gives."""

    def sources(self, *, gives: bool | None) -> Sources:
        sources = Sources(Catalog([PODS]))
        rules = [{"name": "own", "namespaces": ["a"], "fromRBAC": True}]
        spec = {**POLICY["spec"], "rules": rules}  # type: ignore[dict-item]  # the sample's spec is a mapping
        sources.snapshot = Snapshot.build([read_policy({**POLICY, "spec": spec})], [Namespace(name="a", labels={})])
        sources.gives = gives
        return sources

    @pytest.mark.parametrize(
        ("gives", "reason"),
        [
            pytest.param(True, Reason.ALLOWED_BY_RULE, id="what RBAC gives"),
            pytest.param(False, Reason.NOT_IN_RBAC, id="what it does not"),
            pytest.param(None, Reason.RBAC_UNAVAILABLE, id="no answer is no"),
        ],
    )
    async def test_a_request_is_looked_up_before_it_is_decided(self, gives: bool | None, reason: Reason) -> None:
        sources = self.sources(gives=gives)
        decision = await authorizer(sources).authorize([GET], client=AGENT, tool=Tool.KUBECTL)
        assert decision.reason is reason
        assert sources.reviewed == [f"{AGENT.username} get pods"]

    async def test_every_permission_that_a_request_needs_is_looked_up(self) -> None:
        sources = self.sources(gives=True)
        update = info("PUT", "/api/v1/namespaces/a/pods/p/status")
        await authorizer(sources).authorize([GET, update], client=AGENT, tool=Tool.KUBECTL)
        assert sources.reviewed == [f"{AGENT.username} get pods", f"{AGENT.username} update pods"]

    @pytest.mark.parametrize("gives", [True, False, None])
    async def test_a_policy_that_went_while_it_was_looked_up_gives_nothing(self, gives: bool | None) -> None:
        sources = self.sources(gives=gives)
        rules = [*POLICY["spec"]["rules"], {"namespaces": ["a"], "fromRBAC": True}]  # type: ignore[index]  # a mapping
        before = read_policy({**POLICY, "spec": {**POLICY["spec"], "rules": rules}})  # type: ignore[dict-item]  # a mapping
        sources.snapshot = Snapshot.build([before], [Namespace(name="a", labels={})])
        sources.meanwhile = Snapshot.build([], [Namespace(name="a", labels={})])
        decision = await authorizer(sources).authorize([GET], client=AGENT, tool=Tool.KUBECTL)
        assert (decision.reason, len(sources.reviewed)) == (Reason.NO_POLICY, 1)

    @pytest.mark.parametrize("gives", [True, False, None])
    async def test_a_request_that_runs_is_decided_by_the_last_answer(self, gives: bool | None) -> None:
        decision = authorizer(self.sources(gives=gives)).decide([GET], client=AGENT, tool=Tool.KUBECTL)
        assert decision.allowed is (gives is True)

    async def test_nothing_is_looked_up_for_what_no_such_rule_could_give(self) -> None:
        sources = self.sources(gives=True)
        elsewhere = info("GET", "/api/v1/namespaces/b/pods/p")
        assert not (await authorizer(sources).authorize([elsewhere], client=AGENT, tool=Tool.KUBECTL)).allowed
        assert sources.reviewed == []
