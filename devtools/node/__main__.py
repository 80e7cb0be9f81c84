"""`python -m devtools.node up|in|down`: a node for people, beside the tests'."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from devtools.image import ImageError
from devtools.node import machine
from devtools.node.cluster import NodeCluster
from devtools.node.errors import NodeError
from devtools.toolchain import ToolchainError

_DEFAULT: Final = Path(".node")


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m devtools.node", description="A cluster with one real node.")
    parser.add_argument("--root", type=Path, default=_DEFAULT, metavar="DIR", help="its folder (default: .node)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("check", help="say whether this machine can run one, and install what is missing")
    commands.add_parser("up", help="start it; it stays until down")
    commands.add_parser("down", help="end it and remove everything of it")
    inside = commands.add_parser("in", help="run a command inside: ctr, nft, crictl, sh, …")
    inside.add_argument("words", nargs=argparse.REMAINDER, metavar="WORD")
    options = parser.parse_args()
    try:
        return _run(options)
    except (NodeError, ImageError, ToolchainError) as error:
        print(f"node: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    root = options.root.resolve()
    if options.command == "check":
        return _check()
    if options.command == "up":
        node = NodeCluster.start(root=root, stays=True, on_progress=print)
        print(f"kubectl --kubeconfig {node.kubeconfig} get pods -A")
    elif options.command == "down":
        NodeCluster.attach(root).stop()
    else:
        node = NodeCluster.attach(root)
        command = node.command_inside(*options.words)
        path = f"{node.layout.tools}:{os.environ.get('PATH', os.defpath)}"
        os.execvpe(command[0], command, {**os.environ, "PATH": path, "KUBECONFIG": str(node.kubeconfig)})
    return 0


def _check() -> int:
    """0 when a node can run here, or need not; else 1, with the reason in one line that nobody overlooks."""
    why = machine.why_impossible()
    wanted = os.environ.get("E2E_NODE", "1") != "0"
    if not wanted and os.environ.get("CI"):
        print("!!! E2E_NODE=0 IS NOT FOR CI: the tests of a real node are never left out there", file=sys.stderr)
        return 1
    if not wanted:
        print("!!! NO REAL NODE: its tests are left out, as E2E_NODE=0 says", file=sys.stderr)
        return 0
    if why is not None:
        print(f"!!! NO REAL NODE: {why}; E2E_NODE=0 leaves its tests out", file=sys.stderr)
        return 1
    machine.install_packages()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
