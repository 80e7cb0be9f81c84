"""Makes sure that tools are there: from `KUBEBUILDER_ASSETS`, from the cache, or built.

One build runs at a time, on this machine and for this user: `go build` uses every core by itself, and two linkers of
Kubernetes side by side need more memory than a small machine has.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.toolchain import go
from devtools.toolchain.assets import from_assets
from devtools.toolchain.cache import BuildCache, default_cache_dir
from devtools.toolchain.catalog import TOOLS_DIR, GoTool, select
from devtools.toolchain.progress import ConsoleProgress, Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def ensure_tools(
    names: Iterable[str] = (),
    *,
    e2e: bool = False,
    progress: Progress | None = None,
    cache_dir: Path | None = None,
    tools_dir: Path = TOOLS_DIR,
) -> Mapping[str, Path]:
    """Return the path of every named tool, building what is missing; which ones no names mean, `select` says.

    Raises:
        ToolchainError: a tool can't be had; its text is one line that says what to do.
    """
    tools = select(names, e2e=e2e, tools_dir=tools_dir)
    progress = progress or ConsoleProgress(only_builds=True)
    cache = BuildCache(cache_dir or default_cache_dir())
    return {
        tool.name: _ensure(tool, k=k, n=len(tools), cache=cache, progress=progress)
        for k, tool in enumerate(tools, start=1)
    }


def find_tool(name: str, *, cache_dir: Path | None = None, tools_dir: Path = TOOLS_DIR) -> Path | None:
    """Return where the tool is, or None when it would have to be built. Raises ToolchainError."""
    (tool,) = select([name], tools_dir=tools_dir)
    if (assets := from_assets(tool)) is not None:
        return assets
    path = _cached_path(tool, cache=BuildCache(cache_dir or default_cache_dir()))
    return path if path.is_file() else None


def source_folder(name: str, *, tools_dir: Path = TOOLS_DIR) -> Path:
    """Return the folder of the Go module that a tool is built from, of the same version. Raises ToolchainError."""
    (tool,) = select([name], tools_dir=tools_dir)
    return go.source_folder(tool)


def link_tools(folder: Path, names: Iterable[str]) -> Path:
    """Make `folder` hold a link to each of the tools, as the service's `tools_dir` does; returns it.

    Raises:
        ToolchainError: a tool can't be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in ensure_tools(names).items():
        (folder / name).symlink_to(path)
    return folder


def _ensure(tool: GoTool, *, k: int, n: int, cache: BuildCache, progress: Progress) -> Path:
    began = time.monotonic()
    if (assets := from_assets(tool)) is not None:
        progress.finished(tool, k=k, n=n, how="in KUBEBUILDER_ASSETS", seconds=0)
        return assets
    path = _cached_path(tool, cache=cache)
    how = "in the cache"
    if not path.is_file():
        with cache.lock(on_wait=progress.waiting):
            if not path.is_file():  # whoever held the lock may have built it
                progress.started(tool, k=k, n=n)
                try:
                    _build(tool, path=path, cache=cache, progress=progress)
                finally:
                    progress.ended()
                how = "built"
    progress.finished(tool, k=k, n=n, how=how, seconds=time.monotonic() - began)
    return path


def _build(tool: GoTool, *, path: Path, cache: BuildCache, progress: Progress) -> None:
    of = go.count_packages(tool) if progress.live else 0
    compiled = 0

    def on_package() -> None:
        nonlocal compiled
        compiled += 1
        progress.compiled(compiled, of=of)

    with cache.publish(path) as output:
        go.build(tool, output=output, on_package=on_package)


def _cached_path(tool: GoTool, *, cache: BuildCache) -> Path:
    return cache.path(tool, go=go.selected_go(tool.folder), flags=go.flags(tool))
