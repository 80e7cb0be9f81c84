"""A helm operation that its time or its client leaves in the midst is marked as failed, by helm itself where it can."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.through_mcp.conftest import eventually

if TYPE_CHECKING:
    from tests.integration.conftest import NamespaceFactory
    from tests.integration.through_mcp.conftest import AgentFactory
    from tests.support.agent import Agent, Answer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.usefixtures("no_ceiling")]

NEVER = """
apiVersion: v1
kind: Pod
metadata: {name: never, annotations: {helm.sh/hook: "EVENTS"}}
spec: {restartPolicy: Never, nodeSelector: {no: such-node}, containers: [{name: never, image: never}]}
"""
MAP = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}"
EVERYTHING = {"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["*"]}
RECORDS = {
    "apiGroups": ["helm.sh"],
    "resources": ["releases", "releases/content"],
    "verbs": ["get", "list", "create", "update", "delete"],
}


@pytest.fixture
def mine(namespace_factory: NamespaceFactory) -> str:
    return namespace_factory("helm", labels={"pod-security.kubernetes.io/enforce": "baseline"})


@pytest.fixture
def agent(agent_factory: AgentFactory, mine: str) -> Agent:
    rules = [{"namespaces": [mine], **rule} for rule in (EVERYTHING, RECORDS)]
    return agent_factory({"tools": ["helm"], "defaultNamespace": mine, "rules": rules})


def arguments(command: str, *, events: str = "pre-install", timeout: int = 0) -> dict[str, object]:
    files = {
        "chart/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
        "chart/templates/map.yaml": MAP,
        "chart/templates/never.yaml": NEVER.replace("EVENTS", events),
    }
    return {"command": command, "files": files, **({"timeout": timeout} if timeout else {})}


def helm(agent: Agent, command: str, **more: Any) -> Answer:
    return agent.call("execute_helm", arguments(command, **more))


def history(agent: Agent) -> list[tuple[str, str]]:
    """Status and description of each revision of the release ``web``."""
    answer = helm(agent, "history web -o json")
    return [(each["status"], each["description"]) for each in json.loads(answer.stdout or "[]")]


def test_helm_s_own_time_is_over_before_the_command_s(agent: Agent) -> None:
    answer = helm(agent, "install web ./chart --timeout 10m", timeout=12)

    assert answer.status == "failed", answer
    assert "--timeout 10m was cut to" in answer.text
    ((status, description),) = history(agent)
    assert (status, "failed pre-install" in description) == ("failed", True), description


def test_there_is_time_to_undo_what_took_too_long(agent: Agent) -> None:
    assert helm(agent, "install web ./chart --no-hooks").status == "succeeded"

    answer = helm(agent, "upgrade web ./chart --rollback-on-failure", events="pre-upgrade", timeout=20)

    assert answer.status == "failed", answer
    assert [status for status, _ in history(agent)] == ["superseded", "failed", "deployed"]


async def _vanish(agent: Agent, command: str) -> None:
    """Call, and break the connection once helm is in the midst of it."""
    call = asyncio.create_task(agent._call("execute_helm", arguments(command, events="pre-install,pre-upgrade")))

    def is_pending() -> bool:
        return any(status.startswith("pending") for status, _ in history(agent))

    await asyncio.to_thread(eventually, is_pending, f"{command} was not begun")
    call.cancel()
    await asyncio.wait({call})


@pytest.mark.parametrize("command", ["install web ./chart", "upgrade --install web ./chart"])
def test_helm_itself_marks_what_a_client_left(agent: Agent, command: str) -> None:
    asyncio.run(_vanish(agent, command))

    eventually(lambda: bool(history(agent)) and not history(agent)[-1][0].startswith("pending"), "still pending")
    ((status, description),) = history(agent)
    assert (status, "context canceled" in description) == ("failed", True), description


def test_what_helm_cannot_mark_the_gateway_marks(agent: Agent) -> None:
    """A rollback does not listen: helm ends at once, and leaves a pending revision to others."""
    assert helm(agent, "install web ./chart --no-hooks").status == "succeeded"
    assert helm(agent, "upgrade web ./chart --no-hooks", events="pre-rollback").status == "succeeded"
    assert helm(agent, "upgrade web ./chart --no-hooks", events="pre-rollback").status == "succeeded"
    asyncio.run(_vanish(agent, "rollback web 2"))

    eventually(lambda: not history(agent)[-1][0].startswith("pending"), "still pending")
    assert history(agent)[-1] == ("failed", "Interrupted: the command ended before the operation was done")
