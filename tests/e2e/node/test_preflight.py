"""The preflight Job, on a node that is good enough and on one that is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.e2e.node.site import NAMESPACE

if TYPE_CHECKING:
    from tests.e2e.node.site import Site

pytestmark = pytest.mark.e2e

_JOB: Final = "k8s-mcp-preflight"
_FOLDER: Final = Path(__file__).resolve().parents[3] / "manifests" / "preflight"


def test_on_this_node_it_ends_well_and_says_what_the_node_has(site: Site) -> None:
    report = _run(site, None, ends="complete")
    assert report["node"] == site.node.layout.name
    assert report["sandbox"] == "required"
    assert report["sufficient"] is True


def test_on_a_node_without_landlock_it_fails_and_says_why(site: Site) -> None:
    report = _run(site, site.without_landlock(), ends="failed")
    assert report["sandbox"] == "unavailable"
    assert report["sufficient"] is False
    assert "Landlock" in report["reason"]


def _run(site: Site, profile: dict[str, str] | None, *, ends: str) -> dict[str, Any]:
    """Apply the Job, under a seccomp profile if one is given, wait for its end; what its Pod printed."""
    text = site.node.kubectl("kustomize", str(_FOLDER)).stdout
    if profile is not None:
        assert "seccompProfile:\n          type: RuntimeDefault" in text
        own = json.dumps(profile)
        text = text.replace("seccompProfile:\n          type: RuntimeDefault", f"seccompProfile: {own}")
    site.node.kubectl("apply", "--filename=-", input=text)
    try:
        wait = ("wait", f"job/{_JOB}", f"--namespace={NAMESPACE}", f"--for=condition={ends}", "--timeout=100s")
        site.node.kubectl(*wait, timeout_seconds=110)
        printed: dict[str, Any] = json.loads(
            site.node.kubectl("logs", f"job/{_JOB}", f"--namespace={NAMESPACE}").stdout
        )
        return printed
    finally:
        site.node.kubectl("delete", "--filename=-", "--wait", "--timeout=60s", input=text)
