from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.cluster.objects import ListedObject, Listing
from k8s_mcp_server.cluster.store import PolicyStore, Resource
from k8s_mcp_server.policy.compile import CompiledPolicy, InvalidPolicy
from k8s_mcp_server.policy.identity import Client
from tests.support.clocks import ManualClock
from tests.support.policies import SUBJECT, namespace_body, policy_body, role_body

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.unit

DEPLOYER = Client(username="system:serviceaccount:agents:deployer")
DENY = {"name": "hands-off", "namespaces": ["prod"], "apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}


def listing(clock: ManualClock, *bodies: Mapping[str, Any], version: str = "100") -> Listing:
    items = tuple(ListedObject.from_raw(json.dumps(body).encode()) for body in bodies)
    return Listing(resource_version=version, requested_at=clock(), items=items)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> PolicyStore:
    return PolicyStore(clock=clock)


@pytest.fixture
def synced(store: PolicyStore, clock: ManualClock) -> PolicyStore:
    """One policy and one namespace, listed in full."""
    store.replace(Resource.POLICIES, listing(clock, policy_body()))
    store.replace(Resource.NAMESPACES, listing(clock, namespace_body("team-a")))
    return store


def test_before_both_resources_were_listed_nothing_is_known_and_nothing_is_published(
    store: PolicyStore, clock: ManualClock
) -> None:
    assert store.age() == math.inf
    store.replace(Resource.POLICIES, listing(clock, policy_body()))
    store.apply(Resource.NAMESPACES, "ADDED", namespace_body("team-a"))
    store.publish()

    assert store.age() == math.inf
    assert not store.snapshot.policies
    assert not store.snapshot.namespaces


def test_once_both_are_listed_the_snapshot_has_them(synced: PolicyStore) -> None:
    assert synced.age() == 0
    assert set(synced.snapshot.policies) == {"team-a"}
    assert set(synced.snapshot.namespaces) == {"team-a"}
    assert [policy.name for policy in synced.snapshot.policies_for(DEPLOYER)] == ["team-a"]


def test_the_age_is_that_of_the_older_list_counted_from_when_it_was_asked_for(
    synced: PolicyStore, clock: ManualClock
) -> None:
    asked_for = listing(clock, policy_body())
    clock.advance(7)
    synced.replace(Resource.POLICIES, asked_for)
    assert synced.age() == 7

    synced.replace(Resource.NAMESPACES, listing(clock, namespace_body("team-a")))
    clock.advance(2)

    assert synced.age() == 9


def test_events_do_not_make_the_store_younger(synced: PolicyStore, clock: ManualClock) -> None:
    clock.advance(12)
    synced.apply(Resource.POLICIES, "ADDED", policy_body("other", version="101"))
    synced.publish()

    assert synced.age() == 12


def test_an_event_is_seen_when_it_is_published(synced: PolicyStore) -> None:
    before = synced.snapshot
    assert synced.apply(Resource.POLICIES, "DELETED", policy_body(version="101"))
    assert synced.snapshot is before
    assert synced.dirty

    synced.publish()

    assert not synced.snapshot.policies
    assert set(before.policies) == {"team-a"}, "a snapshot in use never changes"
    assert not synced.dirty


def test_many_events_make_one_snapshot(
    synced: PolicyStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr(synced, "_publish", lambda: built.append(1))
    synced.publish()
    assert not built

    for number in range(200):
        synced.apply(Resource.POLICIES, None, policy_body(f"p{number}", version=str(200 + number)))
    synced.publish()

    assert len(built) == 1


def test_a_relabelled_namespace_is_seen_and_an_annotated_one_is_no_news(synced: PolicyStore) -> None:
    assert not synced.apply(Resource.NAMESPACES, "MODIFIED", namespace_body("team-a", version="101"))
    assert synced.apply(Resource.NAMESPACES, "MODIFIED", namespace_body("team-a", version="102", labels={"team": "a"}))
    synced.publish()

    assert synced.snapshot.namespaces["team-a"].labels == {"team": "a"}


def test_a_written_status_is_no_news(synced: PolicyStore) -> None:
    status = {"observedGeneration": 1}
    assert not synced.apply(Resource.POLICIES, "MODIFIED", policy_body(version="101", status=status))

    (item,) = synced.policy_objects
    assert item.status == status
    assert item.policy is synced.snapshot.policies["team-a"]


def test_one_generation_that_is_served_with_another_spec_is_read_anew(synced: PolicyStore, clock: ManualClock) -> None:
    """An API server serves what its CRD declares: with another CRD the same generation has a deny that it had not."""
    (before,) = synced.policy_objects
    synced.replace(Resource.POLICIES, listing(clock, policy_body(deny=[DENY])))

    (after,) = synced.policy_objects
    assert isinstance(after.policy, CompiledPolicy)
    assert after.policy.generation == before.policy.generation
    assert after.policy.denies


def test_a_policy_made_anew_under_the_same_name_is_read_anew(synced: PolicyStore) -> None:
    assert synced.apply(Resource.POLICIES, "ADDED", policy_body(version="101", uid="another", suspend=True))
    synced.publish()

    policy = synced.snapshot.policies["team-a"]
    assert isinstance(policy, CompiledPolicy)
    assert (policy.uid, policy.suspend) == ("another", True)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="no subjects"),
        pytest.param("text", id="no object"),
        pytest.param({"subjects": [SUBJECT], "rules": [{"verbs": ["get"]}]}, id="a rule without a scope"),
        pytest.param({"subjects": [SUBJECT], "unheardOf": 1}, id="an unknown field"),
    ],
)
def test_a_policy_that_cannot_be_read_is_a_value_that_gives_nothing(synced: PolicyStore, spec: Any) -> None:
    synced.apply(Resource.POLICIES, "MODIFIED", policy_body(version="101", generation=2, spec=spec))
    synced.publish()

    assert isinstance(synced.snapshot.policies["team-a"], InvalidPolicy)
    assert synced.counts() == {"valid": 0, "invalid": 1}


def test_a_mended_policy_counts_again(synced: PolicyStore) -> None:
    synced.apply(Resource.POLICIES, "MODIFIED", policy_body(version="101", generation=2, spec={}))
    synced.apply(Resource.POLICIES, "MODIFIED", policy_body(version="102", generation=3))
    synced.publish()

    assert isinstance(synced.snapshot.policies["team-a"], CompiledPolicy)


def test_the_last_valid_denies_hold_while_a_policy_cannot_be_read(synced: PolicyStore) -> None:
    synced.apply(Resource.POLICIES, "MODIFIED", policy_body(version="101", generation=2, deny=[DENY]))
    synced.apply(Resource.POLICIES, "MODIFIED", policy_body(version="102", generation=3, spec={"subjects": "?"}))
    synced.apply(Resource.POLICIES, "MODIFIED", policy_body(version="103", generation=4, spec={"subjects": "??"}))
    synced.publish()

    (policy,) = synced.snapshot.policies_for(DEPLOYER)
    assert isinstance(policy, InvalidPolicy)
    assert [rule.name for rule in policy.denies] == ["hands-off"]


def test_a_resource_that_is_not_served_any_more_leaves_nothing_to_decide_from(
    synced: PolicyStore, clock: ManualClock
) -> None:
    assert synced.policies_served
    synced.forget(Resource.POLICIES)

    assert synced.age() == math.inf
    assert not synced.snapshot.policies
    assert not synced.policies_served

    synced.replace(Resource.POLICIES, listing(clock, policy_body("reborn", version="120"), version="130"))
    assert set(synced.snapshot.policies) == {"reborn"}
    assert synced.age() == 0
    assert synced.policies_served


@pytest.mark.anyio
async def test_subscribers_are_called_in_their_own_loop_after_each_change(
    synced: PolicyStore, clock: ManualClock
) -> None:
    called = asyncio.Event()
    unsubscribe = synced.subscribe(called.set)

    same = listing(clock, policy_body(), version="110")
    await asyncio.to_thread(synced.replace, Resource.POLICIES, same)
    await asyncio.sleep(0)
    assert not called.is_set()

    await asyncio.to_thread(synced.replace, Resource.POLICIES, listing(clock, version="120"))
    async with asyncio.timeout(5):
        await called.wait()

    unsubscribe()
    called.clear()
    await asyncio.to_thread(synced.forget, Resource.POLICIES)
    await asyncio.sleep(0)
    assert not called.is_set()


def test_a_subscriber_whose_loop_is_closed_is_let_go(synced: PolicyStore) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    synced.subscribe(lambda: None, loop=loop)

    synced.forget(Resource.POLICIES)

    assert not synced._subscribers._entries


def test_a_changed_role_is_in_force_with_the_next_snapshot(synced: PolicyStore) -> None:
    follows = [{"namespaces": ["team-a"], "roleRef": {"kind": "ClusterRole", "name": "edit"}}]
    gives = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    synced.replace(Resource.ROLES, Listing(resource_version="100", requested_at=0, items=()))
    synced.apply(Resource.POLICIES, "MODIFIED", policy_body(version="101", generation=2, rules=follows))
    synced.publish()
    assert not synced.snapshot.client_policies(DEPLOYER).valid[0].rules

    assert synced.apply(Resource.ROLES, "ADDED", role_body("edit", gives, version="102"))
    synced.publish()
    assert [rule.verbs for rule in synced.snapshot.client_policies(DEPLOYER).valid[0].rules] == [{"get"}]

    assert synced.apply(Resource.ROLES, "DELETED", role_body("edit", gives, version="103"))
    synced.publish()
    assert not synced.snapshot.client_policies(DEPLOYER).valid[0].rules
