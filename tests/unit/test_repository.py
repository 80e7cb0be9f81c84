"""Facts of the repository that stand in two places, and rules that no other tool checks."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def _tracked(*patterns: str) -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return [ROOT / name for name in names.splitlines() if (ROOT / name).is_file()]


def test_the_source_root_does_not_shadow_python_s_own_operator_module() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert importlib.import_module("operator").__name__ == "operator"
    assert hasattr(importlib.import_module("operator"), "itemgetter")


def test_no_module_is_longer_than_400_lines() -> None:
    sources = _tracked("operator/*.py", "devtools/*.py", "bench/*.py")
    assert sources
    too_long = {str(path.relative_to(ROOT)): count for path in sources if (count := _lines(path)) > 400}
    assert too_long == {}


def test_every_make_target_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: (\S+)", makefile, re.MULTILINE))
    explained = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))
    assert phony == explained


def test_the_test_command_of_continuous_integration_is_the_readme_s() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "$ make test" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{document.name}: {target}"
        for document in _tracked("*.md")
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text(encoding="utf-8"))
        if not (document.parent / target).exists()
    ]
    assert broken == []


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
