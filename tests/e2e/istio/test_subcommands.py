"""docs/istioctl.md: every subcommand of the real binary is known, run, and ends as the table says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from devtools.istio.table import Ended, names, table
from devtools.subcommands import tree
from devtools.toolchain import ensure_tools
from tests.e2e.istio.conftest import GROUP, MESH, OWN, PROXIES, READ, TOKENS, rule
from tests.support.tables import WRITES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.istio.conftest import MeshAgent

pytestmark = pytest.mark.e2e

DOCUMENT = Path(__file__).parents[3] / "docs" / "istioctl.md"
MANIFEST = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v7}}]}]}
"""


def test_the_catalogue_has_every_subcommand_of_the_binary_and_its_aliases() -> None:
    found = tree(ensure_tools(["istioctl"])["istioctl"])
    assert {path: subcommand.aliases for path, subcommand in found.items()} == names()


def test_the_table_is_what_happens(make_agent: Callable[..., MeshAgent]) -> None:
    more = (rule("proxysecrets", "get"), rule("proxyloglevels", "update"))
    everywhere = {"clusterScoped": True, "apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}
    agent = make_agent(PROXIES, READ, MESH, TOKENS, *more, everywhere)

    def run(line: str) -> Ended:
        stdin = MANIFEST if line.endswith(" -") else ""
        filled = line.replace("POD.NAMESPACE", "$POD").replace("SERVICE.NAMESPACE", f"cart.{OWN}")
        answer = agent.istioctl(filled.replace("NAMESPACE", OWN), stdin=stdin)
        return Ended(status=answer.status, text=answer.everything)

    text = table(run, version=run("version --remote=false").text.partition("client version: ")[2].split()[0])
    agent.istioctl("pc log $POD --reset")
    if WRITES:
        DOCUMENT.write_text(text, encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == text
    assert GROUP in text
