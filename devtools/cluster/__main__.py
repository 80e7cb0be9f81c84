"""`python3 -m devtools.cluster delete DIR`: removes a cluster that was kept (`K8S_SKIP_CLEANUP`)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from devtools.cluster.errors import ClusterError
from devtools.cluster.kwok import delete_cluster


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m devtools.cluster", description="Removes a cluster that was kept.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    delete = commands.add_parser("delete", help="end a kept cluster and delete its folder")
    delete.add_argument("folder", type=Path, metavar="DIR")
    try:
        delete_cluster(parser.parse_args().folder)
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
