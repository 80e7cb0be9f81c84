"""The objects of a rendered chart, as far as a decision needs them."""

from __future__ import annotations

import pytest

from k8s_mcp_server.policy.catalog import ApiResource, Scope
from k8s_mcp_server.serving.helm.manifests import ChartObject, UnreadableManifest, read_objects

pytestmark = pytest.mark.unit

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: things, kind: Thing}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {default: =}}}]
"""


def test_every_document_is_an_object_wherever_it_says_that_it_lives() -> None:
    text = """
# Source: web/templates/a.yaml
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: there, labels: {namespace: elsewhere}}
data: {kind: Secret, metadata: {name: b}}
---
---
# nothing but a comment
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: b}, spec: {template: {metadata: {name: c}}}}
"""
    assert read_objects(text) == (
        ChartObject(group="", kind="ConfigMap", namespace="there", name="a"),
        ChartObject(group="apps", kind="Deployment", name="b"),
    )


def test_the_objects_of_lists_count_one_by_one_however_they_are_nested() -> None:
    text = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}
- apiVersion: v1
  kind: List
  items:
  - {apiVersion: v1, kind: Secret, metadata: {name: b, namespace: kube-system}}
- {apiVersion: v1, kind: SecretList, items: [{apiVersion: v1, kind: Secret, metadata: {name: c}}]}
"""
    assert [(item.kind, item.namespace, item.name) for item in read_objects(text)] == [
        ("ConfigMap", "", "a"),
        ("Secret", "kube-system", "b"),
        ("Secret", "", "c"),
    ]


def test_lists_nested_deeper_than_any_chart_s_are_taken_for_an_unknown_kind() -> None:
    text = "{apiVersion: v1, kind: Secret, metadata: {name: a}}"
    for _ in range(6):
        text = f"{{apiVersion: v1, kind: List, items: [{text}]}}"
    assert {item.kind for item in read_objects(text)} == {"List"}


def test_a_hook_says_when_it_runs_and_when_it_is_deleted() -> None:
    text = """
apiVersion: batch/v1
kind: Job
metadata:
  name: a
  annotations:
    helm.sh/hook: pre-install, post-upgrade
    "helm.sh/hook-delete-policy": hook-succeeded
---
{apiVersion: v1, kind: Pod, metadata: {name: b, annotations: {helm.sh/hook: test}}}
"""
    job, pod = read_objects(text)
    assert (job.hooks, job.delete_policies) == (
        frozenset({"pre-install", "post-upgrade"}),
        frozenset({"hook-succeeded"}),
    )
    assert (pod.hooks, pod.delete_policies) == (frozenset({"test"}), frozenset({"before-hook-creation"}))


def test_a_crd_says_what_it_makes_the_api_server_serve() -> None:
    (crd,) = read_objects(CRD)
    expected = ApiResource(group="example.com", resource="things", kind="Thing", scope=Scope.NAMESPACED, custom=True)
    assert (crd.is_crd, crd.defines) == (True, expected)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(CRD.replace("Namespaced", "Everywhere"), id="a scope that there is not"),
        pytest.param(CRD.replace("plural: things, ", ""), id="no plural"),
        pytest.param("{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition}", id="no spec"),
    ],
)
def test_a_crd_that_does_not_say_so_makes_nothing_known(text: str) -> None:
    (crd,) = read_objects(text)
    assert (crd.is_crd, crd.defines) == (True, None)


def test_an_anchor_is_followed_where_it_is_a_text() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: &n web, namespace: *n}\n"
    assert read_objects(text) == (ChartObject(group="", kind="ConfigMap", namespace="web", name="web"),)


UNREADABLE = [
    pytest.param("a: [", "no valid YAML", id="broken YAML"),
    pytest.param("\x00", "no valid YAML", id="a control character"),
    pytest.param("just text", "no object", id="a text"),
    pytest.param("a: b", "no kind", id="no kind"),
    pytest.param("{kind: Pod, metadata: {name: a}}", "no apiVersion", id="no apiVersion"),
    pytest.param("{apiVersion: v1, kind: [Pod]}", "no kind", id="a kind that is no text"),
    pytest.param("{apiVersion: v1, kind: List, items: [Pod]}", "no object", id="a list of texts"),
    pytest.param("x: &m {name: a}\napiVersion: v1\nkind: Pod\nmetadata: *m", "an alias", id="metadata by an alias"),
    pytest.param(
        "x: &m {namespace: a}\napiVersion: v1\nkind: Pod\nmetadata: {<<: *m}",
        "no text",
        id="a namespace by a merge key",
    ),
    pytest.param(
        "x: &n a\napiVersion: v1\nkind: Pod\nmetadata: {name: *n}", "an alias", id="a name from passed-over text"
    ),
    pytest.param("{apiVersion: v1, kind: Pod, metadata: {? [a] : b}}", "no text", id="a key that is a list"),
    pytest.param("a: " + "[" * 200_000, "200 levels", id="brackets without end"),
    pytest.param("a:\n  " + "- " * 200_000, "200 levels", id="dashes without end"),
    pytest.param("a" * (8 * 1024 * 1024 + 1), "8 MiB", id="more than 8 MiB"),
    pytest.param("{apiVersion: v1, kind: Pod}\n---\n" * 2001, "2000 objects", id="more than 2000 objects"),
]


@pytest.mark.parametrize(("text", "why"), UNREADABLE)
def test_what_is_not_certain_is_an_error_that_says_why(text: str, why: str) -> None:
    with pytest.raises(UnreadableManifest, match=why):
        read_objects(text)


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param("- " * 150, id="lists in lists"),
        pytest.param(
            "{a: &a [x, x], b: &b [*a, *a], c: &c [*b, *b], d: &d [*c, *c], e: [*d, *d]}", id="aliases of aliases"
        ),
    ],
)
def test_what_is_of_no_interest_is_passed_over_whatever_its_shape(spec: str) -> None:
    text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\ndata:\n  {spec}\n"
    assert read_objects(text) == (ChartObject(group="", kind="Pod", name="a"),)
