"""What a patch makes of an application: the project it is in afterwards, or a refusal where that cannot be told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from k8s_mcp_server.gateway.argocd.objects import Application
from k8s_mcp_server.gateway.argocd.patches import UnreadablePatch, patched_project

pytestmark = pytest.mark.unit

APP = Application(name="web", namespace="argocd", project="team-a")


def merged(patch: Any) -> str:
    text = patch if isinstance(patch, str) else json.dumps(patch)
    return patched_project(text, patch_type="merge", application=APP)


def operated(*operations: Any) -> str:
    return patched_project(json.dumps(operations), patch_type="json", application=APP)


def op(kind: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": kind, "path": path, **more}


@pytest.mark.parametrize(
    ("patch", "project"),
    [
        pytest.param({}, "team-a", id="nothing"),
        pytest.param({"metadata": {"labels": {"a": "b"}}}, "team-a", id="a label"),
        pytest.param({"metadata": {"annotations": None, "finalizers": []}}, "team-a", id="what an update takes over"),
        pytest.param({"metadata": {"name": "web", "namespace": "argocd"}}, "team-a", id="its own name"),
        pytest.param({"spec": {"source": {"targetRevision": "x"}}}, "team-a", id="a part of the spec"),
        pytest.param({"spec": {"project": "team-b"}}, "team-b", id="another project"),
        pytest.param({"spec": {"project": None}}, "default", id="no project"),
        pytest.param({"spec": {"project": ""}}, "default", id="an empty project"),
        pytest.param({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application"}, "team-a", id="its type"),
    ],
)
def test_a_merge_patch_tells_the_project(patch: Any, project: str) -> None:
    assert merged(patch) == project


@pytest.mark.parametrize(
    "patch",
    [
        pytest.param([], id="a list"),
        pytest.param("null", id="null"),
        pytest.param("{", id="no JSON"),
        pytest.param('{"spec":{"project":"a","project":"b"}}', id="a key twice"),
        pytest.param('{"spec":{},"SPEC":{"project":"b"}}', id="a key twice for a reader that ignores case"),
        pytest.param({"Spec": {"project": "b"}}, id="spec in capitals"),
        pytest.param({"\u017fpec": {"project": "b"}}, id="spec with a long s"),
        pytest.param({"spec": {"Project": "b"}}, id="project in capitals"),
        pytest.param({"spec": None}, id="no spec"),
        pytest.param({"spec": {"project": ["b"]}}, id="a project that is no text"),
        pytest.param({"metadata": {"name": "other"}}, id="another name"),
        pytest.param({"metadata": {"Name": "other"}}, id="another name in capitals"),
        pytest.param({"metadata": {"namespace": "other"}}, id="another namespace"),
        pytest.param({"metadata": {"uid": "x"}}, id="a uid"),
        pytest.param({"metadata": None}, id="no metadata"),
        pytest.param({"operation": {"sync": {}}}, id="an operation"),
        pytest.param({"status": {}}, id="a status"),
        pytest.param("[" * 100_000, id="very deep"),
    ],
)
def test_a_merge_patch_that_leaves_it_open_is_refused(patch: Any) -> None:
    with pytest.raises(UnreadablePatch):
        merged(patch)


@pytest.mark.parametrize(
    ("operations", "project"),
    [
        pytest.param([], "team-a", id="none"),
        pytest.param([op("replace", "/spec/source/targetRevision", value="x")], "team-a", id="a part of the spec"),
        pytest.param([op("add", "/metadata/labels/a~1b", value="c")], "team-a", id="a label with a slash"),
        pytest.param([op("remove", "/metadata/finalizers")], "team-a", id="the finalizers"),
        pytest.param([op("test", "/metadata/name", value="web")], "team-a", id="a test of anything"),
        pytest.param([op("replace", "/spec/project", value="team-b")], "team-b", id="another project"),
        pytest.param([op("remove", "/spec/project")], "default", id="no project"),
        pytest.param([op("replace", "/spec", value={"project": "team-b"})], "team-b", id="another spec"),
        pytest.param([op("replace", "/spec", value={})], "default", id="another spec without a project"),
        pytest.param([op("copy", "/spec/b", **{"from": "/spec/a"})], "team-a", id="a copy inside of the spec"),
        pytest.param(
            [op("add", "/spec/project", value="b"), op("add", "/spec/project", value="c")], "c", id="the last counts"
        ),
    ],
)
def test_a_json_patch_tells_the_project(operations: list[Any], project: str) -> None:
    assert operated(*operations) == project


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param("x", id="no operation"),
        pytest.param({"op": "add"}, id="no path"),
        pytest.param(op("add", "", value={}), id="the whole application"),
        pytest.param(op("add", "spec", value={}), id="no pointer"),
        pytest.param(op("add", "/spec", value=None), id="no spec"),
        pytest.param(op("add", "/spec/project", value=1), id="a project that is no text"),
        pytest.param(op("add", "/spec/project/x", value="b"), id="below the project"),
        pytest.param(op("add", "/spec/PROJECT", value="b"), id="project in capitals"),
        pytest.param(op("add", "/Spec", value={"project": "b"}), id="spec in capitals"),
        pytest.param(op("add", "/metadata/name", value="other"), id="the name"),
        pytest.param(op("remove", "/metadata"), id="the metadata"),
        pytest.param(op("move", "/spec/project", **{"from": "/metadata/labels/x"}), id="a move to the project"),
        pytest.param(op("copy", "/spec/project", **{"from": "/spec/source/path"}), id="a copy to the project"),
        pytest.param(op("move", "/spec/x", **{"from": "/spec/project"}), id="a move of the project"),
        pytest.param(op("move", "/spec/x"), id="a move from nowhere"),
        pytest.param(op("merge", "/spec/x", value={}), id="an operation that there is not"),
        pytest.param(op("replace", "/operation", value={}), id="an operation of Argo CD"),
    ],
)
def test_a_json_patch_that_leaves_it_open_is_refused(operation: Any) -> None:
    with pytest.raises(UnreadablePatch):
        operated(operation)


def test_other_types_of_patches_are_refused() -> None:
    with pytest.raises(UnreadablePatch, match="neither json nor merge"):
        patched_project("{}", patch_type="strategic", application=APP)


def test_no_type_means_json_as_for_argo_cd() -> None:
    patch = json.dumps([op("replace", "/spec/project", value="team-b")])
    assert patched_project(patch, patch_type="", application=APP) == "team-b"
