"""An API server with nothing behind it: discovery as checked in, and objects that are there whenever asked for.

It stands behind the real gateway, so that a command makes its requests and each is decided as in a cluster. What it
answers is made up; only what is asked counts.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from k8s_mcp_server.authoring.explaining.objects import EXAMPLE, plausible, scale, status
from k8s_mcp_server.authoring.explaining.openapi import openapi
from k8s_mcp_server.authoring.explaining.websocket import succeeded
from k8s_mcp_server.cluster.connection import ApiServer
from k8s_mcp_server.gateway.front import FrontConnection, FrontLimits
from k8s_mcp_server.gateway.head import Headers, HeadRefused, RequestHead
from k8s_mcp_server.gateway.requestinfo import request_info
from k8s_mcp_server.gateway.response import ResponseWriter
from k8s_mcp_server.gateway.status import Refusal
from k8s_mcp_server.gateway.target import parse_target
from k8s_mcp_server.gateway.tls import LOOPBACK, server_context

if TYPE_CHECKING:
    from k8s_mcp_server.authoring.resources import Served
    from k8s_mcp_server.gateway.stream import ByteStream
    from k8s_mcp_server.policy.request import RequestInfo

_JSON: Final = "application/json"
_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_BODY_VERBS: Final = frozenset({"create", "update"})


class StandIn:
    """A loopback API server.

    Args:
        served: what it serves.
        folder: where its certificate and a token for it are put.
        example_namespace: where the one object of each list across namespaces lives.
        absent: whether objects are missing until the command makes them.
    """

    def __init__(self, served: Served, *, folder: Path, example_namespace: str, absent: bool) -> None:
        self._served = served
        self._folder = folder
        self._namespace = example_namespace
        self._absent = absent
        self._made: set[str] = set()
        self._deleted: set[str] = set()
        self._connections: set[FrontConnection] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def api_server(self) -> ApiServer:
        """How the gateway reaches it."""
        return ApiServer(
            host=LOOPBACK, port=self._port, ca_file=self._folder / "ca.crt", token_file=self._folder / "token"
        )

    async def start(self) -> None:
        """Listen."""
        context, pem = server_context()
        (self._folder / "ca.crt").write_text(pem, encoding="ascii")
        (self._folder / "token").write_text("stand-in", encoding="ascii")
        self._server = await asyncio.get_running_loop().create_server(self._connection, LOOPBACK, 0, ssl=context)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End every connection and stop listening."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            await connection.end()
        if self._server is not None:
            await self._server.wait_closed()

    # The handler of the connections (gateway/front.py)

    async def handle(self, head: RequestHead, body: ByteStream, connection: FrontConnection) -> None:
        """Answer one request."""
        parts = []
        while data := await body.read():
            parts.append(data)
        target = parse_target(head.target)
        info = request_info(head.method, target.path, target.query)
        if head.upgrade:
            connection.write(succeeded(head.headers))
            return
        writer = ResponseWriter(connection, keep_alive=head.keep_alive)
        content_type, answer = self._answer(info, b"".join(parts))
        code = answer.get("code", 200) if isinstance(answer, dict) and answer.get("kind") == "Status" else 200
        text = answer if isinstance(answer, str) else json.dumps(answer)
        writer.start(code, Headers((("content-type", content_type),)), length=len(text.encode()))
        await writer.write(text.encode())
        writer.end()

    async def refuse(self, error: HeadRefused, connection: FrontConnection) -> None:
        """Answer what is no request."""
        ResponseWriter(connection, keep_alive=False).refuse(Refusal(code=error.status, message=error.message))

    def _answer(self, info: RequestInfo, body: bytes) -> tuple[str, Any]:
        """Content type and content."""
        if info.path in self._served.documents:
            return _AGGREGATED, self._served.documents[info.path]
        if not info.is_resource_request:
            return _JSON, self._about_itself(info.path)
        if info.subresource:
            return self._answer_subresource(info)
        kind = self._kind(info)
        if not kind:
            return _JSON, status(
                code=404, reason="NotFound", message="the server could not find the requested resource"
            )
        if info.verb in {"list", "watch"}:
            return _JSON, "" if info.verb == "watch" else self._list(info, kind=kind)
        return _JSON, self._object(info, kind=kind, body=body)

    def _about_itself(self, path: str) -> dict[str, Any]:
        if path == "/version":
            version = self._served.documents["gitVersion"]
            major, minor, *_ = version.removeprefix("v").split(".")
            return {"major": major, "minor": minor, "gitVersion": version}
        return openapi(path, documents=self._served.documents) or status(
            code=404, reason="NotFound", message="the server could not find the requested resource"
        )

    def _answer_subresource(self, info: RequestInfo) -> tuple[str, Any]:
        if info.subresource == "log":
            return "text/plain", ""
        if info.subresource == "scale":
            return _JSON, scale(info)
        if info.subresource == "token":
            token = {"token": "made-up", "expirationTimestamp": "2026-01-01T00:00:00Z"}
            return _JSON, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "status": token}
        if info.verb == "create":
            return _JSON, status(code=201)
        return _JSON, plausible(info, kind=self._kind(info), name=info.name, namespace=info.namespace)

    def _list(self, info: RequestInfo, *, kind: str) -> dict[str, Any]:
        namespace = info.namespace or (self._namespace if self._is_namespaced(info) else "")
        name = info.name or (self._namespace if info.resource == "namespaces" else EXAMPLE)
        item = plausible(info, kind=kind, name=name, namespace=namespace)
        gone = self._absent or info.path in self._deleted or f"{info.path}/{name}" in self._deleted
        metadata = {"resourceVersion": "1"}
        items = [] if gone else [item]
        return {"apiVersion": item["apiVersion"], "kind": f"{kind}List", "metadata": metadata, "items": items}

    def _object(self, info: RequestInfo, *, kind: str, body: bytes) -> dict[str, Any]:
        if info.verb in {"delete", "deletecollection"}:
            self._deleted.add(info.path)
            return status(code=200)
        if info.verb in _BODY_VERBS:
            return self._written(info, kind=kind, body=body)
        is_missing = info.path in self._deleted or (self._absent and info.path not in self._made)
        if info.verb == "get" and is_missing:
            return status(code=404, reason="NotFound", message=f'{info.resource} "{info.name}" not found')
        self._made.add(info.path)
        return plausible(info, kind=kind, name=info.name, namespace=info.namespace)

    def _written(self, info: RequestInfo, *, kind: str, body: bytes) -> dict[str, Any]:
        try:
            sent = json.loads(body)
            name = sent["metadata"].get("name") or EXAMPLE
        except (ValueError, KeyError, TypeError, AttributeError):  # protobuf, or something that has no name
            name = info.name or EXAMPLE
        self._made.add(info.path if info.name else f"{info.path}/{name}")
        return plausible(info, kind=kind, name=name, namespace=info.namespace)

    def _kind(self, info: RequestInfo) -> str:
        found = self._served.catalog.find(group=info.api_group, resource=info.resource)
        return found.kind if found else ""

    def _is_namespaced(self, info: RequestInfo) -> bool:
        return self._served.catalog.scope_of(group=info.api_group, resource=info.resource) == "Namespaced"

    def _connection(self) -> FrontConnection:
        return FrontConnection(handler=self, limits=FrontLimits(), accept=self._opened, closed=self._closed)

    def _opened(self, connection: FrontConnection) -> bool:
        self._connections.add(connection)
        return True

    def _closed(self, connection: FrontConnection) -> None:
        self._connections.discard(connection)
