"""What was given and is taken back ends what runs by it: commands, their watches, and commands that ask for nothing."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from devtools.demo.teams import AGENTS_NAMESPACE, AUDIENCE
from tests.integration.through_mcp.conftest import apply_policy, await_in_force
from tests.support.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.cluster import TestCluster
    from devtools.installed import InstalledService
    from tests.integration.conftest import NamespaceFactory

pytestmark = pytest.mark.integration

READ = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}
WATCH = "get configmaps -n {namespace} --watch -o name"
FILTERED_WATCH = "get configmaps -A --watch -o name"
# It has its list, and computes for ever without another request.
SILENT = "get configmaps -n {namespace} -o name | awk '{{ print; fflush() }} END {{ while (1) {{ }} }}'"
ENDS_WITHIN = 20.0


class Policy:
    """One policy, which a test changes while its client's command runs."""

    def __init__(self, cluster: TestCluster, name: str, namespace: str) -> None:
        self._cluster = cluster
        self.name = name
        self.namespace = namespace
        subject = {"kind": "ServiceAccount", "namespace": AGENTS_NAMESPACE, "name": name}
        self.spec: dict[str, Any] = {"subjects": [subject], "rules": [{"namespaces": [namespace], **READ}]}

    def write(self, **changed: Any) -> None:
        apply_policy(self._cluster, self.name, {**self.spec, **changed})

    def delete(self) -> None:
        self._cluster.kubectl("delete", "mcpap", self.name, "--ignore-not-found")

    def expire_soon(self) -> None:
        """Nothing but the time changes then."""
        self.write(expiresAt=(datetime.now(UTC) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ"))

    def give_elsewhere(self) -> None:
        self.write(rules=[{"namespaces": [f"{self.namespace}-other"], **READ}])

    def deny(self) -> None:
        self.write(deny=[{"namespaces": [self.namespace], **READ}])


@pytest.fixture
def policy(cluster: TestCluster, namespace_factory: NamespaceFactory, installed: InstalledService) -> Iterator[Policy]:
    del installed
    namespace, name = namespace_factory(), f"revoked-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "configmap", "seen", "--namespace", namespace)
    cluster.kubectl("create", "serviceaccount", name, "--namespace", AGENTS_NAMESPACE)
    made = Policy(cluster, name, namespace)
    made.write()
    yield made
    made.delete()
    cluster.kubectl("delete", "serviceaccount", name, "--namespace", AGENTS_NAMESPACE)


@pytest.fixture
def agent(cluster: TestCluster, installed: InstalledService, policy: Policy) -> Agent:
    token = cluster.service_account_token(AGENTS_NAMESPACE, policy.name, audience=AUDIENCE)
    made = Agent(installed.url, token)
    await_in_force(made, policy.name)
    return made


EVERYTHING_GOES: dict[str, Callable[[Policy], None]] = {
    "deleted": Policy.delete,
    "blocked": lambda policy: policy.write(block=True),
    "suspended": lambda policy: policy.write(suspend=True),
    "expired": Policy.expire_soon,
}
SOMETHING_GOES: dict[str, Callable[[Policy], None]] = {"changed": Policy.give_elsewhere, "denied": Policy.deny}


@pytest.mark.parametrize(
    ("command", "change"),
    [
        *(pytest.param(WATCH, change, id=f"a watch, {how}") for how, change in EVERYTHING_GOES.items()),
        *(pytest.param(WATCH, change, id=f"a watch, {how}") for how, change in SOMETHING_GOES.items()),
        pytest.param(FILTERED_WATCH, Policy.delete, id="a filtered watch, deleted"),
        *(pytest.param(SILENT, change, id=f"no request under way, {how}") for how, change in EVERYTHING_GOES.items()),
    ],
)
def test_a_running_command_ends_and_keeps_what_it_printed(
    policy: Policy, agent: Agent, command: str, change: Callable[[Policy], None]
) -> None:
    with ThreadPoolExecutor() as pool:
        running = pool.submit(agent.kubectl, command.format(namespace=policy.namespace), timeout=55)
        _until_it_asked(policy, agent)
        began = time.monotonic()
        change(policy)
        answer = running.result(timeout=ENDS_WITHIN)
    print(f"ended {time.monotonic() - began:.1f} s after the change began")
    assert answer.status == "denied", answer.everything
    assert "configmap/seen" in answer.stdout
    assert agent.kubectl(f"get configmaps -n {policy.namespace}").status == "denied"


def _until_it_asked(policy: Policy, agent: Agent) -> None:
    """A second command is answered only after the first one was admitted, and by then that one has had its turn."""
    for _ in range(3):
        assert agent.kubectl(f"get configmaps -n {policy.namespace} -o name").status == "succeeded"
