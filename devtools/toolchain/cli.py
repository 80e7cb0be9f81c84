"""`python -m devtools.toolchain`: the builder for Make, for the image build and for people."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.toolchain.catalog import catalog
from devtools.toolchain.ensure import ensure_tools, find_tool
from devtools.toolchain.errors import ToolchainError
from devtools.toolchain.progress import ConsoleProgress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code (1: a tool can't be had, 2: wrong usage, 130: interrupted)."""
    options = _parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except ToolchainError as error:
        print(f"toolchain: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ntoolchain: interrupted; nothing half-built is kept", file=sys.stderr)
        return 130


def _ensure(options: argparse.Namespace) -> int:
    paths = ensure_tools(options.names, e2e=options.e2e, progress=ConsoleProgress())
    if options.out is not None:
        paths = _copy(paths, options.out)
    if options.print_dir:
        for folder in dict.fromkeys(path.parent for path in paths.values()):
            print(folder)
    return 0


def _list(_: argparse.Namespace) -> int:
    for tool in catalog().values():
        print(f"{tool.name:<32}{tool.version:<14}tools/{tool.folder.name}")
    return 0


def _where(options: argparse.Namespace) -> int:
    path = find_tool(options.name)
    if path is None:
        raise ToolchainError(f"{options.name} isn't built yet: python3 -m devtools.toolchain ensure {options.name}")
    print(path)
    return 0


_COMMANDS = {"ensure": _ensure, "list": _list, "where": _where}


def _copy(paths: Mapping[str, Path], out: Path) -> Mapping[str, Path]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        return {name: Path(shutil.copy2(path, out / name)) for name, path in paths.items()}
    except OSError as error:
        raise ToolchainError(f"can't copy to {out}: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m devtools.toolchain",
        description="Builds the pinned Kubernetes tools from their Go modules under tools/, once per user.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    ensure = commands.add_parser("ensure", help="build what is missing")
    ensure.add_argument("names", nargs="*", metavar="NAME", help="tools (default: those of the demo and the tests)")
    ensure.add_argument("--e2e", action="store_true", help="without names: the tools of `make e2e`, too")
    ensure.add_argument("--out", type=Path, metavar="DIR", help="also copy the binaries to DIR")
    ensure.add_argument("--print-dir", action="store_true", help="print the folders that hold the binaries")
    commands.add_parser("list", help="print every tool with its version and module")
    where = commands.add_parser("where", help="print the path of a built tool")
    where.add_argument("name", metavar="NAME")
    return parser
