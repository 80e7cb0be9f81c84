"""The rights by which help is marked and questions are answered, against the documents, which were observed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from k8s_mcp_server.commands.helm.catalog import FLAGS
from k8s_mcp_server.commands.istioctl.catalog import SUBCOMMANDS, Offered
from k8s_mcp_server.commands.offers import offer_of
from k8s_mcp_server.policy.abilities import Right
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.helm.plan import Operation, ReleaseStep

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[3] / "docs"
ROW = re.compile(
    r"^\| `(?P<path>[^`]*)`(?: \([^|]*\))? \| (?P<example>`.*?`|not offered) \| (?P<needs>.*) \|$", re.MULTILINE
)
NEED = re.compile(r"`(?P<resource>[^`]+)`[†‡°∀]*(?: in `[^`]+`:)? (?P<verbs>.+)")
ISTIOCTL_ROW = r"^\| `istioctl (?P<path>{path})(?: (?P<form>[^`]*))?`[^|]* \| (?P<needs>.*?) \|"
RIGHT = re.compile(r"`([\w/]+)`†? ([\w, ]+)")
GROUP = re.compile(r"\.argocd\.argoproj\.io$")
# A subcommand about any kind was shown with one of these.
ANY = "*"


def document(cli: str) -> str:
    return (DOCS / f"{cli}.md").read_text(encoding="utf-8")


def rows(cli: str) -> dict[str, re.Match[str]]:
    return {found["path"]: found for found in ROW.finditer(document(cli))}


def needs(text: str) -> set[tuple[str, str]]:
    """Verb and resource of each entry of a cell."""
    found = (NEED.fullmatch(entry) for entry in text.split("<br>"))
    return {(verb, each["resource"]) for each in found if each for verb in each["verbs"].split(", ")}


def one(tool: Tool, path: str) -> tuple[Right, ...]:
    offer = offer_of(tool, path, istio_namespace="istio-system")
    assert not offer.unavailable, path
    return offer.forms[0] if offer.forms else ()


@pytest.mark.parametrize("path", sorted(rows("kubectl")))
def test_what_kubectl_s_help_is_marked_by_was_asked_for(path: str) -> None:
    row = rows("kubectl")[path]
    if row["example"] == "not offered":
        assert offer_of(Tool.KUBECTL, path, istio_namespace="").unavailable
        return
    rights, observed = one(Tool.KUBECTL, path), needs(row["needs"])
    assert bool(rights) is bool(observed)
    for right in rights:
        asked = {resource for verb, resource in observed if verb == right.verb}
        assert asked, (right, observed)
        assert right.resource in asked | {ANY}


@pytest.mark.parametrize("path", sorted(rows("argocd")))
def test_what_argocd_s_help_is_marked_by_was_asked_for(path: str) -> None:
    row = rows("argocd")[path]
    if row["example"] == "not offered":
        assert offer_of(Tool.ARGOCD, path, istio_namespace="").unavailable
        return
    marked = {(right.verb.split("/")[0], GROUP.sub("", right.resource)) for right in one(Tool.ARGOCD, path)}
    observed = {(verb.split("/")[0], resource) for verb, resource in needs(row["needs"])}
    # A project is read by whoever may read the application.
    readable = {("get", "projects")} if ("get", "applications") in marked else set()
    assert marked == observed - readable


def istioctl_rows(path: str) -> list[set[tuple[str, str]]]:
    """The rights of each row of a subcommand, as istioctl's document writes them."""
    found = re.finditer(ISTIOCTL_ROW.format(path=re.escape(path)), document("istioctl"), re.MULTILINE)
    return [
        {
            (verb, resource)
            for resource, verbs in RIGHT.findall(row["needs"])
            for verb in re.findall(r"\b(?:get|list|create|update|delete)\b", verbs.partition(" in ")[0])
        }
        for row in found
    ]


OFFERED = [" ".join(path) for path, entry in SUBCOMMANDS.items() if isinstance(entry, Offered)]


@pytest.mark.parametrize("path", OFFERED)
def test_what_istioctl_s_help_is_marked_by_is_what_its_commands_needed(path: str) -> None:
    observed = istioctl_rows(path)
    forms = offer_of(Tool.ISTIOCTL, path, istio_namespace="istio-system").forms
    assert observed
    assert any(observed) is bool(forms)
    for form in forms:
        assert {(right.verb, right.resource.partition(".")[0]) for right in form} in observed


@pytest.mark.parametrize("path", sorted(FLAGS))
def test_what_helm_s_help_is_marked_by_was_asked_for(path: str) -> None:
    forms = [needs(row["needs"]) for row in ROW.finditer(document("helm")) if row["path"] == path]
    observed = {right for form in forms for right in form}
    marked = {(right.verb, right.resource.replace(".helm.sh", "")) for right in one(Tool.HELM, path)}
    assert forms
    assert bool(marked) is bool(observed)
    assert marked <= observed


@pytest.mark.parametrize(
    ("tool", "path", "unavailable"),
    [
        (Tool.ISTIOCTL, "dashboard kiali", "opens a browser on a local port"),
        (Tool.HELM, "env", "prints the environment of a process that is gone with the command"),
        (Tool.ARGOCD, "appset create", "is about ApplicationSets, which make applications in any project"),
        (Tool.KUBECTL, "edit", "opens an editor"),
    ],
)
def test_what_is_not_offered_says_what_it_would_do(tool: Tool, path: str, unavailable: str) -> None:
    assert offer_of(tool, path, istio_namespace="istio-system").unavailable == unavailable


@pytest.mark.parametrize("path", ["install", "upgrade", "rollback", "uninstall"])
def test_what_helm_s_help_is_marked_by_is_what_is_decided_before_an_operation_begins(path: str) -> None:
    steps = [step for step in Operation(name=path).steps() if isinstance(step, ReleaseStep)]
    decided = {(step.verb, step.subresource) for step in steps}
    assert decided == {(right.verb, right.resource.partition("/")[2]) for right in one(Tool.HELM, path)}
