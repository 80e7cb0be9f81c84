"""What the documents say beside what the code does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from k8s_mcp_server import app
from k8s_mcp_server.cluster import cluster
from k8s_mcp_server.execution.binaries import FILTERS
from k8s_mcp_server.settings import Settings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def test_the_operating_guide_explains_every_reason_of_readiness_and_no_other() -> None:
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    table = text.partition("## Ready or not")[2].partition("\n## ")[0]
    explained = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert explained == {reason.value for reason in (*app.NotReady, *cluster.NotReady)}


@pytest.mark.parametrize("document", ["README.md", "docs/install.md", "docs/operating.md", "docs/policy.md"])
def test_settings_that_the_documents_name_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`(snapshot_max_age|resync|[a-z]+(?:_[a-z]+)+)(?:: [^`]*)?`", text))
    # Backquoted words in snake case that are no settings: tools, arguments and fields of MCP, metrics' labels.
    others = {"execute_kubectl", "check_access", "serve", "exit_code"}
    assert {name for name in named if not name.startswith("k8s_mcp_")} - others <= set(Settings.model_fields)


def test_the_readme_names_every_program_that_may_follow_a_pipe() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    row = re.search(r"^\| `execute_kubectl\(.*pipes into (.*); manifests", text, re.MULTILINE)
    assert row is not None
    assert sorted(re.findall(r"`(\w+)`", row[1])) == sorted(FILTERS)


def test_the_tests_that_the_threat_model_names_exist() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+\.py)::(\w+)`", text)
    assert named
    folder = ROOT / "tests" / "integration" / "through_mcp"
    assert [name for file, name in named if not _defines(folder / file, name)] == []


def _defines(path: Path, name: str) -> bool:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(node, kinds) and node.name == name for node in ast.parse(path.read_text("utf-8")).body)
