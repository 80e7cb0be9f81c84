"""Our RequestInfo against the real API server's: its audit log says what it took each of many random requests for.

The requests go straight to the API server as a user without rights, so that nothing happens but an authorization. Set
``K8S_MCP_TEST_SEED`` to repeat a run, and ``K8S_MCP_TEST_REQUESTS`` for a longer one.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from k8s_mcp_server.gateway.head import HeadRefused, parse_head
from k8s_mcp_server.gateway.requestinfo import UnresolvableRequest, request_info
from k8s_mcp_server.gateway.target import TargetRefused, parse_target
from tests.support.random_targets import RandomRequest, random_request, read_like_go

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from devtools.cluster import TestCluster
    from k8s_mcp_server.policy.request import RequestInfo
    from tests.integration.conftest import NamespaceFactory

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.timeout(300)]

REQUESTS = int(os.environ.get("K8S_MCP_TEST_REQUESTS", "24000"))
CONNECTIONS = 12
LOG_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sent:
    """One request and how we read it.

    Args:
        sent_target: what went over the wire: the random target, or our serialisation of it.
        accepted: whether the gateway would have gone on with it.
        info: our reading, by Go's lenient rules where we refuse; None where there is none.
    """

    audit_id: str
    request: RandomRequest
    sent_target: str
    accepted: bool
    info: RequestInfo | None


async def test_our_request_info_is_what_the_api_server_logs(
    cluster: TestCluster, namespace_factory: NamespaceFactory
) -> None:
    if cluster.audit_log is None:
        pytest.skip("this cluster's audit log cannot be read")
    seed = os.environ.get("K8S_MCP_TEST_SEED") or str(time.time_ns())
    print(f"K8S_MCP_TEST_SEED={seed}")
    rng = random.Random(seed)  # noqa: S311  test inputs
    run = uuid.uuid4().hex
    sent = [read(random_request(rng), audit_id=f"{run}-{number}", rng=rng) for number in range(REQUESTS)]
    offset = cluster.audit_log.stat().st_size
    token = cluster.service_account_token(namespace_factory("requestinfo"), "default")

    shares = [sent[index::CONNECTIONS] for index in range(CONNECTIONS)]
    statuses: Counter[int] = Counter()
    for share in await asyncio.gather(*(send(share, cluster=cluster, token=token) for share in shares)):
        statuses.update(share)
    events = await logged(cluster.audit_log, offset=offset, run=run, last=[share[-1].audit_id for share in shares])

    different = [
        (item.request, item.sent_target, ours, events[item.audit_id])
        for item in sent
        if item.info is not None and item.audit_id in events and (ours := attributes(item)) != events[item.audit_id]
    ]
    silent = [item for item in sent if item.audit_id not in events]
    unexplained = [item for item in silent if item.accepted]
    unread = [item for item in sent if item.info is None and item.audit_id in events]
    accepted = sum(item.accepted for item in sent)
    print(f"{len(sent)} requests, {accepted} that we accept, {len(events)} events, answers: {dict(statuses)}")
    print(f"without an event: {len(silent)}, all of them refused by us")
    assert not different, f"seed {seed}: {len(different)} differ, such as {different[:3]}"
    assert not unexplained, f"seed {seed}: accepted by us, not logged: {unexplained[:3]}"
    assert not unread, f"seed {seed}: logged, but we have no reading: {unread[:3]}"
    assert accepted > len(sent) * 0.3
    assert len(events) > len(sent) * 0.9


def read(request: RandomRequest, *, audit_id: str, rng: random.Random) -> Sent:
    """Our reading of a request, and whether the gateway would forward it if a policy allowed it."""
    accepted, sent_target = True, request.target
    try:
        parse_head(f"{request.method} {request.target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        target = parse_target(request.target)
        info: RequestInfo | None = request_info(request.method, target.path, target.query)
        if rng.random() < 0.5:
            sent_target = target.encode()
    except (HeadRefused, TargetRefused, UnresolvableRequest):
        accepted, info = False, lenient(request)
    return Sent(audit_id, request, sent_target, accepted, info)


def lenient(request: RandomRequest) -> RequestInfo | None:
    """The reading of what we refuse, by Go's rules."""
    decoded = read_like_go(request.target)
    if decoded is None:
        return None
    try:
        return request_info(request.method, *decoded)
    except UnresolvableRequest:
        return None


def attributes(item: Sent) -> dict[str, str]:
    """Our reading as the audit log writes it."""
    info = item.info
    assert info is not None
    return {
        "requestURI": item.sent_target,
        "verb": info.verb,
        "resource": info.resource,
        "subresource": info.subresource,
        "namespace": info.namespace,
        "name": info.name,
        "apiGroup": info.api_group,
        "apiVersion": info.api_version,
    }


async def send(share: Sequence[Sent], *, cluster: TestCluster, token: str) -> list[int]:
    """Send requests one after the other over a kept connection; the statuses of the answers."""
    context = ssl.create_default_context(cafile=cluster.ca_file)
    statuses = []
    reader: asyncio.StreamReader | None = None
    for item in share:
        if reader is None:
            reader, writer = await asyncio.open_connection(cluster.host, cluster.port, ssl=context)
        writer.write(
            f"{item.request.method} {item.sent_target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            f"Audit-ID: {item.audit_id}\r\nContent-Length: 0\r\n\r\n".encode()
        )
        async with asyncio.timeout(30):
            status, keep = await receive(reader, is_head=item.request.method == "HEAD")
        statuses.append(status)
        if not keep:
            writer.close()
            reader = None
    if reader is not None:
        writer.close()
    return statuses


async def receive(reader: asyncio.StreamReader, *, is_head: bool) -> tuple[int, bool]:
    """Read one answer and drop its body; its status and whether the connection goes on."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    if not is_head and b"transfer-encoding: chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    elif not is_head and (position := head.find(b"content-length:")) >= 0:
        await reader.readexactly(int(head[position + 15 :].split(b"\r\n", 1)[0]))
    return status, b"connection: close" not in head


async def logged(log: Path, *, offset: int, run: str, last: Sequence[str]) -> dict[str, dict[str, str]]:
    """The events of this run by audit ID, once no more come."""
    events: dict[str, dict[str, str]] = {}
    position, rest, quiet = offset, b"", 0
    async with asyncio.timeout(LOG_SECONDS):
        while quiet < 3:
            with log.open("rb") as stream:
                stream.seek(position)
                data = stream.read()
            position += len(data)
            quiet = 0 if data else quiet + 1
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if run.encode() in line:
                    event = json.loads(line)
                    events[event["auditID"]] = logged_attributes(event)
            await asyncio.sleep(0.2)
    return events


def logged_attributes(event: dict[str, Any]) -> dict[str, str]:
    """What the API server took the request for."""
    reference = event.get("objectRef") or {}
    keys = ("resource", "subresource", "namespace", "name", "apiGroup", "apiVersion")
    return {
        "requestURI": event["requestURI"],
        "verb": event["verb"],
        **{key: reference.get(key, "") for key in keys},
    }
