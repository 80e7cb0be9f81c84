"""A real node with the service installed on it, and agents beside it and in its Pods."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devtools.image import build_image
from devtools.node import NodeCluster
from tests.e2e.node.site import AGENTS, IMAGE, NODE_RIGHTS, SHOP, Site, workload
from tests.support.agent import Agent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Measured

_ROOT = Path(__file__).resolve().parents[3]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("E2E_NODE") != "0":
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="E2E_NODE=0"))


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory, measured: Measured) -> Path:
    """The image of this tree, as an archive."""
    began = time.monotonic()
    built = build_image(IMAGE, archive=tmp_path_factory.mktemp("image") / "image.tar")
    measured("image built in", f"{time.monotonic() - began:.0f} s")
    measured("image", "\n    " + built.sizes.replace("\n", "\n    "))
    return built.archive


@pytest.fixture(scope="session")
def node(measured: Measured) -> Iterator[NodeCluster]:
    """A cluster with a real node, and nothing on it."""
    began = time.monotonic()
    with NodeCluster.start() as running:
        measured("node ready in", f"{time.monotonic() - began:.1f} s")
        yield running


@pytest.fixture(scope="session")
def site(node: NodeCluster, image: Path) -> Site:
    """The manifests, applied as they are, and two namespaces in which only Pods that meet `restricted` are let in."""
    node.import_image(image)
    node.kubectl("apply", "--server-side", "--kustomize", str(_ROOT / "crds"))
    node.kubectl("wait", "--for=condition=Established", "crd/mcpaccesspolicies.k8s-mcp.io", "--timeout=30s")
    node.kubectl("apply", "--server-side", "--kustomize", str(_ROOT))
    node.kubectl("apply", "--server-side", "--filename=-", input=NODE_RIGHTS)
    for name in (AGENTS, SHOP):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        node.kubectl("apply", "--server-side", "--filename=-", input=json.dumps(body))
    node.kubectl("apply", "--server-side", "--filename=-", input=json.dumps(workload("tool")))
    site = Site(node)
    site.await_rollout()
    node.kubectl("wait", "pod/tool", f"--namespace={SHOP}", "--for=condition=Ready", "--timeout=60s")
    return site


@pytest.fixture
def agent_factory(site: Site) -> Iterator[Callable[..., Agent]]:
    """Agents outside the cluster, each a ServiceAccount with a policy of its own that is in force."""
    made: list[str] = []

    def make(spec: dict[str, Any] | None = None) -> Agent:
        name = f"agent-{uuid.uuid4().hex[:8]}"
        made.append(name)
        return site.agent(name, spec)

    yield make
    for name in made:
        site.forget(name)
