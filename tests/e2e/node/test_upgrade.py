"""An upgrade from an earlier commit, its manifests and its image, under load."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from devtools.image import build_image
from tests.e2e.node.site import IMAGE, READER, SHOP
from tests.support.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.conftest import Measured
    from tests.e2e.node.site import Site
    from tests.support.agent import Agent

pytestmark = pytest.mark.e2e

_ROOT: Final = Path(__file__).resolve().parents[3]
_REPOSITORY, _, _TODAY = IMAGE.rpartition(":")
_EARLIER: Final = "earlier"
_BUSY: Final = {**READER, "limits": {"concurrentCommands": 50, "commandsPerMinute": 10000}}
_FROM_THERE: Final = ("crds", "manifests", "operator", "kustomization.yaml", "pyproject.toml", "requirements.lock")
_READY_WITHIN: Final = 90.0


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree before this branch's last change of the service; what the image is made of beside it is today's.

    Of this branch alone: a commit of another one, merged since, is no state that anybody had installed.
    """
    commits = _git("log", "--first-parent", "--max-count=2", "--format=%H", "--", "operator").split()
    tree = tmp_path_factory.mktemp("earlier")
    archive = tree / "tree.tar"
    today = [entry for entry in _git("ls-tree", "--name-only", "HEAD").splitlines() if entry not in _FROM_THERE]
    for commit, names in (("HEAD", today), (commits[-1], _FROM_THERE)):
        _git("archive", f"--output={archive}", commit, *names)
        subprocess.run(["tar", "-xf", archive, "-C", tree], check=True)
    archive.unlink()
    return tree


@pytest.fixture
def on_earlier(site: Site, earlier: Path, tmp_path: Path) -> Iterator[None]:
    """The site as that commit states it; in the end as this tree does."""
    name = f"{_REPOSITORY}:{_EARLIER}"
    image = build_image(name, archive=tmp_path / "image.tar", source=earlier)
    site.node.import_image(image.archive)
    kustomization = earlier / "manifests" / "kustomization.yaml"
    text, tags = re.subn(r"newTag: \S+", f"newTag: {_EARLIER}", kustomization.read_text(encoding="utf-8"))
    assert tags == 1
    kustomization.write_text(text, encoding="utf-8")
    _apply(site, earlier)
    yield
    _apply(site, _ROOT)


def test_an_upgrade_from_an_earlier_commit_costs_no_call(
    site: Site, on_earlier: None, agent_factory: Callable[..., Agent], measured: Measured
) -> None:
    del on_earlier
    before = {pod["metadata"]["name"] for pod in site.pods()}
    assert _images(site) == {_EARLIER}
    with Load(agent_factory(_BUSY), f"get pods -n {SHOP}") as load:
        _apply(site, _ROOT)
        site.eventually(lambda: not before & {pod["metadata"]["name"] for pod in site.pods()}, within=_READY_WITHIN)
        load.more(20)
    assert load.calls.failures == []
    assert _images(site) == {_TODAY}
    measured("upgrade", f"{load.calls.answered} calls, none failed, slowest {load.calls.longest:.1f} s")


def _apply(site: Site, tree: Path) -> None:
    site.node.kubectl("apply", "--server-side", "--force-conflicts", "--kustomize", str(tree))
    site.await_rollout()
    site.eventually(lambda: len(site.replicas()) == 2, within=_READY_WITHIN)


def _images(site: Site) -> set[str]:
    return {container["image"].rpartition(":")[2] for pod in site.pods() for container in pod["spec"]["containers"]}
