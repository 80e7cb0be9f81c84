"""Builds the image from a source tree's Dockerfile, with CLIs that are built already."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from devtools.image.base import ensure_base
from devtools.image.bill import bill_of_materials
from devtools.image.buildah import Buildah
from devtools.image.parts import parts, table
from devtools.toolchain import ensure_tools

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
CLIS: Final = ("kubectl", "helm", "istioctl", "argocd")
"""What the image has unless told otherwise; the Dockerfile's default of CLIS."""

DEFAULT_NAME: Final = "docker.io/library/k8s-mcp-server:0.1.0"
"""As the manifests name the image, with the parts that container runtimes add."""

_ALWAYS: Final = ("yq",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A built image.

    Args:
        name: with its tag, in buildah's storage.
        archive: the image as a file that container runtimes import.
        sizes: a table of its parts.
        bill: its bill of materials, beside the archive.
    """

    name: str
    archive: Path
    sizes: str
    bill: Path


def build_image(
    name: str, *, archive: Path, source: Path = ROOT, clis: Sequence[str] = CLIS, dockerfile: Path | None = None
) -> Image:
    """Build the image `name` (with its tag) of the tree in `source` and save it to `archive`.

    Raises:
        ImageError: it can't be built.
        ToolchainError: a CLI can't be had.
    """
    buildah = Buildah()
    ensure_base(buildah)
    with tempfile.TemporaryDirectory(prefix="k8s-mcp-clis-", dir="/var/tmp") as folder:
        for tool, path in ensure_tools([*clis, *_ALWAYS]).items():
            shutil.copy2(path, Path(folder) / tool)
        arguments = (f"--build-context=tools={folder}", f"--build-arg=CLIS={' '.join(clis)}")
        buildah.build(source, file=dockerfile or source / "Dockerfile", name=name, arguments=arguments)
    archive.parent.mkdir(parents=True, exist_ok=True)
    buildah.save(name, archive)
    with buildah.mounted(name) as root:
        sizes = table(parts(root))
        bill = archive.with_suffix(".cdx.json")
        bill.write_text(bill_of_materials(root, name=name), encoding="utf-8")
    return Image(name=name, archive=archive, sizes=sizes, bill=bill)
