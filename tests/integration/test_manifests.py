"""What a platform engineer applies, applied: to an empty cluster in one go, and each part of it by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from devtools.cluster import KwokCluster
from devtools.manifests import Kustomization, kustomizations
from devtools.toolchain import ensure_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtools.cluster import TestCluster

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
FOREIGN_CRDS = ROOT / "tests" / "data" / "prometheus-operator"
MESH_NAMESPACE = "istio-system"  # a cluster with a mesh has it: components/istio-rbac puts a Role there
ALL = next(each for each in kustomizations() if each.name == "manifests + all components")


@pytest.fixture(scope="module")
def kubectl() -> Path:
    return ensure_tools(["kubectl"])["kubectl"]


@pytest.fixture(scope="module")
def empty(kubectl: Path) -> Iterator[TestCluster]:
    """A cluster that has nothing of ours, nor of the Prometheus Operator."""
    del kubectl
    with KwokCluster.start(name="manifests", nodes=2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def prepared(empty: TestCluster, kubectl: Path) -> TestCluster:
    """The CRDs and namespaces that the objects need: a dry run makes none that a later object could be in."""
    empty.kubectl("apply", "--server-side", "--filename", str(FOREIGN_CRDS))
    empty.kubectl("apply", "--server-side", "--force-conflicts", "--kustomize", str(ROOT / "crds"))
    empty.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    empty.kubectl("create", "namespace", MESH_NAMESPACE)
    documents = [body for each in kustomizations() for body in _objects(each, kubectl=kubectl)]
    namespaces = {body["metadata"]["name"]: body for body in documents if body["kind"] == "Namespace"}
    for body in namespaces.values():
        empty.kubectl("apply", "--filename=-", input=json.dumps(body))
    return empty


def _objects(kustomization: Kustomization, *, kubectl: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(kustomization.build(kubectl=kubectl)))


def test_one_apply_installs_the_manifests_on_an_empty_cluster_without_a_warning(empty: TestCluster) -> None:
    applied = empty.kubectl("apply", "--kustomize", str(ROOT / "manifests"))
    assert applied.stderr == ""
    rollout = ("rollout", "status", "deployment/k8s-mcp-server", "--namespace=k8s-mcp-system", "--timeout=60s")
    assert "successfully rolled out" in empty.kubectl(*rollout).stdout


def test_replicas_are_on_different_nodes_after_every_rollout_too(empty: TestCluster) -> None:
    """Replicas of the release before must not count: they are on their way out."""
    deployment = ("deployment/k8s-mcp-server", "--namespace=k8s-mcp-system")
    found = []
    for number in range(4):
        empty.kubectl("set", "env", *deployment, f"ROLLOUT={number}")
        empty.kubectl("rollout", "status", *deployment, "--timeout=60s")
        pods = json.loads(empty.kubectl("get", "pods", "--namespace=k8s-mcp-system", "--output=json").stdout)["items"]
        staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        found.append(sorted(pod["spec"]["nodeName"] for pod in staying))
    assert all(len(set(nodes)) == len(nodes) == 2 for nodes in found), found


@pytest.mark.parametrize("kustomization", [pytest.param(each, id=each.name) for each in kustomizations()])
def test_the_api_server_takes_every_object_without_a_warning(
    prepared: TestCluster, kubectl: Path, kustomization: Kustomization
) -> None:
    dry_run = ("--dry-run=server", "--validate=strict", "--output=json")
    text = kustomization.build(kubectl=kubectl)
    answer = prepared.kubectl("apply", *dry_run, "--filename=-", input=text)
    assert answer.stderr == ""
    taken = json.loads(answer.stdout)
    items = taken["items"] if taken["kind"] == "List" else [taken]
    assert len(items) == len(list(yaml.safe_load_all(text)))
    # Where an object names no namespace, it lands in this one; Events about policies are meant to be here.
    here = {item["metadata"]["name"] for item in items if item["metadata"].get("namespace") == "default"}
    assert here <= {"k8s-mcp-server-events"}


def test_a_misspelt_field_would_be_refused(prepared: TestCluster, kubectl: Path) -> None:
    text = ALL.build(kubectl=kubectl).replace("maxUnavailable: 0", "maxUnavailabel: 0")
    dry_run = ("--dry-run=server", "--validate=strict")
    answer = prepared.kubectl("apply", *dry_run, "--filename=-", input=text, check=False)
    assert answer.returncode != 0
    assert "maxUnavailabel" in answer.stderr


def test_a_second_apply_changes_nothing_and_delete_leaves_nothing(prepared: TestCluster, kubectl: Path) -> None:
    text = ALL.build(kubectl=kubectl)
    prepared.kubectl("apply", "--filename=-", input=text)
    assert prepared.kubectl("diff", "--filename=-", input=text).stdout == ""
    prepared.kubectl("delete", "--filename=-", input=text, timeout_seconds=120)
    left = prepared.kubectl("get", "--filename=-", "--ignore-not-found", "--output=name", input=text, check=False)
    assert left.stdout == ""
