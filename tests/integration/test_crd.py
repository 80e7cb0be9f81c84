"""The CRD on a real API server: accepted, enforced, explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devtools.cluster import ExistingCluster
from tests.support.asking import AGENT_SUBJECT, body, rule
from tests.support.crd import nodes, schema
from tests.support.policy_samples import bad_specs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import CompletedProcess

    from devtools.cluster import TestCluster

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
CRD = "crd/mcpaccesspolicies.k8s-mcp.io"
RULES = [
    rule("*", "* */scale pods/* pods/log", groups="- apps", name="deploy", namespaces=["team-a", "team-*", "*"]),
    rule("get list watch", "*", groups="*", resourceNames=["web-*", "system:node:x"]),
    rule("get", "nodes", clusterScoped=True),
    rule(
        "create",
        "pods",
        allowPrivilegedWorkloads=True,
        namespaceSelector={
            "matchLabels": {"acme.com/team": "a", "empty": ""},
            "matchExpressions": [
                {"key": "tier", "operator": "NotIn", "values": ["prod"]},
                {"key": "x", "operator": "Exists"},
            ],
        },
    ),
    {"nonResourceURLs": ["/metrics", "/logs/*"], "verbs": ["get"]},
    {
        "namespaceSelector": {"matchSubject": {"label": "acme.com/team", "groupPrefix": "oidc:team-"}},
        "roleRef": {"kind": "ClusterRole", "name": "system:aggregate-to-edit"},
    },
    {"namespaces": ["team-a"], "fromRBAC": True},
    rule("get", "pods", fromRBAC=True),
]
EVERYTHING = {
    "description": "Deploys of team A; ask #team-a",
    "subjects": [
        AGENT_SUBJECT,
        {"kind": "Group", "name": "oidc:team-a-*"},
        {"kind": "User", "name": "oidc:Ann Example"},
    ],
    "tools": ["kubectl"],
    "rules": RULES,
    "deny": [rule("*", "*", groups="*", name="deploy")],
    "mode": "DryRun",
    "defaultNamespace": "team-a",
    "suspend": False,
    "block": False,
    "expiresAt": "2030-12-31T00:00:00.5+02:00",
    "reason": "INC-4711",
    "limits": {
        "timeoutSeconds": 60,
        "outputBytes": 100000,
        "memoryBytes": "512Mi",
        "concurrentCommands": 4,
        "commandsPerMinute": 60,
    },
    "charts": {
        "repositories": [
            {"name": "acme", "url": "https://charts.example.com/stable", "secretRef": {"name": "acme-charts"}},
            {"name": "registry", "url": "oci://registry.example.com:5000/charts"},
        ]
    },
    "egress": {"hosts": ["blobs.example.com:443"], "privateCIDRs": ["10.20.0.0/16", "fd00::/8"]},
}


@pytest.fixture(scope="module")
def served(cluster: TestCluster) -> Iterator[TestCluster]:
    """The cluster with the CRD established."""
    was_there = cluster.kubectl("get", CRD, check=False).returncode == 0
    cluster.apply_kustomize(ROOT / "crds")
    cluster.kubectl("wait", CRD, "--for=condition=Established", "--timeout=30s")
    yield cluster
    if isinstance(cluster, ExistingCluster) and not was_there:
        cluster.kubectl("delete", CRD)


def dry_run(cluster: TestCluster, spec: object, *, name: str = "sample") -> CompletedProcess[str]:
    """Create a policy as the API server would, without keeping it."""
    document = {**body(name), "metadata": {"name": name}, "spec": spec}
    create = ("create", "--dry-run=server", "--output=json", "--filename=-")
    return cluster.kubectl(*create, input=json.dumps(document), check=False)


def test_the_api_server_finds_no_fault_with_the_schema(served: TestCluster) -> None:
    conditions = json.loads(served.kubectl("get", CRD, "--output=json").stdout)["status"]["conditions"]
    states = {item["type"]: item["status"] for item in conditions}
    assert states["Established"] == states["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in states


def test_a_policy_that_uses_every_field_is_accepted_as_it_is(served: TestCluster) -> None:
    done = dry_run(served, EVERYTHING)
    assert done.returncode == 0, done.stderr
    rules = [{"allowPrivilegedWorkloads": False, **item} for item in RULES]
    assert json.loads(done.stdout)["spec"] == {**EVERYTHING, "rules": rules}


def test_the_smallest_policy_gets_the_stated_defaults(served: TestCluster) -> None:
    spec = json.loads(dry_run(served, {"subjects": [AGENT_SUBJECT]}).stdout)["spec"]
    assert (spec["tools"], spec["mode"], spec["suspend"], spec["block"]) == (["kubectl"], "Enforce", False, False)


@pytest.mark.parametrize(("spec", "message"), bad_specs())
def test_is_refused_with_a_message_that_teaches(served: TestCluster, spec: dict[str, Any], message: str) -> None:
    done = dry_run(served, spec)
    assert done.returncode != 0
    assert message in done.stderr


def test_an_unknown_field_is_refused(served: TestCluster) -> None:
    done = dry_run(served, {"subjects": [AGENT_SUBJECT], "audit": True})
    assert done.returncode != 0
    assert 'unknown field "spec.audit"' in done.stderr


@pytest.mark.parametrize(
    "options", [pytest.param((), id="as it comes"), pytest.param(("--validate=false",), id="without validation")]
)
def test_a_server_side_apply_refuses_an_unknown_field_always(served: TestCluster, options: tuple[str, ...]) -> None:
    document = {**body("sample"), "metadata": {"name": "sample"}, "spec": {"subjects": [AGENT_SUBJECT], "denny": []}}
    apply = ("apply", "--server-side", "--dry-run=server", "--filename=-", *options)
    done = served.kubectl(*apply, input=json.dumps(document), check=False)
    assert done.returncode != 0
    assert ".spec.denny: field not declared in schema" in done.stderr


def test_a_client_that_asks_for_no_validation_gets_an_unknown_field_dropped(served: TestCluster) -> None:
    document = {**body("sample"), "metadata": {"name": "sample"}, "spec": {"subjects": [AGENT_SUBJECT], "denny": []}}
    create = ("create", "--dry-run=server", "--output=json", "--filename=-", "--validate=ignore")
    assert "denny" not in json.loads(served.kubectl(*create, input=json.dumps(document)).stdout)["spec"]


def test_gitops_tools_leave_the_crd_when_its_application_goes(served: TestCluster) -> None:
    annotations = json.loads(served.kubectl("get", CRD, "--output=json").stdout)["metadata"]["annotations"]
    assert annotations["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
    assert annotations["kustomize.toolkit.fluxcd.io/prune"] == "disabled"


def test_an_audit_of_thirty_days_is_accepted(served: TestCluster) -> None:
    done = dry_run(served, {"subjects": [AGENT_SUBJECT], "mode": "Audit", "expiresAfter": "720h"})
    assert done.returncode == 0, done.stderr


def test_the_largest_lists_are_within_the_cost_that_the_server_allows(served: TestCluster) -> None:
    names = [f"n{number:03}" for number in range(128)]
    wide = {**rule("get", "pods"), "namespaces": names, "resources": names, "resourceNames": names}
    rules = [{**wide, "name": f"rule-{number}"} for number in range(64)]
    done = dry_run(served, {"subjects": [AGENT_SUBJECT] * 64, "rules": rules, "deny": rules})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("mcpap", ["What no policy allows is denied"]),
        ("mcpap.spec", ["block", "deny", "rules", "subjects", "-required-", "kill switch"]),
        ("mcpap.spec.rules", ["namespaceSelector", "Exactly", "Sensitive resources", "as in RBAC"]),
        ("mcpap.spec.rules.roleRef", ["withheld", "ClusterRole"]),
        ("mcpap.spec.mode", ["Enforce", "DryRun", "Audit", "720h"]),
        ("mcpap.spec.limits.memoryBytes", ["512Mi"]),
        ("mcpap.status", ["matchedNamespaces", "conditions"]),
    ],
)
def test_kubectl_explain_is_a_manual(served: TestCluster, path: str, words: list[str]) -> None:
    text = " ".join(served.kubectl("explain", path).stdout.split())
    assert [word for word in words if word.casefold() not in text.casefold()] == []


def test_kubectl_explain_shows_the_whole_tree(served: TestCluster) -> None:
    tree = served.kubectl("explain", "mcpap.spec", "--recursive").stdout.split("FIELDS:")[1]
    shown = [line.split()[0] for line in tree.splitlines() if line.strip()]
    spec = schema()["properties"]["spec"]
    fields = [path.rpartition(".")[2].removesuffix("[]") for path, _ in nodes(spec) if not path.endswith(("[]", "{}"))]
    assert len(fields) > 40
    assert set(fields) - {""} <= set(shown)


def test_kubectl_get_shows_columns_that_answer_at_a_glance(served: TestCluster) -> None:
    raw = served.kubectl("get", CRD, "--output=json").stdout
    columns = json.loads(raw)["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [item["name"] for item in columns if not item.get("priority")] == [
        "Ready",
        "Active",
        "Mode",
        "First Subject",
        "Tools",
        "Namespaces",
        "Age",
    ]
