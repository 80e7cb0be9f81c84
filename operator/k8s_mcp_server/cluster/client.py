"""The one HTTP client for what the service itself asks of the API server.

A thin layer over aiohttp (which kopf needs anyway): the generated clients cost a second of start-up and 50
MB, and turn each object of a list into a model only to be turned back. Every failure becomes ``Unavailable``,
so that no caller can take "no answer" for an answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import msgspec

from k8s_mcp_server.cluster.connections import Connections, base_url
from k8s_mcp_server.errors import Unavailable

if TYPE_CHECKING:
    from k8s_mcp_server.cluster.connection import ApiServer

REQUEST_TIMEOUT: Final = 10.0
CONNECT_TIMEOUT: Final = 5.0
_MESSAGE_LENGTH: Final = 300
_SUCCESS: Final = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NOT_MODIFIED})


class ApiStatusError(Unavailable):
    """The API server answered, but not with what was asked for.

    Args:
        status: the HTTP status code.
        message: the ``message`` of the ``Status`` body, shortened.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the API server answered {status}: {message}")
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A successful answer (2xx, or 304 to a conditional request)."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            Unavailable: it is not one.
        """
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(f"the API server's answer cannot be read: {error}") from error


class ApiClient:
    """Requests to one API server with the service's own token, read anew for each request. Lives in one event loop."""

    def __init__(self, api_server: ApiServer, session: aiohttp.ClientSession) -> None:
        self._api_server = api_server
        self._session = session

    @classmethod
    @asynccontextmanager
    async def connect(cls, api_server: ApiServer) -> AsyncIterator[Self]:
        """A client whose connections are closed at the end of the block."""
        async with Connections.to(api_server) as connections:
            yield cls(api_server, connections.session())

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = REQUEST_TIMEOUT,  # noqa: ASYNC109  the total that aiohttp itself enforces, answer included
    ) -> Answer:
        """One request and its whole answer.

        Args:
            method: the HTTP method.
            path: absolute and already encoded.
            query: query parameters.
            body: a JSON body.
            headers: further headers; ``Content-Type`` is JSON unless stated.
            timeout: seconds for the whole exchange.

        Raises:
            ApiStatusError: the API server answered with an error.
            Unavailable: it did not answer, or not in time.
        """
        data = None if body is None else msgspec.json.encode(body)
        all_headers = {"Accept": "application/json", "Content-Type": "application/json", **(headers or {})}
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT)
        url = base_url(self._api_server) + path
        try:
            async with self._session.request(
                method,
                url,
                params=query,
                data=data,
                headers=all_headers,
                timeout=limits,
                allow_redirects=False,
                ssl=self._api_server.ssl_context(),
            ) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise Unavailable(f"the API server does not answer: {reason}") from error
        if response.status in _SUCCESS:
            return Answer(status=response.status, body=content, headers=response.headers)
        raise ApiStatusError(response.status, _status_message(content))


def _status_message(content: bytes) -> str:
    try:
        message = str(msgspec.json.decode(content, type=dict[str, Any]).get("message", ""))
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = content[:_MESSAGE_LENGTH].decode(errors="replace")
    return message.strip()[:_MESSAGE_LENGTH]
