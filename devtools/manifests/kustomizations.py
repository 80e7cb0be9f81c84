"""Every kustomization of the repository that somebody may apply, and how it is built.

A component cannot be applied by itself, so it is built as its users build it: an overlay of `manifests` that names it.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
_BUILD_SECONDS = 60
# Not applied by itself: it names no namespace, and `manifests` does.
_PARTS = frozenset({MANIFESTS / "base"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kustomization:
    """One that can be applied.

    Args:
        name: as a person calls it, such as `manifests + components/monitoring`.
        folder: what is built; for components, what they are built on.
        components: folders of components to add.
    """

    name: str
    folder: Path
    components: tuple[Path, ...] = ()

    def build(self, *, kubectl: Path) -> str:
        """The objects as YAML documents.

        Raises:
            subprocess.CalledProcessError: kustomize cannot build it; its `stderr` says why.
        """
        if not self.components:
            return _kustomize(self.folder, kubectl=kubectl)
        with tempfile.TemporaryDirectory() as overlay:
            content = {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [os.path.relpath(self.folder, os.path.realpath(overlay))],
                "components": [os.path.relpath(folder, os.path.realpath(overlay)) for folder in self.components],
            }
            (Path(overlay) / "kustomization.yaml").write_text(json.dumps(content), encoding="utf-8")
            return _kustomize(Path(overlay), kubectl=kubectl)


def kustomizations() -> tuple[Kustomization, ...]:
    """All of them: the folders, each component upon `manifests`, and all components together."""
    folders = sorted(path.parent for path in ROOT.rglob("kustomization.yaml") if ".venv" not in path.parts)
    kinds = {folder: _read(folder)["kind"] for folder in folders if folder not in _PARTS}
    components = tuple(folder for folder, kind in kinds.items() if kind == "Component")
    return (
        *(
            Kustomization(name=str(folder.relative_to(ROOT)), folder=folder)
            for folder, kind in kinds.items()
            if kind == "Kustomization"
        ),
        *(
            Kustomization(
                name=f"manifests + {component.relative_to(MANIFESTS)}", folder=MANIFESTS, components=(component,)
            )
            for component in components
        ),
        Kustomization(name="manifests + all components", folder=MANIFESTS, components=components),
    )


def _read(folder: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    return content


def _kustomize(folder: Path, *, kubectl: Path) -> str:
    done = subprocess.run(
        [str(kubectl), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=True,
    )
    return done.stdout
