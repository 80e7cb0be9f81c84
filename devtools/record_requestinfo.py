"""Records what a real API server takes random requests for: the corpus of `devtools.mutation`, from its audit log."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from typing import TYPE_CHECKING, Any, Final

from devtools.cluster import KwokCluster
from devtools.mutation import CORPUS
from tests.support.random_targets import RandomRequest, random_request, read_like_go
from tests.support.raw_http import RawClient

if TYPE_CHECKING:
    from pathlib import Path

    from devtools.cluster import TestCluster

_CANDIDATES: Final = 6000
_KEPT: Final = 800
_SEED: Final = 6
_KEYS: Final = ("apiGroup", "apiVersion", "namespace", "resource", "subresource", "name")


def record(corpus: Path) -> int:
    """Send random requests as nobody in particular, and write down what the audit log calls them; how many."""
    rng = random.Random(_SEED)  # noqa: S311 - test inputs
    wanted = [item for item in (random_request(rng) for _ in range(_CANDIDATES)) if read_like_go(item.target)]
    with KwokCluster.start(name="corpus", nodes=0, on_progress=print) as cluster:
        cluster.kubectl("wait", "serviceaccount/default", "--for=create", "--timeout=30s")
        token = cluster.service_account_token("default", "default")
        events = asyncio.run(_recorded(wanted[:_KEPT], cluster=cluster, token=token))
    corpus.parent.mkdir(parents=True, exist_ok=True)
    corpus.write_text("".join(f"{json.dumps(event)}\n" for event in events), encoding="utf-8")
    return len(events)


async def _recorded(requests: list[RandomRequest], *, cluster: TestCluster, token: str) -> list[dict[str, Any]]:
    run = uuid.uuid4().hex
    for number, item in enumerate(requests):
        head = f"{item.method} {item.target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        async with await RawClient.connect(cluster.port, cluster.ca_file.read_text(encoding="ascii")) as client:
            await client.send(f"{head}Audit-ID: {run}-{number}\r\nContent-Length: 0\r\n\r\n".encode())
            await client.head()
    logged = {event["auditID"]: event for event in _events(cluster, run)}
    found = ((item, logged.get(f"{run}-{number}")) for number, item in enumerate(requests))
    return [
        {"method": item.method, "target": item.target, "logged": _attributes(event)}
        for item, event in found
        if event is not None
    ]


def _events(cluster: TestCluster, run: str) -> list[dict[str, Any]]:
    if cluster.audit_log is None:
        raise ValueError("the cluster's audit log cannot be read")
    lines = cluster.audit_log.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if run in line]


def _attributes(event: dict[str, Any]) -> list[str]:
    reference = event.get("objectRef", {})
    return [event["verb"], *(reference.get(key, "") for key in _KEYS)]


if __name__ == "__main__":
    print(f"{record(CORPUS)} requests in {CORPUS}")
