"""Each known way to pass by a policy is tried by a line of the hostile tests, or by a test of its own."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
HOSTILE = (
    "tests/integration/through_mcp/test_hostile_commands.py",
    "tests/integration/through_mcp/test_hostile_further.py",
    "tests/integration/through_mcp/test_helm.py",
    "tests/e2e/argocd/test_hostile.py",
    "tests/e2e/istio/test_hostile_istioctl.py",
)
INPUTS: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    (ROOT / "tests" / "data" / "hostile_inputs.yaml").read_text(encoding="utf-8")
)


def texts(path: str) -> set[str]:
    """Every text in a module; the values of a formatted one by their names."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            found.add("".join(map(_part, node.values)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def _part(node: ast.expr) -> str:
    if isinstance(node, ast.FormattedValue):
        return node.value.id if isinstance(node.value, ast.Name) else f"{{{ast.unparse(node.value)}}}"
    return str(ast.literal_eval(node))


def test_each_input_is_tried() -> None:
    known = set().union(*map(texts, HOSTILE))
    lines = [line for rows in INPUTS.values() for row in rows for line in row.get("lines", [])]
    assert [line for line in lines if line not in known] == []
    assert all(bool(row.get("lines")) is not bool(row.get("test")) for rows in INPUTS.values() for row in rows)


def test_the_tests_that_are_named_are_there() -> None:
    named = [row["test"].split("::") for rows in INPUTS.values() for row in rows if "test" in row]
    assert named
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), name
