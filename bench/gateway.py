"""What a request costs through the gateway, beside the same request to the API server with the same rights."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.figures import Samples, in_turn, ratio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from devtools.cluster import TestCluster

ACCOUNT = "gateway"
OWN, SOME, MOST, LARGE = "bench-own", "bench-some", "bench-most", "bench-large"
_OBJECT_BYTES = 4_000
_OBJECTS = {SOME: 500, MOST: 2_000}
_LARGE_OBJECTS = 10_000
_AT_ONCE = 16
_WATCHES = 200
_WATCHES_OF_A_COMMAND = 50
_LISTS = 12  # rounds
_MB = 1_000_000
_SECONDS = 120.0
_EVERYWHERE = "/api/v1/configmaps"
_LARGE_LISTS = (
    ("as it is", f"/api/v1/namespaces/{LARGE}/configmaps", LARGE),
    ("cut to nearly all", _EVERYWHERE, LARGE),
    ("cut to little", _EVERYWHERE, SOME),
)


@dataclass(slots=True)
class Http:
    """One kept connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    token: str

    @classmethod
    async def connect(cls, end: End) -> Self:
        """Connect."""
        context = ssl.create_default_context(cadata=end.ca_pem)
        reader, writer = await asyncio.open_connection(end.host, end.port, ssl=context, limit=1 << 22)
        return cls(reader, writer, end.token)

    async def ask(self, method: str, target: str, body: bytes = b"") -> int:
        """Make a request; returns the size of its answer."""
        length = await self.begin(method, target, body)
        if length is not None:
            return len(await self.reader.readexactly(length))
        return sum([len(part) async for part in self.chunks()])

    async def begin(self, method: str, target: str, body: bytes = b"") -> int | None:
        """Make a request; returns the length of its answer, which is to be read yet."""
        lines = [
            f"{method} {target} HTTP/1.1",
            "Host: bench",
            "Accept: application/json",
            f"Authorization: Bearer {self.token}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
        if not head.startswith("HTTP/1.1 2"):
            raise RuntimeError(f"{method} {target}: {head.partition(chr(13))[0]}")
        return int(length[1]) if length else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The parts of a chunked answer."""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)

    def close(self) -> None:
        """Drop the connection."""
        self.writer.transport.abort()


@dataclass(frozen=True, slots=True)
class End:
    """Where requests go, and as whom."""

    host: str
    port: int
    ca_pem: str
    token: str


@dataclass(slots=True)
class ServedGateway:
    """A gateway in a process of its own, so that its memory can be told from ours.

    Args:
        tokens: of commands that may see ``SOME``, ``MOST``, ...
    """

    pid: int
    ends: dict[str, End]
    _process: subprocess.Popen[str] = field(repr=False)

    @classmethod
    def start(cls, cluster: TestCluster, *, token: str, folder: Path) -> Self:
        """Start it."""
        token_file = folder / "token"
        token_file.write_text(token, encoding="ascii")
        arguments = [cluster.host, str(cluster.port), str(cluster.ca_file), str(token_file)]
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.gateway_process", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None  # noqa: S101  asked for just above
        said = json.loads(process.stdout.readline())
        ends = {name: End("127.0.0.1", said["port"], said["ca_pem"], item) for name, item in said["tokens"].items()}
        return cls(process.pid, ends, process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate("")

    def resident(self, what: str = "VmRSS") -> int:
        """Resident memory in bytes: ``VmRSS`` now, ``VmHWM`` the most since ``forget_peak``."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(status.partition(f"{what}:")[2].split()[0]) * 1024

    def forget_peak(self) -> None:
        """Begin to measure ``VmHWM`` anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")


def measure(cluster: TestCluster, *, rounds: int) -> list[dict[str, Any]]:
    """Small GETs, lists as they are and cut, watches, and the memory that they take."""
    _prepare(cluster)
    token = cluster.service_account_token(OWN, ACCOUNT)
    direct = End(cluster.host, cluster.port, cluster.ca_file.read_text(encoding="ascii"), token)
    with tempfile.TemporaryDirectory() as folder:
        start = partial(ServedGateway.start, cluster, token=token, folder=Path(folder))
        asyncio.run(_fill(direct, _OBJECTS))
        with start() as gateway:
            rows = asyncio.run(_measure(direct, gateway, rounds=rounds))
        asyncio.run(_fill(direct, {LARGE: _LARGE_OBJECTS}))
        for name, target, who in _LARGE_LISTS:
            with start() as gateway:  # a new one, which has no memory left over from before
                rows.append(asyncio.run(_memory_of_list(gateway, name, target, who)))
        return rows


async def _measure(direct: End, gateway: ServedGateway, *, rounds: int) -> list[dict[str, Any]]:
    small = f"/api/v1/namespaces/{MOST}/configmaps/object-0"
    whole = f"/api/v1/namespaces/{MOST}/configmaps"
    rows = await _beside("small GET", small, direct, gateway.ends[MOST], rounds=rounds * 10)
    rows += await _beside("list", whole, direct, gateway.ends[MOST], rounds=_LISTS)
    rows += await _beside("list, cut to four fifths", _EVERYWHERE, direct, gateway.ends[MOST], rounds=_LISTS)
    rows += await _beside("list, cut to a fifth", _EVERYWHERE, direct, gateway.ends[SOME], rounds=_LISTS)
    rows += await _watches(direct, gateway)
    return rows


async def _beside(name: str, target: str, direct: End, through: End, *, rounds: int) -> list[dict[str, Any]]:
    bare, gated = await Http.connect(direct), await Http.connect(through)
    size = await bare.ask("GET", target)

    async def ask_bare() -> None:
        await bare.ask("GET", target)

    async def ask_gated() -> None:
        await gated.ask("GET", target)

    taken = await in_turn(rounds=rounds, bare=ask_bare, through=ask_gated)
    bare.close()
    gated.close()
    added = _added(taken["through"], taken["bare"])
    shown = f"{name}, {size / _MB:.0f} MB" if size > _MB else name
    more = {"added_ms_per_mb": round(added / (size / _MB), 3)} if size > _MB else {}
    return [
        {**taken["bare"].summary(), "name": f"{shown}, bare", "ratio": 1.0, "beside": ""},
        {
            **taken["through"].summary(),
            "name": f"{shown}, through the gateway",
            "ratio": round(ratio(taken["through"], to=taken["bare"]), 3),
            "beside": f"{shown}, bare",
            "added_ms": round(added, 3),
            **more,
        },
    ]


def _added(samples: Samples, to: Samples) -> float:
    """The median of the differences round by round, in milliseconds."""
    return statistics.median(a - b for a, b in zip(samples.seconds, to.seconds, strict=True)) * 1000


async def _watches(direct: End, gateway: ServedGateway) -> list[dict[str, Any]]:
    """How long an event takes to all of many watchers."""
    version = await _version(direct)
    before = gateway.resident()
    ends = [gateway.ends[f"{MOST}-{number // _WATCHES_OF_A_COMMAND}"] for number in range(_WATCHES)]
    through = [await _watch(end, version=version) for end in ends]
    growth = gateway.resident() - before
    bare = [await _watch(direct, version=version) for _ in range(_WATCHES)]
    writer = await Http.connect(direct)
    taken = {"bare": Samples(f"event to {_WATCHES} watches, bare"), "through": Samples("")}
    for number in range(2 * _LISTS):
        watches, samples = (bare, taken["bare"]) if number % 2 else (through, taken["through"])
        others = through if number % 2 else bare
        name = f"event-{number}"

        async def deliver(name: str = name, watches: list[Http] = watches) -> None:
            await writer.ask("POST", f"/api/v1/namespaces/{MOST}/configmaps", _config_map(name, size=10))
            await asyncio.gather(*(_next_event(watch, name) for watch in watches))

        await samples.measure(deliver)
        await asyncio.gather(*(_next_event(watch, name) for watch in others))
    for watch in (*bare, *through, writer):
        watch.close()
    base = taken["bare"].summary()
    return [
        {**base, "ratio": 1.0, "beside": ""},
        {
            **taken["through"].summary(),
            "name": f"event to {_WATCHES} cut watches, through the gateway",
            "ratio": round(ratio(taken["through"], to=taken["bare"]), 3),
            "beside": base["name"],
            "added_ms": round(_added(taken["through"], taken["bare"]), 3),
        },
        {"name": f"gateway, memory for {_WATCHES} watches", "bytes": growth},
    ]


async def _version(end: End) -> str:
    """The resource version of now."""
    client = await Http.connect(end)
    length = await client.begin("GET", f"{_EVERYWHERE}?limit=1")
    parts = [part async for part in client.chunks()] if length is None else [await client.reader.readexactly(length)]
    client.close()
    return str(json.loads(b"".join(parts))["metadata"]["resourceVersion"])


async def _watch(end: End, *, version: str) -> Http:
    watch = await Http.connect(end)
    await watch.begin("GET", f"{_EVERYWHERE}?watch=1&resourceVersion={version}")
    return watch


async def _next_event(watch: Http, name: str) -> None:
    wanted = f'"name":"{name}"'.encode()
    async with asyncio.timeout(_SECONDS):
        async for part in watch.chunks():
            if wanted in part:
                return


async def _memory_of_list(gateway: ServedGateway, name: str, target: str, who: str) -> dict[str, Any]:
    """What one large list takes in memory at most."""
    client = await Http.connect(gateway.ends[who])
    await client.ask("GET", f"{target}?limit=1")
    gateway.forget_peak()
    before = gateway.resident()
    size = await client.ask("GET", target)
    client.close()
    growth = max(0, gateway.resident("VmHWM") - before)
    return {"name": f"gateway, most memory for a list {name} ({size / _MB:.0f} MB out)", "bytes": growth}


def _prepare(cluster: TestCluster) -> None:
    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in (OWN, SOME, MOST, LARGE)]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": OWN}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "bench-gateway"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": OWN}],
    }
    items = [*namespaces, account, binding]
    cluster.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


async def _fill(end: End, objects: dict[str, int]) -> None:
    left = ((namespace, number) for namespace, count in objects.items() for number in range(count))

    async def create(left: Iterator[tuple[str, int]]) -> None:
        client = await Http.connect(end)
        for namespace, number in left:
            body = _config_map(f"object-{number}", size=_OBJECT_BYTES)
            await client.ask("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)
        client.close()

    await asyncio.gather(*(create(left) for _ in range(_AT_ONCE)))


def _config_map(name: str, *, size: int) -> bytes:
    data = {f"key-{number}": "v" * 90 for number in range(size // 110)}
    return json.dumps({"metadata": {"name": name, "labels": {"app": "bench"}}, "data": data}).encode()
