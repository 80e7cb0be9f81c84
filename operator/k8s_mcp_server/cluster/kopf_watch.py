"""kopf: watch events of policies, namespaces and roles, in a thread and event loop of its own.

kopf takes every task of its loop for one of its own and cancels them at its end, so nothing else lives there.
Each run gets a new registry, new settings, a new loop; when kopf ends by itself (a removed CRD, an API server
that answers 5xx for longer than its patience), the caller starts another run. Handlers only pass events on: a
handler that returned something would make kopf write to users' objects.

kopf begins with a list of its own and makes a task of each object, which with ten thousand policies takes longer than
a replica may take to be ready, and every event waits behind it. It can ask for a streamed list in one request with its
watch instead (``initial_streaming``); that request becomes a plain watch from our own last LIST, which missed nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import kopf

from k8s_mcp_server.cluster.connections import Connections, base_url
from k8s_mcp_server.cluster.operator import Backoff
from k8s_mcp_server.cluster.resync import PATHS
from k8s_mcp_server.cluster.store import Resource
from k8s_mcp_server.errors import Unavailable

if TYPE_CHECKING:
    import aiohttp

    from k8s_mcp_server.cluster.connection import ApiServer
    from k8s_mcp_server.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

EventSink = Callable[[Resource, str | None, Mapping[str, Any]], None]
Since = Callable[[Resource], int | None]

# Stated, or kopf makes one of the user's name, and a container's user has none. Its type is private to kopf.
_IDENTITY: Final[Any] = "k8s-mcp-server"
_RESOURCES: Final = {path: resource for resource, path in PATHS.items()}
_STREAMED_LIST: Final = frozenset({"sendInitialEvents", "resourceVersionMatch"})
_CONNECT_TIMEOUT: Final = 5
_REQUEST_TIMEOUT: Final = 30
_WATCH_SECONDS: Final = 300
_BACKOFFS: Final = (1, 2, 5, 10)
_RECONNECT_SECONDS: Final = 0.5
_EXIT_SECONDS: Final = 1.0
_LOGIN_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 3.0
_CA_CHECK_SECONDS: Final = 30.0


class KopfRun:
    """One run of kopf, from ``start`` until it ends by itself or ``stop`` is called.

    Args:
        api_server: where to watch.
        since: the resource version of our own last LIST, called in kopf's thread.
        sink: gets every event, called in kopf's thread.
        ended: called in kopf's thread at its end, with the error or None.
    """

    def __init__(
        self,
        api_server: ApiServer,
        *,
        since: Since,
        sink: EventSink,
        ended: Callable[[BaseException | None], None],
    ) -> None:
        self._api_server = api_server
        self._since = since
        self._sink = sink
        self._ended = ended
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._stopping = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask kopf to end; returns at once, and ``ended`` is called when it has."""
        with self._lock:
            self._stopping = True
            if self._loop is not None and self._stop is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended
                    self._loop.call_soon_threadsafe(self._stop.set)

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            asyncio.run(self._main())
        except Exception as error:  # noqa: BLE001  the caller is the supervisor: it logs and restarts
            failure = error
        finally:
            self._ended(failure)

    async def _main(self) -> None:
        stop = asyncio.Event()
        with self._lock:
            if self._stopping:
                return
            self._loop, self._stop = asyncio.get_running_loop(), stop
        self._loop.set_exception_handler(_leftover)
        async with Connections.to(self._api_server) as connections:
            await kopf.operator(
                registry=self._registry(connections),
                settings=operator_settings(),
                clusterwide=True,
                standalone=True,
                identity=_IDENTITY,
                stop_flag=stop,
            )

    def _registry(self, connections: Connections) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        logins = itertools.count()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            if next(logins):
                await asyncio.sleep(_LOGIN_SECONDS)  # after a 401; kopf itself would ask again at once
            session = connections.session(self._from_our_list)
            return kopf.AiohttpSession(server=base_url(self._api_server), aiohttp_session=session)

        @kopf.on.event("k8s-mcp.io", "v1alpha1", "mcpaccesspolicies", registry=registry)
        async def on_policy(event: Mapping[str, Any], **_: Any) -> None:
            self._sink(Resource.POLICIES, event["type"], event["object"])

        @kopf.on.event("", "v1", "namespaces", registry=registry)
        async def on_namespace(event: Mapping[str, Any], **_: Any) -> None:
            self._sink(Resource.NAMESPACES, event["type"], event["object"])

        @kopf.on.event("rbac.authorization.k8s.io", "v1", "clusterroles", registry=registry)
        async def on_role(event: Mapping[str, Any], **_: Any) -> None:
            self._sink(Resource.ROLES, event["type"], event["object"])

        return registry

    async def _from_our_list(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Watch what we listed from there on, and anything else, such as CRDs, from what there is."""
        if request.url.query.keys() >= _STREAMED_LIST:
            url = request.url.without_query_params(*_STREAMED_LIST)
            resource = _RESOURCES.get(url.path)
            since = None if resource is None else self._since(resource)
            request.url = url if since is None else url.update_query(resourceVersion=str(since))
        return await handler(request)


def operator_settings() -> kopf.OperatorSettings:
    """kopf that only watches: no Events, no peering, no process-wide kill, short waits at its end."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = None
    settings.watching.server_timeout = _WATCH_SECONDS
    settings.watching.initial_streaming = True
    settings.watching.reconnect_backoff = _RECONNECT_SECONDS
    settings.networking.connect_timeout = _CONNECT_TIMEOUT
    settings.networking.request_timeout = _REQUEST_TIMEOUT
    settings.networking.error_backoffs = _BACKOFFS
    settings.queueing.exit_timeout = _EXIT_SECONDS
    return settings


async def watch_with_kopf(api_server: ApiServer, *, since: Since, sink: EventSink, metrics: Metrics) -> None:
    """Keep kopf running until cancelled; ``sink`` is called in this loop, in the order of the events.

    Args:
        since: the resource version of our own last LIST; readable from any thread.
    """
    logging.getLogger("kopf").setLevel(logging.ERROR)  # it warns of what is meant here, such as its thread
    logging.getLogger("kopf._cogs.clients").setLevel(logging.CRITICAL)  # what its end says is said once, below
    loop = asyncio.get_running_loop()

    def forward(resource: Resource, event_type: str | None, body: Mapping[str, Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants events any more
            loop.call_soon_threadsafe(sink, resource, event_type, body)

    backoff = Backoff()
    while True:
        began = loop.time()
        try:
            failure = await _run_kopf(api_server, since, forward)
        except Unavailable as error:  # the CA bundle cannot be read
            failure = error
        metrics.operator_restarted()
        wait = backoff.after(ran_for=loop.time() - began)
        logger.warning("kopf ended and is started again in %.0f s: %s", wait, failure or "no error")
        await asyncio.sleep(wait)


async def _run_kopf(api_server: ApiServer, since: Since, forward: EventSink) -> BaseException | None:
    """One run of kopf, which also ends when the CA bundle has changed: kopf keeps the one that it began with."""
    loop = asyncio.get_running_loop()
    context = api_server.ssl_context()
    ended: asyncio.Future[BaseException | None] = loop.create_future()
    run = KopfRun(api_server, since=since, sink=forward, ended=lambda failure: _tell(loop, ended, failure))
    run.start()
    try:
        while not ended.done() and api_server.ssl_context() is context:
            await asyncio.wait({ended}, timeout=_CA_CHECK_SECONDS)
    finally:
        run.stop()
        await asyncio.wait({ended}, timeout=_STOP_SECONDS)
        if not ended.done():
            logger.error("kopf did not end in %.0f s; its thread is left behind.", _STOP_SECONDS)
    return ended.result() if ended.done() else None


def _leftover(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """kopf ends with one task's error and never looks at those of the others, which asyncio then complains about."""
    logger.debug("left behind by kopf: %s", context.get("message"), exc_info=context.get("exception"))


def _tell(
    loop: asyncio.AbstractEventLoop,
    ended: asyncio.Future[BaseException | None],
    failure: BaseException | None,
) -> None:
    def settle() -> None:
        if not ended.done():
            ended.set_result(failure)

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(settle)
