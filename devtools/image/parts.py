"""What the image is made of, and how much of it each part is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVICE: Final = "opt/k8s-mcp-server"
TOOLS: Final = "usr/local/bin"
_PYTHON: Final = ("usr/bin/python3*", "usr/lib/python3*", "usr/lib/*/libpython3*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the image and its size in bytes."""

    name: str
    size: int


def parts(root: Path) -> list[Part]:
    """Measure the image whose files are in `root`: each CLI, our environment, Python, and Debian with the filters."""
    packages = next((root / SERVICE).glob("lib/python*/site-packages"))
    own = _size([packages / "k8s_mcp_server"])
    named = [
        *(Part(name=cli.name, size=_size([cli])) for cli in sorted((root / TOOLS).iterdir()) if cli.is_file()),
        Part(name="the service", size=own),
        Part(name="Python packages", size=_size([root / SERVICE]) - own),
        Part(name="Python", size=_size(path for pattern in _PYTHON for path in root.glob(pattern))),
    ]
    rest = _size([root]) - sum(part.size for part in named)
    return [*named, Part(name="Debian, with jq, awk, grep, …", size=rest)]


def table(sizes: list[Part]) -> str:
    """The sizes for people, the largest first."""
    lines = [f"{part.size / 2**20:8.1f} MiB  {part.name}" for part in sorted(sizes, key=lambda part: -part.size)]
    return "\n".join([*lines, f"{sum(part.size for part in sizes) / 2**20:8.1f} MiB  together, uncompressed"])


def _size(paths: Iterator[Path] | list[Path]) -> int:
    return sum(file.lstat().st_size for path in paths for file in _files(path))


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or path.is_file():
        yield path
    elif path.is_dir():
        for child in path.iterdir():
            yield from _files(child)
