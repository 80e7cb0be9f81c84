"""A small API server for faults that the real one does not show on request.

Missed deletions behind a 410, 5xx for a while, refused connections, a CRD that goes, a token that is not good any more.
Everything else is tested on the real API server. It speaks TLS with a certificate of its own making, as clients demand.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from k8s_mcp_server.cluster.connection import ApiServer
from tests.support.certificates import server_context
from tests.support.crd import crd
from tests.support.policies import namespace_body, policy_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

POLICIES = "/apis/k8s-mcp.io/v1alpha1/mcpaccesspolicies"
NAMESPACES = "/api/v1/namespaces"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/k8s-mcp-system/leases/k8s-mcp-server"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
_CRD_NAME = "mcpaccesspolicies.k8s-mcp.io"
_VERBS = ["list", "watch", "get", "patch"]


class Kind:
    """The objects of one resource and the history of their changes."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.history: list[tuple[int, dict[str, Any]]] = []
        self.compacted = 0
        self.changed = asyncio.Condition()


class FakeApiServer:
    """What the API server knows, and how it misbehaves.

    Attributes:
        fail: status to answer everything with; None to behave.
        watch_down: every watch is cut, and none can be opened.
        tokens: bearer tokens that are accepted; None accepts all.
        clients: for TokenReviews, the username of each good token.
        requests: how often each method and path was asked for.
        watches: how many are open on each path.
    """

    def __init__(self) -> None:
        self.version = 100
        self.kinds = {path: Kind() for path in (POLICIES, NAMESPACES, CRDS, ROLES)}
        self.lease: dict[str, Any] = {
            "metadata": {"name": "k8s-mcp-server", "resourceVersion": "1"},
            "spec": {},
        }
        self.fail: int | None = None
        self.watch_down = False
        self.tokens: set[str] | None = None
        self.clients: dict[str, str] = {}
        self.requests: Counter[str] = Counter()
        self.watches: Counter[str] = Counter()
        self._watches: set[asyncio.Task[Any]] = set()

    async def put(self, path: str, body: dict[str, Any]) -> None:
        """Create or change an object."""
        kind, name = self.kinds[path], body["metadata"]["name"]
        event = "MODIFIED" if name in kind.objects else "ADDED"
        self.version += 1
        body = copy.deepcopy(body)
        body["metadata"]["resourceVersion"] = str(self.version)
        kind.objects[name] = body
        await self._record(kind, event, body)

    async def delete(self, path: str, name: str) -> None:
        """Delete an object."""
        kind = self.kinds[path]
        self.version += 1
        body = copy.deepcopy(kind.objects.pop(name))
        body["metadata"]["resourceVersion"] = str(self.version)
        await self._record(kind, "DELETED", body)

    async def put_policy(self, name: str, **fields: Any) -> None:
        """Create or change a policy."""
        before = self.kinds[POLICIES].objects.get(name, {"metadata": {"generation": 0}})
        await self.put(POLICIES, policy_body(name, generation=before["metadata"]["generation"] + 1, **fields))

    async def put_namespace(self, name: str, **labels: str) -> None:
        """Create or change a namespace."""
        await self.put(NAMESPACES, namespace_body(name, labels=labels))

    async def install_crd(self) -> None:
        """Serve policies."""
        body = crd()
        body["metadata"]["uid"] = "crd"
        await self.put(CRDS, body)

    async def remove_crd(self) -> None:
        """Serve policies no more; those there were are gone."""
        for name in list(self.kinds[POLICIES].objects):
            await self.delete(POLICIES, name)
        await self.delete(CRDS, _CRD_NAME)
        self.cut_watches()

    def cut_watches(self) -> None:
        """Close every open watch."""
        for watch in self._watches:
            watch.cancel()

    def compact(self) -> None:
        """Forget all history: a watch from before gets 410."""
        self.version += 1
        for kind in self.kinds.values():
            kind.compacted = self.version

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.requests[f"{request.method} {request.path}"] += 1
        if self.fail is not None:
            return _status(self.fail, "out of order")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.tokens is not None and token not in self.tokens:
            return _status(401, "Unauthorized")
        if request.path in self.kinds:
            return await self._list_or_watch(request)
        if request.path.endswith("/status") and request.method == "PATCH":
            return await self._apply_status(request)
        answer = self._others().get(f"{request.method} {request.path}")
        return await answer(request) if answer else _status(404, "404 page not found")

    @property
    def crd_installed(self) -> bool:
        """Whether policies are served."""
        return bool(self.kinds[CRDS].objects)

    def _others(self) -> dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        return {
            "GET /api": self._core,
            "GET /apis": self._groups,
            "GET /api/v1": self._core_resources,
            "GET /apis/apiextensions.k8s.io/v1": self._crd_resources,
            "GET /apis/k8s-mcp.io/v1alpha1": self._policy_resources,
            "GET /apis/rbac.authorization.k8s.io/v1": self._role_resources,
            f"GET {LEASE}": self._read_lease,
            f"PUT {LEASE}": self._update_lease,
            f"POST {REVIEWS}": self._review,
        }

    async def _list_or_watch(self, request: web.Request) -> web.StreamResponse:
        if request.path == POLICIES and not self.crd_installed:
            return _status(404, "404 page not found")
        if request.query.get("watch"):
            return await self._watch(request)
        kind = self.kinds[request.path]
        metadata = {"resourceVersion": str(self.version)}
        return _json({"kind": "List", "metadata": metadata, "items": list(kind.objects.values())})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        if self.watch_down:
            return _status(503, "no watches now")
        kind = self.kinds[request.path]
        response = web.StreamResponse()
        await response.prepare(request)
        since = int(request.query.get("resourceVersion", self.version))
        if "resourceVersion" not in request.query:
            for body in list(kind.objects.values()):
                await response.write(json.dumps({"type": "ADDED", "object": body}).encode() + b"\n")
        elif since < kind.compacted:
            gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}
            await response.write(json.dumps(gone).encode() + b"\n")
            return response
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        self.watches[request.path] += 1
        try:
            await self._stream(kind, since, response)
        finally:
            self._watches.discard(task)
            self.watches[request.path] -= 1
        return response

    async def _stream(self, kind: Kind, since: int, response: web.StreamResponse) -> None:
        while True:
            async with kind.changed:
                events = [event for version, event in kind.history if version > since]
                if not events:
                    await kind.changed.wait()
                    continue
            for event in events:
                await response.write(json.dumps(event).encode() + b"\n")
            since = max(int(event["object"]["metadata"]["resourceVersion"]) for event in events)

    async def _record(self, kind: Kind, event_type: str, body: dict[str, Any]) -> None:
        async with kind.changed:
            kind.history.append((self.version, {"type": event_type, "object": body}))
            kind.changed.notify_all()

    async def _apply_status(self, request: web.Request) -> web.StreamResponse:
        name = request.path.split("/")[-2]
        known = self.kinds[POLICIES].objects.get(name)
        if known is None:
            return _status(404, "not found")
        await self.put(POLICIES, {**known, "status": (await request.json())["status"]})
        return _json(self.kinds[POLICIES].objects[name])

    async def _read_lease(self, _: web.Request) -> web.StreamResponse:
        return _json(self.lease)

    async def _update_lease(self, request: web.Request) -> web.StreamResponse:
        lease = await request.json()
        if lease["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            return _status(409, "the object has been modified")
        lease["metadata"]["resourceVersion"] = str(int(lease["metadata"]["resourceVersion"]) + 1)
        self.lease = lease
        return _json(lease)

    async def _review(self, request: web.Request) -> web.StreamResponse:
        spec = (await request.json())["spec"]
        username = self.clients.get(spec["token"])
        status = {"authenticated": True, "audiences": spec["audiences"], "user": {"username": username, "groups": []}}
        return _json({"kind": "TokenReview", "status": status if username else {"authenticated": False}}, status=201)

    async def _core(self, request: web.Request) -> web.StreamResponse:
        if "apidiscovery" not in request.headers["Accept"]:
            return _json({"kind": "APIVersions", "versions": ["v1"]})
        return _json(_aggregated({"": [("namespaces", "Cluster"), ("pods", "Namespaced")]}))

    async def _groups(self, request: web.Request) -> web.StreamResponse:
        names = {"apiextensions.k8s.io": "v1", "rbac.authorization.k8s.io": "v1"} | (
            {"k8s-mcp.io": "v1alpha1"} if self.crd_installed else {}
        )
        if "apidiscovery" in request.headers["Accept"]:
            return _json(_aggregated({"k8s-mcp.io": [("mcpaccesspolicies", "Cluster")]} if self.crd_installed else {}))
        groups = [
            {"name": name, "versions": [{"version": version}], "preferredVersion": {"version": version}}
            for name, version in names.items()
        ]
        return _json({"kind": "APIGroupList", "groups": groups})

    async def _core_resources(self, _: web.Request) -> web.StreamResponse:
        return _json({"resources": [_resource("namespaces", "Namespace")]})

    async def _crd_resources(self, _: web.Request) -> web.StreamResponse:
        return _json({"resources": [_resource("customresourcedefinitions", "CustomResourceDefinition")]})

    async def _role_resources(self, _: web.Request) -> web.StreamResponse:
        return _json({"resources": [_resource("clusterroles", "ClusterRole")]})

    async def _policy_resources(self, _: web.Request) -> web.StreamResponse:
        if not self.crd_installed:
            return _status(404, "404 page not found")
        return _json({"resources": [_resource("mcpaccesspolicies", "McpAccessPolicy")]})


class Running:
    """A fake API server behind a port, which can be closed and opened again."""

    def __init__(self, state: FakeApiServer, directory: Path) -> None:
        self.state = state
        self._directory = directory
        self._tls = server_context(directory, name="fake API server")
        self._runner: web.AppRunner | None = None
        self._port = 0
        self.token_file = directory / "token"
        self.token_file.write_text("first-token", encoding="ascii")

    @property
    def api_server(self) -> ApiServer:
        """How to reach it."""
        return ApiServer(
            host="127.0.0.1", port=self._port, ca_file=self._directory / "ca.crt", token_file=self.token_file
        )

    async def open(self) -> None:
        """Listen, on the same port as before."""
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self.state.handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Refuse every connection, and cut those there are."""
        if self._runner is not None:
            self.state.cut_watches()
            await self._runner.cleanup()
            self._runner = None


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Running]:
    """A fake API server with the CRD, one policy and one namespace."""
    server = Running(FakeApiServer(), directory)
    await server.state.install_crd()
    await server.state.put_namespace("team-a")
    await server.state.put_policy("team-a")
    await server.open()
    try:
        yield server
    finally:
        await server.close()


def _resource(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "kind": kind, "singularName": kind.lower(), "namespaced": False, "verbs": _VERBS}


def _aggregated(groups: dict[str, list[tuple[str, str]]]) -> dict[str, Any]:
    items = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [{"resources": [{"resource": name, "scope": scope, "verbs": _VERBS} for name, scope in found]}],
        }
        for group, found in groups.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "items": items}


def _json(body: dict[str, Any], *, status: int = 200) -> web.Response:
    return web.json_response(body, status=status)


def _status(code: int, message: str) -> web.Response:
    return _json({"kind": "Status", "status": "Failure", "code": code, "message": message}, status=code)
