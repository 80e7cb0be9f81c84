"""Runs the `go` command, and turns its failures into one line that says what to install.

`GOTOOLCHAIN=auto` lets an older Go fetch the one that a module asks for, through the module proxy. CGO is off so
that a binary needs nothing but itself: the sandbox allows executing that one file.
"""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devtools.toolchain.catalog import TOOLS_DIR
from devtools.toolchain.errors import ToolchainError
from devtools.toolchain.gomod import go_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from devtools.toolchain.catalog import GoTool

BASE_FLAGS = ("-trimpath", "-mod=readonly", "-buildvcs=false")
"""Flags of every build; they are part of the cache key, with the linker's."""

_ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "auto", "GOFLAGS": "", "GOWORK": "off"}
_NETWORK = re.compile(
    r"dial tcp|proxyconnect|no such host|i/o timeout|TLS handshake|connection re(?:fused|set)|network is unreachable"
    r"|context deadline exceeded|module lookup disabled|x509:|\b(?:403|407|502|503) [A-Z]"
)
_GO_TOO_OLD = re.compile(r"requires go >=|invalid go version|toolchain not available|unknown directive|download go1\.")
_ENV_TIMEOUT_SECONDS = 300  # `go env` may fetch a Go toolchain first
_TAIL_LINES = 25


@dataclass(frozen=True, slots=True)
class GoVersion:
    """The Go that builds a module, and for which platform."""

    version: str
    os: str
    arch: str


def flags(tool: GoTool) -> tuple[str, ...]:
    """Return the arguments of `go build` that decide the bytes of the result."""
    tags = ("-tags", ",".join(tool.tags)) if tool.tags else ()
    return (*BASE_FLAGS, *tags, "-ldflags", tool.linker_flags())


def selected_go(folder: Path) -> GoVersion:
    """Return the Go that builds the module in `folder`, fetched if need be.

    Raises:
        ToolchainError: there is no Go, or one that can't fetch its successor.
    """
    command = [_go(folder), "env", "-json", "GOVERSION", "GOOS", "GOARCH"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=_ENV_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"`go env` didn't answer ({error}): {_install(folder)}") from error
    try:
        values = json.loads(done.stdout)
        return GoVersion(version=values["GOVERSION"], os=values["GOOS"], arch=values["GOARCH"])
    except (ValueError, KeyError, TypeError) as error:
        reason = _last_line(done.stderr) or f"exit code {done.returncode}"
        raise ToolchainError(f"Go at {command[0]} can't build {folder.name} ({reason}): {_install(folder)}") from error


def build(tool: GoTool, *, output: Path, on_package: Callable[[], None]) -> None:
    """Build `tool` to `output`; `on_package` is called for every package compiled.

    Raises:
        ToolchainError: the build failed. Unless the network or the Go version is the reason, the end of its output
            has gone to stderr.
    """
    command = [_go(tool.folder), "build", "-v", *flags(tool), "-o", str(output), tool.package]
    tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
    with subprocess.Popen(
        command,
        cwd=tool.folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                if _is_package(line):
                    on_package()
                else:
                    tail.append(line)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0 or not output.is_file():
        raise _failure(tool, code=process.returncode, tail=list(tail))


def count_packages(tool: GoTool) -> int:
    """Return how many packages a cold build compiles (0 when `go list` can't tell); fetches the modules."""
    command = [_go(tool.folder), "list", "-mod=readonly", "-tags", ",".join(tool.tags), "-deps", tool.package]
    done = subprocess.run(command, cwd=tool.folder, env=_environment(), capture_output=True, text=True, check=False)
    return len(done.stdout.splitlines()) if done.returncode == 0 else 0


def source_folder(tool: GoTool) -> Path:
    """Return the folder of the tool's own Go module, fetched if need be: its sources, manifests and charts.

    Raises:
        ToolchainError: it can't be had.
    """
    command = [_go(tool.folder), "mod", "download", "-json", tool.source]
    done = subprocess.run(command, cwd=tool.folder, env=_environment(), capture_output=True, text=True, check=False)
    try:
        return Path(json.loads(done.stdout)["Dir"])
    except (ValueError, KeyError, TypeError) as error:
        reason = _last_line(done.stderr) or f"exit code {done.returncode}"
        raise ToolchainError(f"can't fetch the source of {tool.name} {tool.version} ({reason})") from error


def build_info(binary: Path) -> Any:
    """Return what the linker wrote into a binary: its Go, its modules and their versions (runtime/debug, BuildInfo).

    Raises:
        ToolchainError: it's no binary of Go's, or there is no Go that reads it.
    """
    folder = TOOLS_DIR / "kubernetes"  # any of the modules: it decides which Go runs, a recent one
    command = [_go(folder), "version", "-m", "-json", str(binary)]
    done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        raise ToolchainError(f"{binary.name} says nothing of its modules: {_last_line(done.stderr)}") from error


def _failure(tool: GoTool, *, code: int, tail: list[str]) -> ToolchainError:
    what = f"{tool.name} {tool.version}"
    text = "".join(tail)
    if _GO_TOO_OLD.search(text):
        return ToolchainError(f"can't build {what} ({_last_line(text)}): {_install(tool.folder)}")
    if _NETWORK.search(text):
        return ToolchainError(
            f"can't download the Go modules of {what}: check the network and GOPROXY ({_last_line(text)})"
        )
    sys.stderr.write(text)
    return ToolchainError(f"can't build {what}: `go build` left with {code}, the end of its output is above")


def _is_package(line: str) -> bool:
    """`go build -v` prints an import path per compiled package; anything else is a message."""
    return re.fullmatch(r"[\w.~-]+(?:/[\w.~+-]+)*\n?", line) is not None


def _go(folder: Path) -> str:
    found = shutil.which("go")
    if found is None:
        raise ToolchainError(f"there is no Go on PATH: {_install(folder)}")
    return found


def _install(folder: Path) -> str:
    return f"install Go {go_version(folder / 'go.mod')} or newer (https://go.dev/doc/install)"


def _environment() -> dict[str, str]:
    return {**os.environ, **_ENVIRONMENT}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
