"""kubectl's discovery cache, filled once for all commands: each would otherwise read every API group first.

The layout and the conversion are client-go's (k8s.io/client-go discovery/cached/disk/cached_discovery.go and
discovery/aggregated_discovery.go; k8s.io/cli-runtime pkg/genericclioptions/config_flags.go names the folder). It holds
what discovery shows to everybody with a policy in force, and nothing else; commands may read it and cannot write it, so
that none can mislead another. kubectl takes a file as fresh for six hours, and asks the API server itself when a
word is not in the cache.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from typing import TYPE_CHECKING, Any, Final, Protocol

from k8s_mcp_server.cluster.discovery import ACCEPT, PATHS
from k8s_mcp_server.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from k8s_mcp_server.cluster.client import ApiClient
    from k8s_mcp_server.policy.catalog import Catalog

POLL_SECONDS: Final = 1.0
REWRITE_SECONDS: Final = 3600.0  # well within kubectl's six hours
_KEPT_GENERATIONS: Final = 2  # a command that runs still reads the one before
_FOLDER: Final = "kubectl-cache"

Document = dict[str, Any]
logger = logging.getLogger(__name__)


class Discovery(Protocol):
    """What the cache needs to know of discovery."""

    @property
    def catalog(self) -> Catalog:
        """The same object for as long as nothing has changed."""


class KubectlCache:
    """Keeps the cache up to date.

    Args:
        connect: a client of the API server, for one reading: certificates and token may have changed since the last.
        discovery: says when something has changed.
        parent: where the folders go; private to this server.
        port: the gateway's, which is part of the layout.
        published: called with each new folder, which commands started from then on should use, and with what it was
            made from: aggregated discovery by path, and ``gitVersion``.
        clock: monotonic seconds.
        poll_seconds: how often discovery is looked at.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[ApiClient]],
        *,
        discovery: Discovery,
        parent: Path,
        port: int,
        published: Callable[[Path, Mapping[str, Any]], None],
        clock: Callable[[], float],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._connect = connect
        self._discovery = discovery
        self._root = parent / _FOLDER
        self._port = port
        self._published = published
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._written: list[Path] = []
        self._generation = 0

    async def run(self) -> None:
        """Fill the cache whenever discovery changes, until cancelled. A failure leaves the cache as it is."""
        await asyncio.to_thread(shutil.rmtree, self._root, ignore_errors=True)
        seen: Catalog | None = None
        written_at = 0.0
        while True:
            catalog = self._discovery.catalog
            due = catalog is not seen or self._clock() - written_at > REWRITE_SECONDS
            if len(catalog) and due:
                try:
                    await self.fill()
                    seen, written_at = catalog, self._clock()
                except (Unavailable, OSError) as error:
                    logger.warning("kubectl's discovery cache could not be filled: %s", error)
            await asyncio.sleep(self._poll_seconds)

    async def fill(self) -> None:
        """Read discovery and publish a new folder.

        Raises:
            Unavailable: the API server does not answer.
            OSError: the folder cannot be written.
        """
        async with self._connect() as client:
            answers = [await client.request("GET", path, headers={"Accept": ACCEPT}) for path in PATHS]
            version = (await client.request("GET", "/version")).json()
        documents = dict(zip(PATHS, (answer.json() for answer in answers), strict=True))
        files = cache_files(documents.values())
        self._generation += 1
        folder = self._root / str(self._generation)
        await asyncio.to_thread(_write, folder / "discovery" / f"127.0.0.1_{self._port}", files)
        self._published(folder, documents | {"gitVersion": version.get("gitVersion", "v1.0.0")})
        self._written.append(folder)
        while len(self._written) > _KEPT_GENERATIONS:
            await asyncio.to_thread(shutil.rmtree, self._written.pop(0), ignore_errors=True)


def cache_files(documents: Iterable[Mapping[str, Any]]) -> dict[str, Document]:
    """The cache's files, by path below the server's folder.

    Args:
        documents: what aggregated discovery answered for ``/api`` and ``/apis``.
    """
    groups: list[Document] = []
    files: dict[str, Document] = {}
    for document in documents:
        for item in document.get("items") or ():
            name = item.get("metadata", {}).get("name", "")
            versions = []
            for version in item.get("versions") or ():
                if version.get("freshness") == "Stale":
                    continue  # as client-go: an aggregated API whose server does not answer
                group_version = f"{name}/{version['version']}" if name else version["version"]
                versions.append({"groupVersion": group_version, "version": version["version"]})
                files[f"{group_version}/serverresources.json"] = {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": group_version,
                    "resources": list(_resources(version)),
                }
            if versions:
                groups.append({"name": name, "versions": versions, "preferredVersion": versions[0]})
    files["servergroups.json"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    return files


def _resources(version: Mapping[str, Any]) -> Iterator[Document]:
    for item in version.get("resources") or ():
        parent = {
            "name": item["resource"],
            "singularName": item.get("singularResource", ""),
            "namespaced": item.get("scope") == "Namespaced",
            "verbs": item.get("verbs") or [],
            "shortNames": item.get("shortNames") or [],
            "categories": item.get("categories") or [],
        }
        if kind := item.get("responseKind"):
            yield parent | _kind(kind)
        for sub in item.get("subresources") or ():
            if kind := sub.get("responseKind"):
                yield {
                    "name": f"{parent['name']}/{sub['subresource']}",
                    "singularName": parent["singularName"],
                    "namespaced": parent["namespaced"],
                    "verbs": sub.get("verbs") or [],
                } | _kind(kind)


def _kind(kind: Mapping[str, str]) -> Document:
    return {"group": kind.get("group", ""), "version": kind.get("version", ""), "kind": kind.get("kind", "")}


def _write(folder: Path, files: Mapping[str, Document]) -> None:
    for name, document in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document), encoding="utf-8")
