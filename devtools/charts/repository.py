"""A chart repository as any web server makes one: an index and packed charts, with a password if it has one."""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from devtools.charts.tls import Authority

_STEP_SECONDS = 0.2
_NO_HEADERS: Mapping[str, str] = {}


@dataclass
class Page:
    """What a path answers.

    Args:
        location: where it redirects to; empty for a page of its own.
        trickles: whether it sends a byte now and then, and never ends.
        token_server: where it sends those who want a token (RFC 6750, as registries do); empty for nowhere.
    """

    body: bytes = b""
    location: str = ""
    trickles: bool = False
    token_server: str = ""

    @property
    def status(self) -> int:
        """Of the answer."""
        return 401 if self.token_server else 302 if self.location else 200

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer, beside those that every one has."""
        if self.token_server:
            return {"WWW-Authenticate": f'Bearer realm="{self.token_server}",service="charts"'}
        return {"Location": self.location} if self.location else _NO_HEADERS


@dataclass
class ChartHost:
    """An HTTPS server on loopback that is called by this machine's name; a context manager.

    Args:
        authority: signs its certificate.
        host: the name that it is called by.
        user: name and password that it asks for; empty for none.
        pages: what it serves, by path.
        seen: the requests that came: path and the Authorization header.
    """

    authority: Authority
    host: str
    user: tuple[str, str] = ("", "")
    pages: dict[str, Page] = field(default_factory=dict)
    seen: list[tuple[str, str]] = field(default_factory=list)

    def __enter__(self) -> Self:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.authority.certificate(self.host))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._stopping = threading.Event()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its root."""
        return f"https://{self.host}:{self.port}"

    @property
    def _expected(self) -> str:
        return f"Basic {base64.b64encode(':'.join(self.user).encode()).decode()}" if self.user[0] else ""

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                given = self.headers.get("Authorization", "")
                site.seen.append((self.path, given))
                page = site.pages.get(self.path.partition("?")[0])
                if site._expected not in ("", given):
                    self._answer(401)
                elif page is None:
                    self._answer(404)
                elif page.trickles:
                    self._trickle()
                else:
                    self._answer(page.status, page.body, headers=page.headers)

            def _answer(self, status: int, body: bytes = b"", *, headers: Mapping[str, str] = _NO_HEADERS) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _trickle(self) -> None:
                self.send_response(200)
                self.end_headers()
                while not site._stopping.wait(_STEP_SECONDS):
                    self.wfile.write(b"#")

            def log_message(self, *_: object) -> None:
                """Nothing on standard error."""

        return Handler
