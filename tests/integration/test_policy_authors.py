"""Who may write policies, on a real API server: the ValidatingAdmissionPolicy of the manifests."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from devtools.cluster import ExistingCluster
from tests.support.asking import body, rule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    from devtools.cluster import TestCluster

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
ADMISSION = ROOT / "manifests" / "base" / "admission.yaml"
CRD = "crd/mcpaccesspolicies.k8s-mcp.io"
OWN_ACCOUNT = "system:serviceaccount:k8s-mcp-system:k8s-mcp-server"
WRITE = ["get", "create", "update", "patch", "delete"]
IN_FORCE_WITHIN = 30.0


@pytest.fixture(scope="module")
def guarded(cluster: TestCluster) -> Iterator[TestCluster]:
    """The cluster with the CRD, and the admission policy in force."""
    was_there = cluster.kubectl("get", CRD, check=False).returncode == 0
    cluster.apply_kustomize(ROOT / "crds")
    cluster.kubectl("wait", CRD, "--for=condition=Established", "--timeout=30s")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={ADMISSION}")
    with _role(cluster, verbs=WRITE, users=["probe"]):
        _wait_until_refused(cluster, user="probe")
    yield cluster
    if isinstance(cluster, ExistingCluster) and not was_there:
        cluster.kubectl("delete", f"--filename={ADMISSION}", "--ignore-not-found")
        cluster.kubectl("delete", CRD)


class _role:  # noqa: N801  a context manager that reads like a verb
    """A ClusterRole on policies with its binding, while the block runs."""

    def __init__(
        self, cluster: TestCluster, *, verbs: list[str], users: list[str], only: str = "", subresource: str = ""
    ) -> None:
        self._cluster = cluster
        self._name = f"policy-authors-{uuid.uuid4().hex[:8]}"
        resource = "mcpaccesspolicies" + (f"/{subresource}" if subresource else "")
        rules = [{"apiGroups": ["k8s-mcp.io"], "resources": [resource], "verbs": verbs}]
        if only:
            rules[0]["resourceNames"] = [only]
        api = "rbac.authorization.k8s.io"
        self._objects = [
            {"apiVersion": f"{api}/v1", "kind": "ClusterRole", "metadata": {"name": self._name}, "rules": rules},
            {
                "apiVersion": f"{api}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": self._name},
                "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": self._name},
                "subjects": [{"apiGroup": api, "kind": "User", "name": user} for user in users],
            },
        ]

    def __enter__(self) -> None:
        for item in self._objects:
            self._cluster.kubectl("create", "--filename=-", input=json.dumps(item))

    def __exit__(self, *_: object) -> None:
        self._cluster.kubectl("delete", f"clusterrole/{self._name}", f"clusterrolebinding/{self._name}")


def _wait_until_refused(cluster: TestCluster, *, user: str) -> None:
    """An admission policy is in force some moments after it is written."""
    until = time.monotonic() + IN_FORCE_WITHIN
    while "ValidatingAdmissionPolicy" not in create(cluster, user=user).stderr:
        assert time.monotonic() < until, "the admission policy does not come into force"


def create(
    cluster: TestCluster, *, user: str = "", name: str = "sample", flags: tuple[str, ...] = ()
) -> CompletedProcess[str]:
    """Create a policy as that user (the admin by default), without keeping it."""
    document = {**body(name, rule("get", "pods")), "metadata": {"name": name}}
    identity = (f"--as={user}",) if user else ()
    return cluster.kubectl(
        "create", "--dry-run=server", "--filename=-", *identity, *flags, input=json.dumps(document), check=False
    )


def test_an_administrator_may_create_a_policy(guarded: TestCluster) -> None:
    done = create(guarded)
    assert done.returncode == 0, done.stderr


def test_the_right_to_create_policies_is_not_enough(guarded: TestCluster) -> None:
    with _role(guarded, verbs=WRITE, users=["writer"]):
        done = create(guarded, user="writer")
    assert done.returncode != 0
    for words in ("writer", "the verb grant", "k8s-mcp-policy-author"):
        assert words in done.stderr


def test_the_verb_grant_is_enough_with_the_right_to_create(guarded: TestCluster) -> None:
    with _role(guarded, verbs=[*WRITE, "grant"], users=["author"]):
        done = create(guarded, user="author")
    assert done.returncode == 0, done.stderr


def test_the_verb_grant_alone_creates_nothing(guarded: TestCluster) -> None:
    with _role(guarded, verbs=["grant"], users=["granter"]):
        done = create(guarded, user="granter")
    assert done.returncode != 0
    assert "ValidatingAdmissionPolicy" not in done.stderr


def test_grant_can_be_given_for_single_policies(guarded: TestCluster) -> None:
    with (
        _role(guarded, verbs=WRITE, users=["team-author"]),
        _role(guarded, verbs=["grant"], users=["team-author"], only="team-a"),
    ):
        assert create(guarded, user="team-author", name="team-a").returncode == 0
        assert "the verb grant" in create(guarded, user="team-author", name="team-b").stderr


def test_the_servers_own_account_never_writes_policies(guarded: TestCluster) -> None:
    with _role(guarded, verbs=[*WRITE, "grant"], users=[OWN_ACCOUNT]):
        done = create(guarded, user=OWN_ACCOUNT)
    assert done.returncode != 0
    assert "the server never changes what its own clients may do" in done.stderr


def test_what_comes_through_the_server_never_writes_policies_whatever_its_account(guarded: TestCluster) -> None:
    with _role(guarded, verbs=[*WRITE, "grant"], users=["renamed"]):
        done = create(guarded, user="renamed", flags=("--as-user-extra=k8s-mcp.io/client=agent",))
    assert done.returncode != 0
    assert "the server never changes what its own clients may do" in done.stderr


def test_changing_a_policy_needs_grant_too_and_its_status_does_not(guarded: TestCluster) -> None:
    name = f"sample-{uuid.uuid4().hex[:8]}"
    document = {**body(name, rule("get", "pods"), suspend=True), "metadata": {"name": name}}
    guarded.kubectl("create", "--filename=-", input=json.dumps(document))
    try:
        with (
            _role(guarded, verbs=WRITE, users=["writer", OWN_ACCOUNT]),
            _role(guarded, verbs=["get", "patch"], users=[OWN_ACCOUNT], subresource="status"),
        ):
            resume = ("patch", "mcpap", name, "--type=merge", '--patch={"spec":{"suspend":false}}')
            assert "the verb grant" in guarded.kubectl(*resume, "--as=writer", check=False).stderr
            seen = ("--type=merge", '--patch={"status":{"matchedNamespaces":1}}', "--subresource=status")
            done = guarded.kubectl("patch", "mcpap", name, *seen, f"--as={OWN_ACCOUNT}", check=False)
            assert done.returncode == 0, done.stderr
    finally:
        guarded.kubectl("delete", "mcpap", name)


def test_the_admission_policy_names_the_account_that_the_manifests_make() -> None:
    account = yaml.safe_load((ROOT / "manifests" / "base" / "serviceaccount.yaml").read_text(encoding="utf-8"))
    transformer = yaml.safe_load((ROOT / "manifests" / "namespace.yaml").read_text(encoding="utf-8"))
    namespace = transformer["metadata"]["namespace"]
    assert f"system:serviceaccount:{namespace}:{account['metadata']['name']}" == OWN_ACCOUNT
    assert OWN_ACCOUNT in ADMISSION.read_text(encoding="utf-8")
