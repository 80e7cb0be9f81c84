"""The whole facade, kopf included, against an API server that misbehaves."""

from __future__ import annotations

import asyncio
import gc
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.cluster import kopf_watch
from k8s_mcp_server.cluster.cluster import Cluster, NotReady
from k8s_mcp_server.cluster.operator import Backoff
from k8s_mcp_server.errors import ConfigurationError, Unavailable
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.eventually import eventually
from tests.support.fake_apiserver import NAMESPACES, POLICIES, ROLES, Running, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln"
QUICK = 0.2
NEVER = 400.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as found:
        yield found


@asynccontextmanager
async def started(server: Running, *, resync_seconds: float, max_age: float = 1000.0) -> AsyncIterator[Cluster]:
    cluster = Cluster(
        server.api_server,
        environment=Environment(max_snapshot_age=max_age),
        metrics=Metrics(),
        identity="replica-1",
        resync_seconds=resync_seconds,
    )
    cluster.start()
    try:
        await eventually(lambda: not cluster.not_ready_reasons())
        yield cluster
    finally:
        async with asyncio.timeout(5):
            await asyncio.to_thread(cluster.stop)
        assert NotReady.OPERATOR_STOPPED in cluster.not_ready_reasons()


def names(cluster: Cluster) -> set[str]:
    return set(cluster.store.snapshot.policies)


def restarts(cluster: Cluster) -> float:
    return cluster._metrics.registry.get_sample_value("k8s_mcp_operator_restarts_total") or 0


async def watching(server: Running, path: str = POLICIES) -> None:
    """kopf watches the resource."""
    await eventually(lambda: server.state.watches[path])


async def test_events_are_seen_without_any_resync(server: Running) -> None:
    async with started(server, resync_seconds=NEVER) as cluster:
        await watching(server)
        await server.state.put_policy("new")
        await eventually(lambda: "new" in names(cluster))

        await server.state.put_policy("new", suspend=True)
        await eventually(lambda: getattr(cluster.store.snapshot.policies["new"], "suspend", False))

        await server.state.delete(POLICIES, "new")
        await eventually(lambda: "new" not in names(cluster))

        await watching(server, NAMESPACES)
        await server.state.put_namespace("team-a", team="a")
        await eventually(lambda: cluster.store.snapshot.namespaces["team-a"].labels == {"team": "a"})


async def test_kopf_watches_from_our_list_and_lists_nothing_itself(server: Running) -> None:
    async with started(server, resync_seconds=NEVER):
        for path in (POLICIES, NAMESPACES, ROLES):
            await watching(server, path)
            assert server.state.requests[f"GET {path}"] == 2, "our list, and the watch"


async def test_what_changed_between_our_list_and_the_watch_is_not_missed(server: Running) -> None:
    server.state.watch_down = True
    async with started(server, resync_seconds=NEVER) as cluster:
        await server.state.put_policy("meanwhile")
        server.state.watch_down = False
        await eventually(lambda: "meanwhile" in names(cluster))


async def test_a_deletion_missed_behind_a_410_is_dropped_by_the_resync(server: Running) -> None:
    async with started(server, resync_seconds=QUICK) as cluster:
        await server.state.put_policy("gone")
        await eventually(lambda: "gone" in names(cluster))

        server.state.watch_down = True
        server.state.cut_watches()
        await server.state.delete(POLICIES, "gone")
        server.state.compact()
        server.state.watch_down = False

        await eventually(lambda: "gone" not in names(cluster))
        await server.state.put_policy("after")
        await eventually(lambda: "after" in names(cluster))


async def test_an_api_server_that_fails_for_a_while_ages_the_snapshot_and_comes_back(server: Running) -> None:
    async with started(server, resync_seconds=QUICK, max_age=1.0) as cluster:
        server.state.fail = 500
        server.state.cut_watches()
        await eventually(lambda: NotReady.POLICY_SNAPSHOT_STALE in cluster.not_ready_reasons())
        assert names(cluster) == {"team-a"}

        server.state.fail = None
        await server.state.put_policy("after")
        await eventually(lambda: not cluster.not_ready_reasons())
        assert names(cluster) == {"team-a", "after"}


async def test_an_api_server_that_refuses_connections_is_waited_for(server: Running) -> None:
    async with started(server, resync_seconds=QUICK, max_age=1.0) as cluster:
        await server.close()
        await eventually(lambda: NotReady.POLICY_SNAPSHOT_STALE in cluster.not_ready_reasons())
        with pytest.raises(Unavailable):
            await cluster.tokens.authenticate(TOKEN)
        with pytest.raises(Unavailable):
            await cluster.discovery.refresh()

        await server.open()
        await eventually(lambda: not cluster.not_ready_reasons())


async def test_without_an_api_server_at_the_start_nothing_is_ready_until_it_comes(server: Running) -> None:
    api_server = server.api_server
    await server.close()
    environment = Environment(max_snapshot_age=1.0)
    cluster = Cluster(
        api_server, environment=environment, metrics=Metrics(), identity="replica-1", resync_seconds=QUICK
    )
    assert NotReady.OPERATOR_STOPPED in cluster.not_ready_reasons()
    cluster.start()
    try:
        assert set(cluster.not_ready_reasons()) == {NotReady.POLICY_SYNC_PENDING, NotReady.DISCOVERY_MISSING}
        assert cluster.store.age() == math.inf

        await server.open()
        await eventually(lambda: not cluster.not_ready_reasons())
    finally:
        await asyncio.to_thread(cluster.stop)


async def test_a_crd_that_goes_takes_every_policy_with_it_and_may_come_back(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(server, resync_seconds=QUICK) as cluster:
        await server.state.remove_crd()
        await eventually(lambda: cluster.not_ready_reasons() == (NotReady.POLICIES_NOT_SERVED,))
        assert not names(cluster)

        await server.state.install_crd()
        await server.state.put_policy("reborn")
        await eventually(lambda: not cluster.not_ready_reasons())
        assert names(cluster) == {"reborn"}
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_rotated_token_is_used_without_a_restart(server: Running) -> None:
    async with started(server, resync_seconds=QUICK) as cluster:
        server.state.tokens = {"second-token"}
        server.state.cut_watches()
        await eventually(lambda: cluster.store.age() > 3 * QUICK)

        server.token_file.write_text("second-token", encoding="ascii")
        await server.state.put_policy("after")
        await eventually(lambda: "after" in names(cluster))
        assert not cluster.not_ready_reasons()


async def test_a_changed_ca_bundle_restarts_kopf_which_goes_on(
    server: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kopf_watch, "_CA_CHECK_SECONDS", 0.05)
    monkeypatch.setattr(kopf_watch, "Backoff", lambda: Backoff(first=0.01))
    async with started(server, resync_seconds=NEVER) as cluster:
        await watching(server)
        (tmp_path / "ca.crt").touch()
        await eventually(lambda: restarts(cluster) == 1)

        await server.state.put_policy("after")
        await eventually(lambda: "after" in names(cluster))

        (tmp_path / "ca.crt").rename(tmp_path / "kept")
        await server.state.put_policy("meanwhile")
        await eventually(lambda: restarts(cluster) >= 3)
        (tmp_path / "kept").rename(tmp_path / "ca.crt")
        await eventually(lambda: "meanwhile" in names(cluster))


async def test_a_token_that_is_not_good_any_more_is_not_hammered_with(server: Running) -> None:
    async with started(server, resync_seconds=NEVER):
        await watching(server)
        server.state.requests.clear()
        server.state.tokens = {"second-token"}
        server.state.cut_watches()
        await eventually(lambda: server.state.requests[f"GET {POLICIES}"] >= 3)

        assert server.state.requests.total() < 40


async def test_one_unreadable_policy_does_not_keep_others_from_counting(server: Running) -> None:
    async with started(server, resync_seconds=QUICK) as cluster:
        await server.state.put_policy("poison", spec={"subjects": 7})
        await server.state.put_policy("good")
        await eventually(lambda: names(cluster) == {"team-a", "poison", "good"})
        await eventually(lambda: cluster.store.counts() == {"valid": 2, "invalid": 1})


async def test_tokens_are_reviewed_and_the_status_is_written_by_the_leader(server: Running) -> None:
    server.state.clients = {TOKEN: "alice"}
    async with started(server, resync_seconds=QUICK) as cluster:
        assert await cluster.tokens.authenticate(TOKEN) == Client(username="alice")

        def status() -> Any:
            return server.state.kinds[POLICIES].objects["team-a"].get("status", {})

        await eventually(lambda: status().get("observedGeneration") == 1)
        assert server.state.lease["spec"]["holderIdentity"] == "replica-1"
    assert server.state.lease["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize("seconds", [0, -1, 15, 30, math.nan])
def test_a_resync_that_is_too_slow_for_the_age_limit_is_refused(server_settings: Any, seconds: float) -> None:
    with pytest.raises(ConfigurationError):
        Cluster(server_settings, environment=Environment(), metrics=Metrics(), identity="x", resync_seconds=seconds)


@pytest.fixture
def server_settings(tmp_path: Path) -> Any:
    from k8s_mcp_server.cluster.connection import ApiServer

    return ApiServer(host="127.0.0.1", port=1, ca_file=tmp_path / "ca", token_file=tmp_path / "token")
