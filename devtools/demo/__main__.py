"""`python -m devtools.demo [--check]`."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from devtools.cluster import KwokCluster
from devtools.demo.story import Story
from devtools.demo.teams import AGENTS, tokens, write_clients
from devtools.demo.tour import STEPS, walk
from devtools.installed import DIFFERENCES, InstalledService, install
from devtools.toolchain import ensure_tools, link_tools

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".demo"


def main() -> int:
    """Run the demo; 0 when every step of the tour came out as it must."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="leave after the tour, with a status")
    check: bool = parser.parse_args().check
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)
    # Paths in manifests and in what is printed are those of the repository.
    os.chdir(ROOT)
    try:
        return _run(Story(), check=check)
    except KeyboardInterrupt:
        return 130


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _run(story: Story, *, check: bool) -> int:
    began = time.monotonic()
    story.title("k8s-mcp-server: kubectl and helm for agents, each held to its policy")
    tools = ensure_tools()
    story.done(f"{len(tools)} binaries, built from pinned Go modules, are in the cache")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(mode=0o700)
    with story.doing("start a cluster: real API server, etcd, scheduler and controllers; simulated nodes") as detail:
        cluster = KwokCluster.start(nodes=2, on_progress=detail, binaries=tools)
    with cluster:
        shutil.copy(cluster.kubeconfig, FOLDER / "kubeconfig")
        (FOLDER / "kubeconfig").chmod(0o600)
        with story.doing("kubectl apply -k crds; kubectl apply -k examples/demo") as detail:
            install(cluster, on_progress=detail)
        story.say(
            "    The Deployment is scaled to 0: on simulated nodes a Pod would run nothing. The service runs as a"
        )
        story.say(
            "    local process with the Deployment's arguments, environment and ServiceAccount; only these differ:"
        )
        story.say(f"    {', '.join(difference.variable for difference in DIFFERENCES)}.")
        service = InstalledService(
            cluster, tools=link_tools(FOLDER / "bin", ["kubectl", "helm", "yq"]), folder=FOLDER / "service"
        )
        with story.doing("start the service and wait until it is ready"):
            service.start()
        try:
            return _tour(story, cluster, service, check=check, began=began)
        finally:
            service.stop()
            shutil.rmtree(FOLDER, ignore_errors=True)
            story.say("\nThe service and the cluster are stopped; .demo is removed.")


def _tour(story: Story, cluster: KwokCluster, service: InstalledService, *, check: bool, began: float) -> int:
    by_agent = tokens(cluster)
    write_clients(FOLDER / "clients.json", url=service.url, tokens=by_agent)
    cluster.kubectl("wait", "--for=condition=Ready", "mcpap", "--all", "--timeout=30s")
    story.title("kubectl get mcpap")
    story.say(cluster.kubectl("get", "mcpap").stdout.rstrip())
    story.title(f"The tour: {len(AGENTS)} agents, {len(STEPS)} calls, each over MCP")
    wrong = asyncio.run(_walk(story, url=service.url, by_agent=by_agent))
    took = time.monotonic() - began
    story.title(f"{len(STEPS) - wrong} of {len(STEPS)} steps came out as they must; {took:.0f} s in all")
    if not check:
        story.connect(service, token=by_agent[AGENTS[0].name], folder=FOLDER)
        story.say("\nStays until Ctrl-C.")
        try:
            signal.pause()
        except KeyboardInterrupt:
            story.say("")
    return 1 if wrong else 0


async def _walk(story: Story, *, url: str, by_agent: dict[str, str]) -> int:
    wrong = 0
    async for outcome in walk(url, by_agent):
        story.outcome(outcome)
        wrong += bool(outcome.faults)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
