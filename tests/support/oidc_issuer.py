"""An OpenID Connect issuer over TLS on loopback, which signs whatever a test asks for and can be made to fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support.certificates import server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

AUDIENCE = "k8s-mcp-server"
DISCOVERY = "/.well-known/openid-configuration"


@dataclass(slots=True)
class LocalIssuer:
    """Documents by path, as they are served; tests change them.

    Args:
        down: every request is answered with 503.
        requests: paths asked for, in order.
    """

    url: str
    ca_file: Path
    documents: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    down: bool = False
    requests: list[str] = field(default_factory=list)

    def add_key(self, key_id: str, key: Key | None = None, **more: str) -> None:
        """Publish a key."""
        key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.keys[key_id] = key
        if isinstance(key, rsa.RSAPrivateKey):
            public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        else:
            public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self.documents["/keys"]["keys"].append({**public, "kid": key_id, "use": "sig", **more})

    def token(self, *, key_id: str = "one", algorithm: str = "RS256", key: Any = None, **claims: Any) -> str:
        """A token of this issuer; a claim that is None is left out."""
        stated = {"iss": self.url, "aud": AUDIENCE, "sub": "jane", "exp": time.time() + 300} | claims
        present = {name: value for name, value in stated.items() if value is not None}
        return jwt.encode(present, key or self.keys[key_id], algorithm=algorithm, headers={"kid": key_id})

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            self.requests.append(path)
            known = path in self.documents and not self.down
            body = json.dumps(self.documents[path]).encode() if known else b"{}"
            status = "200 OK" if known else "503 Service Unavailable"
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
            )
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def local_issuer(folder: Path) -> AsyncIterator[LocalIssuer]:
    """Serve an issuer with one RSA key, ``one``."""
    context = server_context(folder, name="issuer")
    issuer = LocalIssuer(url="", ca_file=folder / "ca.crt")
    server = await asyncio.start_server(issuer.answer, "127.0.0.1", 0, ssl=context)
    issuer.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    issuer.documents = {
        DISCOVERY: {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"},
        "/keys": {"keys": []},
    }
    issuer.add_key("one")
    async with server:
        yield issuer
