"""Starts a replica: what must be so in this process and on this node before there is an application."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import platform
import resource
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.app import Application
from k8s_mcp_server.errors import ConfigurationError
from k8s_mcp_server.execution.binaries import find_binaries
from k8s_mcp_server.execution.sandbox.kernel import guard_process
from k8s_mcp_server.execution.sandbox.level import SandboxLevel
from k8s_mcp_server.execution.sandbox.probe import probe
from k8s_mcp_server.execution.service_account import BorrowedAccount, Kubeconfig
from k8s_mcp_server.execution.workdir import ACCOUNT_PREFIX, remove_leftovers
from k8s_mcp_server.serving import text
from k8s_mcp_server.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from k8s_mcp_server.settings import Settings

_OPEN_FILES: Final = 65_536
_LOOPBACK: Final = "127.0.0.1"

logger = logging.getLogger(__name__)


def run(settings: Settings, *, kubeconfig: Path | None = None, context: str = "") -> int:
    """Run the service; the process's exit code: 0 after a signal, 1 on failure, 2 when the settings cannot be used.

    Args:
        settings: as loaded.
        kubeconfig: outside a cluster, how to get there (see `execution.service_account`).
        context: of the kubeconfig; empty means the current one.
    """
    # Before the MCP server is made: its constructor configures the root logger otherwise.
    configure_logging(settings.log_level.value, json_lines=settings.log_format.value == "json")
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # it tells at INFO what the two lines here tell better
    try:
        return asyncio.run(_serve(settings, kubeconfig=kubeconfig, context=context))
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


async def _serve(settings: Settings, *, kubeconfig: Path | None, context: str) -> int:
    guard_process()
    allow_open_files()
    _prepare_runtime_dir(settings)
    async with contextlib.AsyncExitStack() as stack:
        if kubeconfig is not None:
            chosen = Kubeconfig(kubectl=settings.tools_dir / "kubectl", file=kubeconfig, context=context)
            settings = await stack.enter_async_context(_outside(settings, chosen))
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


@contextlib.asynccontextmanager
async def _outside(settings: Settings, kubeconfig: Kubeconfig) -> AsyncIterator[Settings]:
    """The settings with what a Pod would be given; listening on loopback where they do not say otherwise."""
    with tempfile.TemporaryDirectory(prefix=ACCOUNT_PREFIX, dir=settings.runtime_dir) as folder:
        account = await asyncio.to_thread(
            BorrowedAccount,
            kubeconfig,
            namespace=settings.namespace,
            name=settings.service_account,
            folder=Path(folder),
        )
        found = {
            "kubernetes_host": account.host,
            "kubernetes_port": account.port,
            "ca_file": account.ca_file,
            "token_file": account.token_file,
        }
        loopback = {key: _LOOPBACK for key in ("host", "health_host") if key not in settings.model_fields_set}
        renewing = asyncio.create_task(account.keep_renewing())
        try:
            yield settings.model_copy(update={**found, **loopback})
        finally:
            renewing.cancel()
            await asyncio.wait({renewing})


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
