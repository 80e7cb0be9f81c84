"""What occurs to policies becomes few Events that name nobody."""

from __future__ import annotations

import asyncio
import functools
import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from k8s_mcp_server.cluster.client import Answer, ApiClient, ApiStatusError
from k8s_mcp_server.cluster.events import BURST, PATH, REFILL_SECONDS, SERIES_SECONDS, PolicyEvents
from k8s_mcp_server.errors import Unavailable
from k8s_mcp_server.policy.compile import read_policy
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.telemetry.metrics import Metrics
from tests.support.clocks import ManualClock
from tests.support.eventually import eventually
from tests.support.policies import policy_body

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

CLIENT = Client(username="system:serviceaccount:agents:deployer")
POLICY = read_policy(policy_body())


class Api:
    """Keeps what is written, or fails."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.error: Exception | None = None

    async def request(self, method: str, path: str, *, body: dict[str, Any], headers: Any = None) -> Answer:
        if self.error is not None:
            raise self.error
        if method == "POST":
            assert path == PATH
            self.events[body["metadata"]["name"]] = body
        else:
            assert (method, headers) == ("PATCH", {"Content-Type": "application/merge-patch+json"})
            name = path.removeprefix(f"{PATH}/")
            if name not in self.events:
                raise ApiStatusError(404, "not found")
            self.events[name] |= body
        return Answer(status=200, body=b"{}", headers={})

    def counts(self) -> dict[str, int]:
        return {body["reason"]: body.get("series", {}).get("count", 1) for body in self.events.values()}


class Replica:
    """The events of one replica, an API server, and time."""

    def __init__(self) -> None:
        self.api = Api()
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.events = PolicyEvents(
            policies_for=lambda client: [POLICY] if client == CLIENT else [],
            identity="replica-1",
            metrics=self.metrics,
            clock=self.clock,
            now=lambda: datetime(2026, 6, 1, tzinfo=UTC),
        )

    async def write(self) -> None:
        await self.events.write(cast("ApiClient", self.api))

    def counted(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("k8s_mcp_events_total", {"outcome": outcome}) or 0


@pytest.fixture
def replica() -> Replica:
    return Replica()


async def test_denied_commands_are_one_event_with_a_count(replica: Replica) -> None:
    for _ in range(3):
        replica.events.denied(CLIENT, "NotAllowed")
    assert not replica.api.events, "nothing is written before its time"
    await replica.write()
    assert replica.api.counts() == {"NotAllowed": 3}

    replica.clock.advance(10)
    replica.events.denied(CLIENT, "NotAllowed")
    replica.events.denied(CLIENT, "DeniedByRule")
    await replica.write()
    assert replica.api.counts() == {"NotAllowed": 4, "DeniedByRule": 1}


async def test_an_event_names_its_policy_and_no_client_object_or_namespace(replica: Replica) -> None:
    replica.events.denied(CLIENT, "NotAllowed")
    await replica.write()
    (event,) = replica.api.events.values()
    assert event["regarding"] == {
        "apiVersion": "k8s-mcp.io/v1alpha1",
        "kind": "McpAccessPolicy",
        "name": POLICY.name,
        "uid": POLICY.uid,
    }
    assert event["type"] == "Warning"
    assert "deployer" not in json.dumps(event)


async def test_a_client_that_no_policy_names_leaves_no_event(replica: Replica) -> None:
    replica.events.denied(Client(username="nobody"), "NoPolicy")
    await replica.write()
    assert not replica.api.events


async def test_what_occurs_again_much_later_is_a_new_event(replica: Replica) -> None:
    for seconds in (0.0, SERIES_SECONDS):
        replica.clock.advance(seconds)
        replica.events.denied(CLIENT, "NotAllowed")
        await replica.write()
    assert len(replica.api.events) == 2


async def test_an_event_that_is_gone_is_written_anew(replica: Replica) -> None:
    replica.events.denied(CLIENT, "NotAllowed")
    await replica.write()
    replica.api.events.clear()
    replica.events.denied(CLIENT, "NotAllowed")
    await replica.write()
    assert replica.api.counts() == {"NotAllowed": 1}


async def test_a_policy_has_a_burst_of_events_and_then_one_every_five_minutes(replica: Replica) -> None:
    for number in range(BURST + 5):
        replica.events.denied(CLIENT, f"Reason{number}")
    await replica.write()
    assert len(replica.api.events) == BURST
    assert replica.counted("dropped") == 5

    replica.clock.advance(REFILL_SECONDS)
    for number in range(2):
        replica.events.denied(CLIENT, f"Later{number}")
    await replica.write()
    assert len(replica.api.events) == BURST + 1


async def test_what_waits_has_a_limit(replica: Replica) -> None:
    for number in range(1500):
        replica.events.denied(CLIENT, f"Reason{number}")
    assert replica.counted("dropped") == 500


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Unavailable("no answer"), id="no answer"),
        pytest.param(ApiStatusError(403, "forbidden"), id="no right"),
    ],
)
async def test_an_event_that_cannot_be_written_is_only_counted(replica: Replica, error: Exception) -> None:
    replica.api.error = error
    replica.events.denied(CLIENT, "NotAllowed")
    await replica.write()
    assert replica.counted("failed") == 1

    replica.api.error = None
    await replica.write()
    assert not replica.api.events


def told(replica: Replica, count: int) -> bool:
    return replica.api.counts() == {"NotAllowed": count}


async def test_it_goes_on_for_ever(replica: Replica) -> None:
    running = asyncio.create_task(replica.events.run(cast("ApiClient", replica.api), interval=0))
    try:
        for count in (1, 2):
            replica.events.denied(CLIENT, "NotAllowed")
            await eventually(functools.partial(told, replica, count))
    finally:
        running.cancel()


def status(**conditions: tuple[str, str]) -> dict[str, Any]:
    known = {"Ready": ("True", "Accepted"), "Active": ("True", "Active"), "WithinServerRBAC": ("True", "RightsHeld")}
    return {
        "conditions": [
            {"type": kind, "status": value, "reason": reason, "message": f"because of {reason}"}
            for kind, (value, reason) in {**known, **conditions}.items()
        ]
    }


INVALID = status(Ready=("False", "InvalidSpec"), Active=("False", "InvalidSpec"))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param({}, status(), [], id="new and well"),
        pytest.param({}, INVALID, [("Warning", "InvalidSpec")], id="new and invalid: told once"),
        pytest.param(status(), status(), [], id="nothing new"),
        pytest.param(INVALID, INVALID, [], id="still invalid"),
        pytest.param(status(), INVALID, [("Warning", "InvalidSpec")], id="became invalid"),
        pytest.param(INVALID, status(), [("Normal", "Accepted"), ("Normal", "Active")], id="mended"),
        pytest.param(status(), status(Active=("False", "Expired")), [("Normal", "Expired")], id="expired"),
        pytest.param(status(), status(Active=("False", "Blocked")), [("Normal", "Blocked")], id="blocked"),
        pytest.param(
            status(),
            status(WithinServerRBAC=("False", "RightsMissing")),
            [("Warning", "RightsMissing")],
            id="gives what the server lacks",
        ),
        pytest.param(status(), status(WithinServerRBAC=("Unknown", "NotChecked")), [], id="not known"),
    ],
)
async def test_a_status_is_told_when_something_is_not_well_any_more_or_well_again(
    replica: Replica, before: dict[str, Any], after: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    replica.events.changed(POLICY, before, after)
    await replica.write()
    assert [(event["type"], event["reason"]) for event in replica.api.events.values()] == expected
