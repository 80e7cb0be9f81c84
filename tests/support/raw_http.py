"""A client that sends any bytes over TLS and reads HTTP/1.1 answers, for what well-behaved clients never send."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from typing import Any, Self

WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RawResponse:
    """An answer as received; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document


@dataclass(slots=True)
class RawClient:
    """One TLS connection. Every wait is bounded."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: bytearray = field(default_factory=bytearray)

    @classmethod
    async def connect(cls, port: int, ca_pem: str, *, context: ssl.SSLContext | None = None) -> Self:
        """Connect to 127.0.0.1, trusting only this certificate."""
        context = context or ssl.create_default_context(cadata=ca_pem)
        async with asyncio.timeout(WAIT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1 << 20)
        return cls(reader, writer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        await asyncio.sleep(0)

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        async with asyncio.timeout(WAIT_SECONDS):
            await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and header fields of the next answer."""
        async with asyncio.timeout(WAIT_SECONDS):
            data = await self.reader.readuntil(b"\r\n\r\n")
        lines = data[:-4].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return int(lines[0].split(" ")[1]), headers

    async def chunk(self) -> bytes:
        """One chunk of a chunked body; empty for the last."""
        async with asyncio.timeout(WAIT_SECONDS):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            data = await self.reader.readexactly(size + 2)
        return data[:-2]

    async def response(self) -> RawResponse:
        """The next whole answer, interim ones left out."""
        status, headers = await self.head()
        while status == 100:
            status, headers = await self.head()
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while part := await self.chunk():
                parts.append(part)
            body = b"".join(parts)
        elif "content-length" in headers:
            async with asyncio.timeout(WAIT_SECONDS):
                body = await self.reader.readexactly(int(headers["content-length"]))
        return RawResponse(status, headers, body)

    async def rest(self) -> bytes:
        """Everything until the other side closes or breaks the connection."""
        parts = []
        async with asyncio.timeout(WAIT_SECONDS):
            try:
                while data := await self.reader.read(65536):
                    parts.append(data)
            except (ConnectionError, ssl.SSLError):
                pass
        return b"".join(parts)

    async def is_closed(self) -> bool:
        """Whether the other side ends the connection without another byte."""
        return await self.rest() == b""


def request(
    method: str,
    target: str,
    *,
    token: str | None,
    headers: tuple[str, ...] = (),
    body: bytes = b"",
    length: bool = True,
) -> bytes:
    """The bytes of a request.

    Args:
        headers: further header lines, without line ends.
        length: whether to state the body's length where there is a body.
    """
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body and length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body
