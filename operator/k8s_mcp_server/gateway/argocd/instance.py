"""One Argo CD behind the gateway: where it is, the token that it takes, and calls to it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from k8s_mcp_server.errors import K8sMcpError, Unavailable
from k8s_mcp_server.gateway.argocd.frames import CONTENT_TYPE, Code, Frames, frame, status_of
from k8s_mcp_server.gateway.forward import CredentialsRefused, Outgoing, UpstreamSlow, send
from k8s_mcp_server.gateway.pool import UpstreamLimits, UpstreamPool
from k8s_mcp_server.gateway.protobuf import Unreadable
from k8s_mcp_server.gateway.upstream import UpstreamBroken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8s_mcp_server.cluster.connection import ApiServer
    from k8s_mcp_server.gateway.outgoing import Attribution
    from k8s_mcp_server.gateway.upstream import ResponseHead, UpstreamConnection
    from k8s_mcp_server.telemetry.metrics import Metrics

LONGEST_ANSWER: Final = 64 * 2**20
_log = logging.getLogger(__name__)


class CallFailed(K8sMcpError):
    """A call has no answer that could be used.

    Args:
        code: gRPC's, for the client.
        message: for the client.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call to be made.

    Args:
        path: of the method, such as ``/application.ApplicationService/Get``.
        message: the request.
        replayable: it changes nothing.
        may_take_long: it is a stream, or Argo CD may work on it for long.
    """

    path: str
    message: bytes
    replayable: bool = True
    may_take_long: bool = False


class ArgoCD:
    """One instance of Argo CD.

    Args:
        name: as the settings call it.
        server: its address, CA and token.
        metrics: counts calls.
        root_path: what comes before the paths of methods; empty, or with a leading slash.
        namespace: that of its control plane, whose applications are called project/name.
        qualifier: what its names begin with in policies; empty for the first instance.
        limits: of its connections.
    """

    def __init__(
        self,
        *,
        name: str,
        server: ApiServer,
        metrics: Metrics,
        root_path: str = "",
        namespace: str = "argocd",
        qualifier: str = "",
        limits: UpstreamLimits | None = None,
    ) -> None:
        self.name = name
        self.namespace = namespace
        self.qualifier = qualifier
        self._server = server
        self._metrics = metrics
        self._root_path = root_path
        self._pool = UpstreamPool(server, limits=limits or UpstreamLimits())

    def close(self) -> None:
        """Drop the idle connections."""
        self._pool.close()

    def release(self, upstream: UpstreamConnection) -> None:
        """Give the connection of an answered call back."""
        self._pool.release(upstream)

    async def open(self, call: Call, *, attribution: Attribution) -> tuple[UpstreamConnection, ResponseHead]:
        """Make a call and wait for the head of its answer. The caller releases or aborts the connection.

        Raises:
            CallFailed: it could not be made, or is answered with an error.
        """
        body = frame(call.message)
        head = partial(self._head, call, attribution=attribution, length=len(body))
        outgoing = Outgoing(
            head=lambda: head() + body,
            body=None,
            chunked=False,
            replayable=call.replayable,
            may_take_long=call.may_take_long,
            own_401=True,
        )
        started, code = time.monotonic(), int(Code.UNAVAILABLE)
        try:
            upstream, response = await send(outgoing, self._pool)
            code = status_of(response.headers.get("grpc-status") or "0")
        except (Unavailable, UpstreamBroken, UpstreamSlow, CredentialsRefused) as error:
            raise self._failure(error, is_read=call.replayable) from error
        finally:
            seconds = time.monotonic() - started
            self._metrics.argocd_call(method=call.path.removeprefix("/"), code=code, seconds=seconds)
        try:
            self._check(response, code=code)
        except BaseException:
            upstream.abort()
            raise
        return upstream, response

    async def ask(self, path: str, message: bytes, *, attribution: Attribution) -> bytes:
        """Make a call that changes nothing, and give its one answer.

        Raises:
            CallFailed: it has none.
        """
        upstream, _ = await self.open(Call(path=path, message=message), attribution=attribution)
        frames, answer = Frames(longest=LONGEST_ANSWER), b""
        try:
            while data := await upstream.body.read():
                for is_trailer, content in frames.feed(data):
                    answer = answer if is_trailer else content
            frames.finish()
        except (UpstreamBroken, Unreadable) as error:
            upstream.abort()
            raise self._failure(error, is_read=True) from error
        except BaseException:
            upstream.abort()
            raise
        self.release(upstream)
        return answer

    def _head(self, call: Call, *, attribution: Attribution, length: int) -> bytes:
        fields: Sequence[tuple[str, str]] = (
            ("Host", self._server.authority),
            ("Authorization", f"Bearer {self._server.token()}"),
            ("User-Agent", attribution.user_agent("argocd")),
            ("Content-Type", CONTENT_TYPE),
            ("Accept", CONTENT_TYPE),
            ("Content-Length", str(length)),
        )
        lines = [f"POST {self._root_path}{call.path} HTTP/1.1", *(f"{key}: {value}" for key, value in fields), "", ""]
        return "\r\n".join(lines).encode("ascii")

    def _check(self, response: ResponseHead, *, code: int) -> None:
        if response.status != HTTPStatus.OK:
            _log.warning("Argo CD %s answered %d over HTTP", self.name, response.status)
            raise CallFailed(Code.UNAVAILABLE, f"Argo CD {self.name} does not answer as Argo CD does. Try again later.")
        if code == Code.UNAUTHENTICATED:
            raise self._failure(CredentialsRefused("its token is not accepted"), is_read=True)
        if code != Code.OK:
            raise CallFailed(code, response.headers.get("grpc-message"))

    def _failure(self, error: Exception, *, is_read: bool) -> CallFailed:
        _log.warning("a call to Argo CD %s failed: %s", self.name, error)
        if isinstance(error, CredentialsRefused):
            text = f"Argo CD {self.name} does not accept this service's token. The operator of this service must look."
            return CallFailed(Code.UNAVAILABLE, text)
        if isinstance(error, Unavailable):
            return CallFailed(Code.UNAVAILABLE, f"Nothing was done: Argo CD {self.name} cannot be reached. Try again.")
        advice = "Try again." if is_read else "Whether the change was made is not known: look before you repeat it."
        code = Code.DEADLINE_EXCEEDED if isinstance(error, UpstreamSlow) else Code.UNAVAILABLE
        return CallFailed(code, f"Argo CD {self.name} did not answer to the end. {advice}")
