"""Remembers every version of each policy, namespace, ClusterRole and CRD of a cluster, as the watch told it."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path


DECIDING = ("mcpaccesspolicies", "namespaces", "clusterroles")
RECORDED = (*DECIDING, "customresourcedefinitions")


@dataclass(frozen=True, slots=True)
class Change:
    """One watch event, and when it arrived (seconds since the epoch)."""

    at: float
    kind: str
    deleted: bool
    body: dict[str, Any]

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.body["metadata"]["name"])


@dataclass(slots=True)
class ObjectRecorder:
    """Watches these objects with kubectl for as long as the ``with`` block lasts."""

    kubectl: Path
    kubeconfig: Path
    changes: list[Change] = field(default_factory=list)
    _watches: list[subprocess.Popen[str]] = field(default_factory=list)
    _readers: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for kind in RECORDED:
            watch = subprocess.Popen(
                [
                    str(self.kubectl),
                    f"--kubeconfig={self.kubeconfig}",
                    *("get", kind, "--watch", "--output-watch-events", "--output=json"),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            reader = threading.Thread(target=self._read, args=(kind, watch), daemon=True)
            reader.start()
            self._watches.append(watch)
            self._readers.append(reader)
        return self

    def __exit__(self, *_: object) -> None:
        for watch in self._watches:
            watch.terminate()
            watch.wait(10)
            if watch.stdout:
                watch.stdout.close()
        for reader in self._readers:
            reader.join(10)

    def in_force(self, kind: str, *, at: float) -> dict[str, dict[str, Any]]:
        """The objects of ``kind`` as they were at that time, by name."""
        objects: dict[str, dict[str, Any]] = {}
        for change in list(self.changes):
            if change.kind != kind or change.at > at:
                continue
            if change.deleted:
                objects.pop(change.name, None)
            else:
                objects[change.name] = change.body
        return objects

    def version(self, uid: str, *, resource_version: str) -> dict[str, Any]:
        """One version of an object; raises LookupError when it was never seen."""
        for change in list(self.changes):
            metadata = change.body["metadata"]
            if (metadata["uid"], metadata["resourceVersion"]) == (uid, resource_version):
                return change.body
        raise LookupError(f"no object {uid} had the resourceVersion {resource_version}")

    def times_between(self, start: float, end: float) -> list[float]:
        """``start``, and each moment until ``end`` at which something changed that decides."""
        changes = (change for change in list(self.changes) if change.kind in DECIDING)
        return [start, *sorted({change.at for change in changes if start < change.at <= end})]

    def _read(self, kind: str, watch: subprocess.Popen[str]) -> None:
        for line in watch.stdout or ():  # one event a line
            event = json.loads(line)
            deleted = event["type"] == "DELETED"
            self.changes.append(Change(at=time.time(), kind=kind, deleted=deleted, body=event["object"]))
