"""`python -m bench [--rounds N] [--only PART]`: a table for people, JSON for machines."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import commands, decisions, freshness, gateway, startup
from devtools.cluster import KwokCluster
from devtools.cluster.kwokctl import COMPONENTS
from devtools.demo.teams import tokens
from devtools.installed import InstalledService, install
from devtools.toolchain import ensure_tools

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="commands of each kind (default %(default)s)")
    parser.add_argument("--only", choices=tuple(_PARTS), help="one part only")
    arguments = parser.parse_args()
    os.chdir(Path(__file__).resolve().parents[1])
    parts = [arguments.only] if arguments.only else list(_PARTS)
    rows = [row for part in parts for row in _PARTS[part](arguments.rounds)]
    _show(rows)
    _save(rows)


def _decisions(_: int) -> list[dict[str, Any]]:
    return decisions.measure()


def _gateway(rounds: int) -> list[dict[str, Any]]:
    with KwokCluster.start(nodes=1, binaries=ensure_tools()) as cluster:
        return gateway.measure(cluster, rounds=rounds)


def _commands(rounds: int) -> list[dict[str, Any]]:
    tools = ensure_tools()
    with KwokCluster.start(nodes=2, binaries=tools) as cluster, tempfile.TemporaryDirectory() as folder:
        install(cluster)
        cluster.kubectl("rollout", "status", "deployment/cart", "--namespace=shop", "--timeout=60s")
        _lift_the_rate(cluster)
        with InstalledService(cluster, tools=tools["kubectl"].parent, folder=Path(folder) / "service") as service:
            token = tokens(cluster)["auditor"]
            measuring = commands.measure(cluster, kubectl=tools["kubectl"], url=service.url, token=token, rounds=rounds)
            taken, through_to_bare = asyncio.run(measuring)
            memory = startup.resident_bytes(service.pid)
    bare, through = taken["bare"], taken["through"]
    return [
        {**bare.summary(), "name": "kubectl get pods, bare", "ratio": 1.0, "beside": ""},
        {
            **through.summary(),
            "name": "execute_kubectl get pods",
            "ratio": round(through_to_bare, 3),
            "beside": "kubectl get pods, bare",
        },
        {"name": "service, resident memory", "bytes": memory},
    ]


def _startup(_: int) -> list[dict[str, Any]]:
    tools = ensure_tools(COMPONENTS)
    with KwokCluster.start(nodes=1, binaries=tools) as cluster, tempfile.TemporaryDirectory() as folder:
        install(cluster)
        return startup.measure(cluster, tools=tools["kubectl"].parent, folder=Path(folder))


def _freshness(_: int) -> list[dict[str, Any]]:
    tools = ensure_tools(COMPONENTS)
    with KwokCluster.start(nodes=1, binaries=tools) as cluster, tempfile.TemporaryDirectory() as folder:
        install(cluster)
        return freshness.measure(cluster, tools=tools["kubectl"].parent, folder=Path(folder))


_PARTS: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    "decisions": _decisions,
    "gateway": _gateway,
    "commands": _commands,
    "startup": _startup,
    "freshness": _freshness,
}


def _lift_the_rate(cluster: KwokCluster) -> None:
    settings = json.dumps({"data": {"config.yaml": "commands_per_minute: 100000\n"}})
    patch = ("--type=merge", f"--patch={settings}")
    cluster.kubectl("patch", "configmap", "k8s-mcp-server", "--namespace=k8s-mcp-system", *patch)


def _show(rows: list[dict[str, Any]]) -> None:
    table = Table("what", "p50", "p99", "ratio", "added", "beside")
    for row in rows:
        if "bytes" in row:
            table.add_row(row["name"], _mebibytes(row["bytes"]), "", "", "", _goal(row))
        else:
            times = (_time(row["p50_ms"]), _time(row["p99_ms"]))
            ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
            table.add_row(row["name"], *times, ratio, _added(row), _goal(row) or row.get("beside", ""))
    # Where nobody watches there is no width to fit into.
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def _goal(row: dict[str, Any]) -> str:
    """The goal of a figure that has one, and whether it is met."""
    if "goal_bytes" in row:
        limit, met = _mebibytes(row["goal_bytes"]), row["bytes"] <= row["goal_bytes"]
    elif "goal_ms" in row:
        limit, met = _time(row["goal_ms"]), row[row.get("goal_of", "p50_ms")] <= row["goal_ms"]
    else:
        return ""
    return f"goal {limit}: {'met' if met else 'MISSED'}"


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"


def _added(row: dict[str, Any]) -> str:
    per_mb = f", {row['added_ms_per_mb']:.1f} ms/MB" if "added_ms_per_mb" in row else ""
    return f"{row['added_ms']:.2f} ms{per_mb}" if "added_ms" in row else ""


def _time(milliseconds: float) -> str:
    return f"{milliseconds * 1000:.0f} µs" if milliseconds < 1 else f"{milliseconds:.0f} ms"


def _save(rows: list[dict[str, Any]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    machine = {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    target = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    content = {"time": now.isoformat(), "machine": machine, "rows": rows}
    target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    Console().print(f"saved to {target.relative_to(RESULTS.parents[1])}")


if __name__ == "__main__":
    main()
