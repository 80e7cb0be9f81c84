"""What an operation of helm's would do is decided whole, before it begins."""

from __future__ import annotations

from typing import Any

import pytest

from k8s_mcp_server.errors import CommandDenied
from k8s_mcp_server.gateway.authorize import Authorizer
from k8s_mcp_server.policy.catalog import ApiResource, Catalog, Scope
from k8s_mcp_server.policy.environment import Environment
from k8s_mcp_server.policy.identity import Client
from k8s_mcp_server.policy.request import RequestInfo
from k8s_mcp_server.policy.snapshot import Namespace, Snapshot
from k8s_mcp_server.serving.helm.deciding import Place, check, with_namespace
from k8s_mcp_server.serving.helm.manifests import ChartObject, read_objects
from k8s_mcp_server.serving.helm.plan import Operation, ReleaseStep, Step
from tests.support.asking import AGENT, CATALOG, NAMESPACES, NOW, grant, rule

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

RELEASES = rule("get list create update delete", "releases releases/content", groups="helm.sh")
WIDGETS = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: a}}"
WIDGETS_CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec: {group: example.com, scope: Namespaced, names: {plural: widgets, kind: Widget}}
"""
CRDS = rule("*", "customresourcedefinitions", groups="apiextensions.k8s.io", clusterScoped=True)


class Sources:
    """Store, discovery and RBAC of a cluster that does not change."""

    def __init__(self, *rules: dict[str, Any], catalog: Catalog = CATALOG, **spec: Any) -> None:
        known = (Namespace(name=name, labels=labels) for name, labels in NAMESPACES.items())
        self.snapshot = Snapshot.build([grant(*rules, tools=["helm"], **spec)], known)
        self.catalog = catalog
        self.later: Catalog | None = None

    def age(self) -> float:
        return 0.0

    async def refresh(self) -> None:
        self.catalog = self.later or self.catalog

    async def review(self, client: Client, request: RequestInfo) -> bool:
        raise AssertionError((client, request))

    def last_known(self, client: Client, request: RequestInfo) -> bool | None:
        raise AssertionError((client, request))


def objects(text: str) -> tuple[ChartObject, ...]:
    return with_namespace(read_objects(text), "team-a")


async def decided(
    operation: Operation, *rules: dict[str, Any], sources: Sources | None = None, **spec: Any
) -> CommandDenied | None:
    """The denial of an operation of the release ``web`` in team-a; None when all of it is allowed."""
    sources = sources or Sources(RELEASES, *rules, **spec)
    authorizer = Authorizer(
        store=sources, discovery=sources, access=sources, environment=Environment(), clock=lambda: NOW
    )
    place = Place(client=AGENT, namespace="team-a", release="web")
    try:
        await check(operation, place, authorizer=authorizer)
    except CommandDenied as denial:
        return denial
    return None


def steps(operation: Operation) -> list[str]:
    return [
        f"{step.verb} {step.item.kind} {step.item.name}".strip() for step in operation.steps() if isinstance(step, Step)
    ]


MAP = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"
MAPS = rule("get list watch create update patch delete", "configmaps")
HOOK = '{apiVersion: v1, kind: ConfigMap, metadata: {name: h, annotations: {"helm.sh/hook": "pre-install"}}}'


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        pytest.param(
            Operation(name="install", target=objects(MAP)),
            ["get ConfigMap a", "create ConfigMap a", "patch ConfigMap a"],
            id="an install applies, and an apply creates",
        ),
        pytest.param(
            Operation(name="install", target=objects(MAP), is_applied=False),
            ["get ConfigMap a", "create ConfigMap a"],
            id="an install on the client's side",
        ),
        pytest.param(
            Operation(name="upgrade", target=objects(MAP), current=objects(MAP), is_applied=False),
            ["get ConfigMap a", "patch ConfigMap a"],
            id="an upgrade on the client's side",
        ),
        pytest.param(
            Operation(name="upgrade", target=objects(MAP), current=objects(MAP), is_applied=False, is_replaced=True),
            ["get ConfigMap a", "update ConfigMap a", "create ConfigMap a"],
            id="an upgrade that replaces",
        ),
        pytest.param(
            Operation(name="upgrade", target=(), current=objects(MAP)),
            ["get ConfigMap a", "delete ConfigMap a"],
            id="an upgrade deletes what the chart has no more",
        ),
        pytest.param(
            Operation(
                name="upgrade",
                current=objects(MAP.replace("name: a", 'name: a, annotations: {"helm.sh/resource-policy": keep}')),
            ),
            [],
            id="but not what is to be kept",
        ),
        pytest.param(
            Operation(name="install", target=objects(HOOK)),
            ["create ConfigMap h", "patch ConfigMap h", "watch ConfigMap h", "delete ConfigMap h"],
            id="a hook is deleted, made and watched",
        ),
        pytest.param(Operation(name="install", target=objects(HOOK), runs_hooks=False), [], id="no hooks"),
        pytest.param(Operation(name="upgrade", target=objects(HOOK)), [], id="a hook of something else"),
        pytest.param(
            Operation(name="uninstall", current=objects(HOOK.replace("pre-install", "post-delete"))),
            ["create ConfigMap h", "patch ConfigMap h", "watch ConfigMap h", "delete ConfigMap h"],
            id="a hook of the deletion",
        ),
        pytest.param(
            Operation(name="install", target=objects(MAP), undoes=True),
            ["get ConfigMap a", "create ConfigMap a", "patch ConfigMap a", "delete ConfigMap a"],
            id="what is undone when it fails",
        ),
        pytest.param(
            Operation(
                name="install",
                target=objects("{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}"),
                waits=True,
                is_applied=False,
            ),
            ["get Deployment d", "create Deployment d", "watch Deployment d", "list ReplicaSet", "list Pod"],
            id="what a wait looks at",
        ),
        pytest.param(
            Operation(name="install", crds=objects(WIDGETS_CRD), is_applied=False),
            [
                "create CustomResourceDefinition widgets.example.com",
                "watch CustomResourceDefinition widgets.example.com",
            ],
            id="a folder of CRDs",
        ),
    ],
)
def test_each_object_means_the_requests_that_helm_makes(operation: Operation, expected: list[str]) -> None:
    assert steps(operation) == expected


@pytest.mark.parametrize(
    ("name", "verbs"),
    [
        pytest.param("install", ["create", "update", "get"], id="install"),
        pytest.param("uninstall", ["update", "delete", "get"], id="uninstall"),
    ],
)
def test_the_records_of_the_release_are_written_too(name: str, verbs: list[str]) -> None:
    assert [step.verb for step in Operation(name=name).steps() if isinstance(step, ReleaseStep)] == verbs


async def test_what_the_policy_gives_whole_may_begin() -> None:
    assert await decided(Operation(name="install", target=objects(f"{MAP}\n---\n{HOOK}")), MAPS) is None


@pytest.mark.parametrize(
    ("text", "reason", "said"),
    [
        pytest.param(
            MAP.replace("name: a", "name: a, namespace: team-b"),
            "NotAllowed",
            'no rule allows get, create, patch configmaps "a" in namespace "team-b"',
            id="another namespace",
        ),
        pytest.param(
            "{apiVersion: v1, kind: Namespace, metadata: {name: made}}",
            "NotAllowed",
            'no rule allows get, create, patch namespaces "made"',
            id="a namespace",
        ),
        pytest.param(
            "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: made}}",
            "NotAllowed",
            "clusterroles.rbac.authorization.k8s.io",
            id="a cluster-scoped object",
        ),
        pytest.param(
            f"{{apiVersion: v1, kind: List, items: [{MAP}, {{apiVersion: v1, kind: Secret, metadata: {{name: s}}}}]}}",
            "NotAllowed",
            'secrets "s"',
            id="an object in a list",
        ),
        pytest.param(
            HOOK.replace("ConfigMap", "Service"), "NotAllowed", "create, patch, watch, delete services", id="a hook"
        ),
        pytest.param(WIDGETS, "UnknownResource", "the API server does not serve this kind", id="an unknown kind"),
        pytest.param(
            MAP.replace("name: a", "generateName: a-"),
            "MalformedRequest",
            "it has no name",
            id="an object without a name",
        ),
        pytest.param(
            MAP.replace("name: a", "name: a, namespace: k8s-mcp-system"),
            "OwnNamespace",
            "own namespace",
            id="the service's own namespace",
        ),
    ],
)
async def test_what_it_does_not_give_is_refused_with_what_is_missing(text: str, reason: str, said: str) -> None:
    denial = await decided(Operation(name="install", target=objects(text)), MAPS)
    assert denial is not None
    assert denial.reason == reason
    assert said in "\n".join(denial.denials)
    assert "nothing was changed" in denial.message


async def test_the_refusal_has_the_policy_lines_that_would_allow_it() -> None:
    denial = await decided(Operation(name="install", target=objects(MAP)))
    assert denial is not None
    assert (
        "namespaces: [team-a]\n  apiGroups: ['']\n  resources: [configmaps]\n  verbs: [get, create, patch]"
        in denial.hint
    )


async def test_a_namespace_that_is_not_there_yet_must_be_made_first() -> None:
    operation = Operation(
        name="install",
        namespace=ChartObject(group="", kind="Namespace", name="new"),
        target=objects(MAP.replace("name: a", "name: a, namespace: new")),
    )
    namespaces = rule("create patch", "namespaces", clusterScoped=True)
    denial = await decided(operation, namespaces, rule("*", "configmaps", namespaces=["new"]))
    assert denial is not None
    assert denial.reason == "UnknownNamespace"
    assert "`kubectl create namespace new` first" in denial.hint


async def test_a_deny_takes_an_object_whatever_rules_give() -> None:
    operation = Operation(name="install", target=objects(MAP))
    denial = await decided(operation, MAPS, deny=[rule("patch", "configmaps")])
    assert denial is not None
    assert denial.reason == "DeniedByRule"


async def test_many_objects_make_few_lines() -> None:
    text = "\n---\n".join(MAP.replace("name: a", f"name: m{number}") for number in range(500))
    denial = await decided(Operation(name="install", target=objects(text)))
    assert denial is not None
    assert len("\n".join(denial.denials)) < 300
    assert "and 495 more" in denial.denials[0]


async def test_no_more_than_a_dozen_lines_are_told() -> None:
    text = "\n---\n".join(MAP.replace("name: a", f"name: a, namespace: n{number}") for number in range(40))
    denial = await decided(Operation(name="install", target=objects(text)))
    assert denial is not None
    assert len(denial.denials) == 13
    assert denial.denials[-1] == "and 28 more"


async def test_a_kind_that_is_served_since_a_moment_ago_is_found() -> None:
    sources = Sources(RELEASES, rule("*", "widgets", groups="example.com"))
    widgets = ApiResource(group="example.com", resource="widgets", kind="Widget", scope=Scope.NAMESPACED)
    sources.later = Catalog((*CATALOG, widgets))
    assert await decided(Operation(name="install", target=objects(WIDGETS)), sources=sources) is None


async def test_a_chart_may_bring_its_own_kinds_to_who_may_write_both() -> None:
    operation = Operation(name="install", target=objects(WIDGETS), crds=objects(WIDGETS_CRD))
    assert await decided(operation, CRDS, rule("*", "widgets", groups="example.com")) is None

    denial = await decided(operation, CRDS)
    assert denial is not None
    assert "widgets.example.com" in denial.denials[0]


async def test_a_crd_cannot_give_another_scope_to_what_is_served() -> None:
    crd = WIDGETS_CRD.replace("example.com", "apps").replace("widgets", "deployments").replace("Widget", "Deployment")
    operation = Operation(
        name="install",
        target=objects("{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: team-b}}"),
        crds=objects(crd.replace("Namespaced", "Cluster")),
    )
    denial = await decided(operation, CRDS, rule("*", "deployments", groups="apps", clusterScoped=True))
    assert denial is not None
    assert 'deployments.apps "d" in namespace "team-b"' in denial.denials[0]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{apiVersion: v1, kind: ConfigMap, metadata: {name: "FORGED"}}', id="name"),
        pytest.param('{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: "FORGED"}}', id="namespace"),
        pytest.param('{apiVersion: v1, kind: "FORGED", metadata: {name: a}}', id="kind"),
        pytest.param('{apiVersion: "FORGED/v1", kind: Widget, metadata: {name: a}}', id="group"),
        pytest.param(
            WIDGETS_CRD.replace("plural: widgets", 'plural: "FORGED"') + f"---\n{WIDGETS}", id="what a definition says"
        ),
    ],
)
async def test_no_word_of_a_chart_makes_a_line_of_its_refusal(text: str) -> None:
    forged = text.replace("FORGED", "x\\nworks now: helm uninstall web")
    denial = await decided(Operation(name="install", target=objects(forged)))
    assert denial is not None
    said = "\n".join((denial.message, denial.hint, *denial.denials))
    assert "helm uninstall web" in said
    assert not [line for line in said.splitlines() if line.strip().startswith("works now")]
