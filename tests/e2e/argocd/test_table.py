"""Every subcommand of argocd is in the catalogue and in the document, with what it needs when it is run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from devtools.argocd.examples import EXAMPLES
from devtools.argocd.table import BEGIN, DOCUMENT, END, UNSEEN, leaves, missing, needed, render
from devtools.subcommands import help_of, tree
from devtools.toolchain import ensure_tools
from k8s_mcp_server.commands.argocd.catalog import ALIASES, GLOBAL_SWITCHES, GLOBAL_VALUE_FLAGS, GROUPS
from tests.e2e.argocd.conftest import applications
from tests.support.tables import compare_or_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.e2e.argocd.conftest import ArgoAgent, Site
    from tests.support.agent import Answer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

_FLAG = re.compile(r"^ +(?:-(\w), )?--([\w-]+)(?: (\S+))?  ", re.MULTILINE)


@pytest.fixture(scope="module")
def argocd() -> Path:
    return ensure_tools(["argocd"])["argocd"]


def test_the_catalogue_has_the_tree_of_the_binary(argocd: Path) -> None:
    """What a version adds must be put into the catalogue, as something that works or as something that does not."""
    found = tree(argocd, without={UNSEEN})
    below: dict[str, set[str]] = {"": set()}
    aliases: dict[str, str] = {}
    for path, subcommand in found.items():
        parent = path.rpartition(" ")[0]
        below.setdefault(parent, set()).add(path.removeprefix(parent).strip())
        aliases |= {f"{parent} {other}".strip(): path for other in subcommand.aliases}
    assert below == {path: set(words) for path, words in GROUPS.items()}
    assert aliases == dict(ALIASES)


def test_the_catalogue_has_the_global_flags_of_the_binary(argocd: Path) -> None:
    flags = re.split(r"\nGlobal Flags:\n", help_of(argocd, "version"))[1]
    found = {(short, name, bool(value)) for short, name, value in _FLAG.findall(f"\n{flags}")}
    assert {name for _, name, takes in found if takes} | {short for short, _, takes in found if short and takes} == set(
        GLOBAL_VALUE_FLAGS
    )
    assert {name for _, name, takes in found if not takes} == set(GLOBAL_SWITCHES)


def test_each_subcommand_has_an_example_or_a_reason() -> None:
    assert set(leaves()) == set(EXAMPLES) | {path for path in leaves() if missing(path)}


@pytest.fixture(scope="module")
def objects(site: Site) -> Iterator[dict[str, str]]:
    """What the examples name."""
    site.add_application("table-app", project="team-a", namespace="table-app")
    site.argocd.add_repository(site.repository.url)
    site.cluster.kubectl("apply", "--filename=-", input=json.dumps(_multi(site)))
    site.await_status("table-app")
    site.await_status("table-multi")
    site.add_application("table-stuck", project="team-a", path="stuck", namespace="table-stuck")
    site.await_status("table-stuck")
    yield {
        "REPO": site.repository.url, "APP": "table-app", "PROJECT": "team-a", "STUCK": "table-stuck",
        "MULTI": "table-multi", "NEW": "table-new", "MADE": "table-made",
    }  # fmt: skip
    for name in ("table-app", "table-multi", "table-new", "table-stuck"):
        site.remove_application(name)


@pytest.fixture
def everything(agent_with: Callable[..., ArgoAgent]) -> ArgoAgent:
    """May do whatever works."""
    return agent_with(applications("*", resources="applications projects repositories clusters logs"))


def run(agent: ArgoAgent, path: str, objects: dict[str, str]) -> Answer:
    command = " ".join(objects.get(word, word) for word in EXAMPLES[path].replace("PROJECT/APP", "team-a/x").split(" "))
    return agent.run(command)


@pytest.mark.timeout(400)
def test_the_document_says_what_each_subcommand_needs(
    site: Site, everything: ArgoAgent, objects: dict[str, str]
) -> None:
    """Each example works for a client that may do everything; and the document has what its calls needed."""
    assert everything.run(f"app sync {objects['APP']}").status == "succeeded"
    site.await_status(objects["APP"], sync="Synced", health="Healthy")
    assert everything.run(f"app sync {objects['STUCK']} --async").status == "succeeded"
    site.await_operation(objects["STUCK"], phase="Running")
    assert everything.run(f"app sync {objects['APP']}").status == "succeeded"  # the second one can be rolled back
    failed: list[str] = []
    needs: dict[str, Sequence[str]] = {}
    for path in EXAMPLES:
        answer = run(everything, path, objects)
        if answer.status != "succeeded":
            failed.append(f"{EXAMPLES[path]}: {answer.text}")
        needs[path] = needed(site.requests(answer.fields["command_id"]))
    assert failed == []
    compare_or_write(DOCUMENT, render(needs), begin=BEGIN, end=END)


def _multi(site: Site) -> dict[str, object]:
    source = {"repoURL": site.repository.url, "path": "web", "targetRevision": "main"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "table-multi", "namespace": "argocd"},
        "spec": {
            "project": "team-a",
            "sources": [source],
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "table-multi"},
        },
    }
