"""The workflows beside the files that they use: nothing that they run or pass on is missing here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def _steps(name: str) -> list[dict[str, Any]]:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def _targets() -> set[str]:
    return set(re.findall(r"^\.PHONY: (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_every_target_that_a_workflow_makes_is_in_the_makefile() -> None:
    files = [path.name for path in (ROOT / ".github" / "workflows").glob("*.yml")]
    commands = [step["run"] for file in files for step in _steps(file) if "run" in step]
    made = {target for command in commands for target in re.findall(r"\bmake (\S+)", command)}
    assert {"lint", "unit", "integration", "e2e", "soak"} <= made <= _targets()


def test_the_workflows_make_whatever_make_test_does() -> None:
    (line,) = re.findall(r"^test: ([^#]+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    commands = {step["run"] for step in _steps("test.yml") if "run" in step}
    assert {f"make {target}" for target in line.split()} - {"make $(READY)"} <= commands


def test_what_the_image_s_workflow_passes_to_the_build_is_an_argument_of_the_dockerfile() -> None:
    (build,) = (step["with"] for step in _steps("image.yml") if step.get("id") == "build")
    passed = {line.partition("=")[0].strip() for line in build["build-args"].splitlines() if line.strip()}
    assert passed
    assert passed <= set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert build["sbom"] is True
    assert build["provenance"] == "mode=max"
    assert build["platforms"].split(",") == ["linux/amd64", "linux/arm64"]


def test_the_dockerfile_copies_only_what_the_build_context_has() -> None:
    let_in = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    copies = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if re.match(r"COPY (?!--from)", line)]
    copied = {source for sources in copies for source in sources}
    assert copied
    assert copied <= set(let_in)
    assert all((ROOT / source).exists() for source in copied)
