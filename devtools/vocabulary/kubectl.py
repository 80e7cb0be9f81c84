"""kubectl as a plain process, to the API server or to a gateway."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COMMAND_SECONDS = 45.0
ENDLESS = -9


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command left. ``code`` is None where it was ended because it had printed what it was to print."""

    code: int | None
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a command goes, and with which credential.

    Args:
        name: of the kubeconfig's file.
        ca_file: whom it trusts.
        namespace: where it works when it names none.
    """

    name: str
    server: str
    ca_file: Path
    token: str
    namespace: str

    def write(self, folder: Path) -> Path:
        """The kubeconfig, as the executor writes it."""
        path = folder / f"{self.name}.kubeconfig"
        cluster = {"server": self.server, "certificate-authority": str(self.ca_file)}
        context = {"cluster": "cluster", "user": "command", "namespace": self.namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": "command", "user": {"token": self.token}}],
            "contexts": [{"name": "command", "context": context}],
            "current-context": "command",
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        return path


async def run(
    kubectl: Path, arguments: Sequence[str], *, target: Target, folder: Path, stdin: str = "", until: str = ""
) -> Outcome:
    """Run kubectl to its end, or until it printed a text. One that takes too long is ended, and its code is -9.

    Args:
        kubectl: the binary.
        arguments: for it.
        target: where it goes.
        folder: its home; kubectl keeps what it knows of a server there.
        stdin: what it reads.
        until: the text, on stdout or stderr, which count as one then; empty to wait for the end.
    """
    process = await asyncio.create_subprocess_exec(
        kubectl,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT if until else asyncio.subprocess.PIPE,
        env={"HOME": str(folder), "KUBECONFIG": str(target.write(folder)), "PATH": "/usr/bin:/bin"},
    )
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            if until:
                return await _run_until(process, until)
            stdout, stderr = await process.communicate(stdin.encode())
    except TimeoutError:
        return Outcome(code=ENDLESS, stdout="", stderr=f"no end after {COMMAND_SECONDS:.0f} s")
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return Outcome(code=process.returncode, stdout=stdout.decode(), stderr=stderr.decode())


async def _run_until(process: asyncio.subprocess.Process, until: str) -> Outcome:
    stream = process.stdout or asyncio.StreamReader()
    printed = ""
    while until not in printed:
        line = await stream.readline()
        if not line:
            return Outcome(code=await process.wait(), stdout=printed, stderr="")
        printed += line.decode()
    process.terminate()
    return Outcome(code=None, stdout=printed, stderr="")
