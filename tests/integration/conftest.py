"""The cluster that integration tests share, and namespaces of their own in it.

`devtools.cluster.switches` lists the variables that choose the cluster. On an existing cluster only what a test made is
touched, and removed again.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Protocol

import pytest

from devtools.cluster import ExistingCluster, KwokCluster, Switches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from devtools.cluster import TestCluster


class NamespaceFactory(Protocol):
    """Makes a namespace of a unique name, which goes when the test ends."""

    def __call__(self, prefix: str = "test", *, labels: Mapping[str, str] | None = None) -> str: ...


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[TestCluster]:
    """The cluster that the environment chooses."""
    switches = Switches.from_environment()
    if switches.use_existing:
        running: TestCluster = ExistingCluster.connect(context=switches.context)
    elif switches.use_kwok:
        running = KwokCluster.start(name="integration", exec_on_host=True)
    else:
        pytest.skip("K8S_MCP_TEST_USE_KWOK is false and no existing cluster is chosen")
    yield running
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():  # a kept cluster says how to reach it
        running.stop()


@pytest.fixture
def namespace_factory(cluster: TestCluster) -> Iterator[NamespaceFactory]:
    """Unique namespaces, each with its default ServiceAccount in place so that pods can be made at once."""
    made: list[str] = []

    def make(prefix: str = "test", *, labels: Mapping[str, str] | None = None) -> str:
        name = f"{prefix}-{uuid.uuid4().hex[:10]}"
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels or {})}}
        cluster.kubectl("create", "-f", "-", input=json.dumps(manifest))
        made.append(name)
        cluster.kubectl("wait", "serviceaccount/default", "-n", name, "--for=create", "--timeout=30s")
        return name

    yield make
    if made and not Switches.from_environment().skip_cleanup:
        cluster.kubectl("delete", "namespace", *made, "--wait=false", "--ignore-not-found")
