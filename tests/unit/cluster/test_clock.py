"""The time that policies end by, on a machine whose clock is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from k8s_mcp_server.cluster.clock import SteadyTime
from k8s_mcp_server.policy.decision import Reason
from tests.support.asking import ask, grant, rule
from tests.support.clocks import ManualClock

pytestmark = pytest.mark.unit

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


class Machine:
    """A machine's clocks, and the time that the service takes from them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.wall = NOON
        self.time = SteadyTime(wall=lambda: self.wall, clock=self.clock)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.wall += timedelta(seconds=seconds)

    def step(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def reason(machine: Machine, expires_at: str) -> Reason:
    policy = grant(rule("get"), expiresAt=expires_at)
    return ask("get pods -n team-a", policy, now=machine.time()).reason


def test_a_policy_that_ended_does_not_give_again_when_the_clock_is_set_back(machine: Machine) -> None:
    ends = "2026-06-01T12:01:00Z"
    assert reason(machine, ends) is Reason.ALLOWED_BY_RULE
    machine.pass_time(60)
    assert reason(machine, ends) is Reason.POLICY_EXPIRED
    machine.step(-3600)
    assert reason(machine, ends) is Reason.POLICY_EXPIRED


def test_a_policy_ends_after_its_time_though_the_clock_is_set_back_before(machine: Machine) -> None:
    ends = "2026-06-01T12:01:00Z"
    machine.step(-3600)
    assert reason(machine, ends) is Reason.ALLOWED_BY_RULE
    machine.pass_time(60)
    assert reason(machine, ends) is Reason.POLICY_EXPIRED


def test_a_policy_ends_at_once_when_the_clock_is_set_forward(machine: Machine) -> None:
    machine.step(3600)
    assert reason(machine, "2026-06-01T12:01:00Z") is Reason.POLICY_EXPIRED
    machine.step(-3600)
    assert reason(machine, "2026-06-01T12:01:00Z") is Reason.POLICY_EXPIRED


def test_a_machine_that_slept_knows_the_time(machine: Machine) -> None:
    machine.pass_time(8 * 3600)
    assert machine.time() == NOON + timedelta(hours=8)


def test_a_clock_that_was_set_back_is_told_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.step(-1)
    machine.time()
    assert not caplog.messages
    machine.step(-3600)
    for _ in range(3):
        machine.time()
    (told,) = caplog.messages
    assert "The clock went back by 3601 s" in told
