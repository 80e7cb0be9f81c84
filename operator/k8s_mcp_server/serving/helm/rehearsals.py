"""Runs the helm commands that show what another would do, and reads what they print.

All of it runs in the sandbox and under the command's own token: a template looks up no more than the client may read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from k8s_mcp_server.commands.helm.rehearsal import record_of, rehearsal, rendering
from k8s_mcp_server.errors import CommandDenied
from k8s_mcp_server.execution.pipeline import ChartAccess, Pipeline, Stage
from k8s_mcp_server.policy.tools import Tool
from k8s_mcp_server.serving.helm.deciding import with_namespace
from k8s_mcp_server.serving.helm.manifests import MOST_BYTES, ChartObject, UnreadableManifest, read_objects

if TYPE_CHECKING:
    from k8s_mcp_server.commands.helm.words import HelmCommand
    from k8s_mcp_server.execution.result import ApiAccess, Result
    from k8s_mcp_server.policy.limits import Limits
    from k8s_mcp_server.serving.helm.server import ServerVersion

_DEFAULT_NAMESPACE: Final = "default"
_CLIENT_SIDE: Final = "csa"


class Executor(Protocol):
    """What runs them."""

    async def run(
        self,
        pipeline: Pipeline,
        *,
        access: ApiAccess | None,
        limits: Limits,
        stdin: bytes = b"",
        files: Mapping[str, bytes] | None = None,
    ) -> Result:
        """Run the pipeline to its end or to a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A revision of a release, stored or foreseen.

    Args:
        release: its name.
        is_applied: whether it is written by server-side apply.
        objects: plain ones and hooks, each with its namespace.
    """

    release: str
    number: int
    is_applied: bool
    objects: tuple[ChartObject, ...]


class _Hook(msgspec.Struct):
    manifest: str = ""


class _Release(msgspec.Struct):
    """What of helm's own JSON of a release is of interest (helm.sh/helm/v4/pkg/release/v1/release.go)."""

    name: str = ""
    version: int = 0
    manifest: str = ""
    apply_method: str = ""
    hooks: list[_Hook] | None = None


_RELEASE: Final = msgspec.json.Decoder(_Release)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsals:
    """Those of one command line.

    Args:
        executor: runs helm.
        server: what is known of the API server.
        access: the command's own.
        limits: of each run.
        stdin: what the client passed, and so ``heredoc`` and ``files``.
        charts: of the command that is rehearsed.
    """

    executor: Executor
    server: ServerVersion
    access: ApiAccess
    limits: Limits
    stdin: bytes
    heredoc: bytes | None
    files: Mapping[str, bytes]
    charts: ChartAccess | None = None

    def namespace(self, command: HelmCommand) -> str:
        """The release's."""
        return command.value("namespace") or self.access.namespace or _DEFAULT_NAMESPACE

    async def stored(self, command: HelmCommand, release: str, *, revision: str = "") -> Revision | None:
        """A revision that there is, the last by default; None when helm cannot show it.

        Raises:
            CommandDenied: it cannot be read, and so do the others.
        """
        printed = await self._run(record_of(command, release, revision=revision), of=command)
        if printed is None:
            return None
        head, _, manifest = printed.decode(errors="replace").partition("\n")
        number, _, method = head.partition(" ")
        objects = await self._objects(manifest, of=command)
        return Revision(release=release, number=int(number), is_applied=method.strip() != _CLIENT_SIDE, objects=objects)

    async def foreseen(self, command: HelmCommand, *, source: Sequence[Stage]) -> Revision | None:
        """What an install or upgrade would store, by its own dry run; None when that fails.

        Args:
            source: stages that make its input.
        """
        printed = await self._run(rehearsal(command), of=command, source=source)
        if printed is None:
            return None
        try:
            release = _RELEASE.decode(_from(b"{", printed))
        except msgspec.DecodeError as error:
            raise unreadable(command, "helm's account of it is no JSON") from error
        text = "\n---\n".join([release.manifest, *(hook.manifest for hook in release.hooks or ())])
        objects = await self._objects(text, of=command)
        is_applied = release.apply_method != _CLIENT_SIDE
        return Revision(release=release.name, number=release.version, is_applied=is_applied, objects=objects)

    async def rendered(self, command: HelmCommand, *, source: Sequence[Stage]) -> tuple[ChartObject, ...] | None:
        """What the chart's text makes, with the CRDs that belong to it; None when it cannot be rendered."""
        words = rendering(command, kube_version=self.server.kube_version, api_versions=self.server.api_versions)
        printed = await self._run(words, of=command, source=source)
        if printed is None:
            return None
        return await self._objects(_from(b"---\n", printed).decode(errors="replace"), of=command)

    async def _run(self, words: HelmCommand, *, of: HelmCommand, source: Sequence[Stage] = ()) -> bytes | None:
        stage = Stage(argv=(Tool.HELM.value, *words.words()), charts=self.charts)
        pipeline = Pipeline(stages=(*source, stage), stdin=self.heredoc)
        result = await self.executor.run(
            pipeline, access=self.access, limits=self.limits, stdin=self.stdin, files=self.files
        )
        if result.stdout_truncated:
            raise unreadable(of, f"it makes more than {MOST_BYTES // 1024 // 1024} MiB")
        return result.stdout if result.exit_code == 0 else None

    async def _objects(self, text: str, *, of: HelmCommand) -> tuple[ChartObject, ...]:
        try:
            return with_namespace(await asyncio.to_thread(read_objects, text), self.namespace(of))
        except UnreadableManifest as error:
            raise unreadable(of, str(error)) from error


def _from(start: bytes, printed: bytes) -> bytes:
    """From the first line with this beginning on: before it helm says which image of a registry it pulled."""
    if printed.startswith(start):
        return printed
    _, found, rest = printed.partition(b"\n" + start)
    return start + rest if found else b""


def unreadable(command: HelmCommand, why: str) -> CommandDenied:
    """What it would do is not certain."""
    return CommandDenied(
        "UnreadableChart",
        f"`helm {command.name}` was not begun, and nothing was changed: what it would do cannot be decided, for {why}",
        hint="`helm template` shows what the chart makes; leave out or mend what cannot be read",
    )
