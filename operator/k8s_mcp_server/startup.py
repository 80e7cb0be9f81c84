"""Starts a replica: what must be so in this process and on this node before there is an application."""

from __future__ import annotations

import asyncio
import gc
import logging
import platform
import resource
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.app import Application
from k8s_mcp_server.errors import ConfigurationError
from k8s_mcp_server.execution.binaries import find_binaries
from k8s_mcp_server.execution.sandbox.kernel import guard_process
from k8s_mcp_server.execution.sandbox.level import SandboxLevel
from k8s_mcp_server.execution.sandbox.probe import probe
from k8s_mcp_server.execution.workdir import remove_leftovers
from k8s_mcp_server.serving import text
from k8s_mcp_server.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from k8s_mcp_server.settings import Settings

_OPEN_FILES: Final = 65_536

logger = logging.getLogger(__name__)


def run(settings: Settings) -> int:
    """Run the service; the process's exit code: 0 after a signal, 1 on failure, 2 when the settings cannot be used."""
    # Before the MCP server is made: its constructor configures the root logger otherwise.
    configure_logging(settings.log_level.value, json_lines=settings.log_format.value == "json")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # it tells at INFO what the two lines here tell better
    try:
        return asyncio.run(_serve(settings))
    except ConfigurationError as error:
        logger.error("%s", error)  # noqa: TRY400 - the text says what to write; a traceback would hide it
        return 2


def check_node(settings: Settings) -> dict[str, Any]:
    """What this node gives the sandbox, for ``preflight``."""
    report = probe()
    return {
        "kernel": platform.release(),
        "landlock_abi": report.abi,
        "sandbox": report.level.value if report.level else "unavailable",
        "signals_confined": report.signals_confined,
        "wanted": settings.sandbox.value,
        "sufficient": report.satisfies(SandboxLevel(settings.sandbox.value)),
        "reason": report.reason,
    }


async def _serve(settings: Settings) -> int:
    guard_process()
    allow_open_files()
    _prepare_runtime_dir(settings)
    report, binaries, _ = await asyncio.gather(
        asyncio.to_thread(probe),
        asyncio.to_thread(find_binaries, settings.tools_dir),
        asyncio.to_thread(text.prepare),
    )
    if report.reason:
        logger.warning("sandbox: %s", report.reason)
    application = Application(settings, report=report, binaries=binaries)
    gc.freeze()  # what is there now stays until the end: no collection looks at it again
    gc.enable()
    return await application.serve()


def allow_open_files() -> None:
    """Connections and commands need more descriptors than the 1024 that containers often begin with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _prepare_runtime_dir(settings: Settings) -> None:
    try:
        settings.runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(settings.runtime_dir)
    except OSError as error:
        raise ConfigurationError(f"`runtime_dir` {settings.runtime_dir}: {error.strerror}") from error
