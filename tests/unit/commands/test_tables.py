"""The documents' tables have every subcommand of the CLIs that are bundled."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools.subcommands import Subcommand, tree, unlisted
from devtools.toolchain.catalog import catalog
from devtools.toolchain.ensure import ensure_tools
from k8s_mcp_server.policy.tools import Tool

# A cold machine builds them first.
pytestmark = [pytest.mark.unit, pytest.mark.timeout(1800)]

DOCS = Path(__file__).parents[3] / "docs"


def document(cli: str) -> str:
    return (DOCS / f"{cli}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("cli", ["kubectl", "helm"])  # make e2e, which has the others, compares these
def test_every_subcommand_of_the_binary_has_a_row(cli: str) -> None:
    found = tree(ensure_tools([cli])[cli])
    assert len(found) > 50
    assert unlisted(document(cli), cli=cli, found=found) == []


@pytest.mark.parametrize("cli", list(Tool))
def test_a_subcommand_that_a_version_adds_is_missed(cli: str) -> None:
    added = {"get newly": Subcommand(aliases=frozenset(), is_group=False)}
    assert unlisted(document(cli), cli=cli, found=added) == ["get newly"]


@pytest.mark.parametrize("cli", list(Tool))
def test_a_table_is_about_the_version_that_is_bundled(cli: str) -> None:
    """Another version is another table: it is written anew, which fails where the catalogue lacks a subcommand."""
    minor = ".".join(catalog()[cli].version.split(".")[:2])
    assert f"{cli} {minor}" in document(cli)
