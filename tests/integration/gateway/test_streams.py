"""Watches, logs and upgraded connections of the real kubectl, through the gateway."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from k8s_mcp_server.policy.snapshot import Snapshot
from tests.support.gateway_site import (
    KUBECTL_SECONDS,
    Rig,
    apply,
    configmap,
    settled,
    watching,
)
from tests.support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_a_filtered_watch_begins_at_once_and_shows_only_the_policys_namespaces(rig: Rig) -> None:
    site, name = rig.site, f"seen-{uuid.uuid4().hex[:6]}"
    columns = "custom-columns=:metadata.namespace,:metadata.name"
    process = await rig.start("get", "configmaps", "-A", "--watch-only", "-o", columns)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(KUBECTL_SECONDS):
            await eventually(lambda: "watch=true" in watching(rig))
            await asyncio.to_thread(apply, site.cluster, configmap(name, site.other), configmap(name, site.team))
            line = await process.stdout.readline()
            while name.encode() not in line:
                line = await process.stdout.readline()
        assert line.split() == [site.team.encode(), name.encode()]
    finally:
        process.kill()
        await process.communicate()


async def test_a_watch_ends_when_its_policy_goes(rig: Rig) -> None:
    process = await rig.start("get", "pods", "--watch-only")
    try:
        async with asyncio.timeout(KUBECTL_SECONDS):
            await eventually(lambda: "watch=true" in watching(rig))
            rig.policies.snapshot = Snapshot.build([], [])
            rig.gateway.revalidate()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    assert rig.session.requests_denied >= 1


WEBSOCKET: dict[str, str] = {}
SPDY = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}
PROTOCOLS = pytest.mark.parametrize(
    ("protocol", "method"), [pytest.param(WEBSOCKET, "GET", id="WebSocket"), pytest.param(SPDY, "POST", id="SPDY")]
)


async def test_logs_pass_through(rig: Rig) -> None:
    logs = await rig.kubectl("logs", "web")
    assert logs.code == 0, logs


@PROTOCOLS
async def test_exec_passes_through(rig: Rig, protocol: dict[str, str], method: str) -> None:
    run = await rig.kubectl("exec", "web", "--", "echo", "over the wire", environment=protocol)
    assert (run.code, run.stdout) == (0, "over the wire\n"), run
    lines = [line for line in await settled(rig) if line["attributes"].get("subresource") == "exec"]
    assert [(line["method"], line["status"]) for line in lines] == [(method, 101)]
    assert lines[0]["rule"] == "streams"
    assert "command=…&command=…" in lines[0]["target"]
    assert "over" not in rig.audit.getvalue()


@PROTOCOLS
async def test_a_port_is_forwarded(rig: Rig, protocol: dict[str, str], method: str) -> None:
    process = await rig.start("port-forward", "pod/web", ":80", environment=protocol)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(KUBECTL_SECONDS):
            line = await process.stdout.readline()
            port = int(line.split(b" -> ", maxsplit=1)[0].rsplit(b":", maxsplit=1)[1])
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"hello")
            handling = await process.stdout.readline()
            while not handling.startswith(b"Handling connection"):
                handling = await process.stdout.readline()
            writer.close()
    finally:
        process.kill()
        await process.communicate()
    forwarded = [line for line in await settled(rig) if line["attributes"].get("subresource") == "portforward"]
    assert [(line["method"], line["status"]) for line in forwarded] == [(method, 101)]


async def test_kubectl_waits_when_its_client_has_too_much_under_way(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.kubectl("get", "pods")  # discovery is cached now
    monkeypatch.setattr("k8s_mcp_server.gateway.served.MOST_REQUESTS_OF_A_CLIENT", 1)
    watch = await rig.start("get", "pods", "--watch-only")
    try:
        async with asyncio.timeout(KUBECTL_SECONDS):
            await eventually(lambda: "watch=true" in watching(rig))
            getting = await rig.start("get", "pods", "-o", "name")
            await eventually(lambda: any(line["reason"] == "TooManyRequests" for line in rig.requests()))
            watch.kill()
            stdout, stderr = await getting.communicate()
    finally:
        if watch.returncode is None:
            watch.kill()
        await watch.communicate()
    assert (getting.returncode, stdout.decode(), stderr.decode()) == (0, "pod/web\n", "")
