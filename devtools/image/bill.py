"""The image's bill of materials (CycloneDX): what each package manager recorded of what is in it.

Debian's packages from dpkg's database, Python's from their metadata, Go's modules from what the linker wrote into each
binary.
"""

from __future__ import annotations

import importlib.metadata
from email.parser import Parser
from typing import TYPE_CHECKING, Final

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from devtools.image.base import RELEASE
from devtools.image.parts import SERVICE, TOOLS
from devtools.toolchain.go import build_info

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GO_PREFIX: Final = "go"


def bill_of_materials(root: Path, *, name: str) -> str:
    """What is in the image `name` whose files are in `root`, as JSON.

    Raises:
        ToolchainError: a binary among the CLIs isn't Go's.
    """
    bom = Bom()
    image, _, version = name.rpartition(":")
    whole = Component(name=image, version=version, type=ComponentType.CONTAINER, bom_ref=name)
    bom.metadata.component = whole
    for found in sorted({*_debian(root), *_python(root), *_go(root)}, key=PackageURL.to_string):
        full_name = "/".join(part for part in (found.namespace, found.name) if part)
        component = Component(
            name=full_name if found.type == "golang" else found.name,
            version=found.version,
            type=ComponentType.LIBRARY,
            purl=found,
            bom_ref=found.to_string(),
        )
        bom.components.add(component)
    bom.register_dependency(whole, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=2)


def _debian(root: Path) -> Iterator[PackageURL]:
    text = (root / "var/lib/dpkg/status").read_text(encoding="utf-8")
    for paragraph in text.strip().split("\n\n"):
        fields = Parser().parsestr(paragraph)
        if fields["Status"].endswith(" installed"):
            qualifiers = {"arch": fields["Architecture"], "distro": RELEASE}
            yield PackageURL("deb", "debian", fields["Package"], fields["Version"], qualifiers)


def _python(root: Path) -> Iterator[PackageURL]:
    folders = (root / SERVICE).glob("lib/python*/site-packages")
    for distribution in importlib.metadata.distributions(path=[str(folder) for folder in folders]):
        yield PackageURL("pypi", None, distribution.name, distribution.version)


def _go(root: Path) -> Iterator[PackageURL]:
    for binary in sorted((root / TOOLS).iterdir()):
        info = build_info(binary)
        yield PackageURL("golang", None, "stdlib", info["GoVersion"].removeprefix(_GO_PREFIX))
        for module in (info["Main"], *info.get("Deps", ())):
            used = module.get("Replace") or module
            namespace, _, name = used["Path"].rpartition("/")
            yield PackageURL("golang", namespace or None, name, used.get("Version") or None)
