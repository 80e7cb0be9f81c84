"""The outermost layer: what HTTP alone is answered, before MCP."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx2
import pytest

from tests.support.serving import MAX_BODY, Service, serving

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

BODY = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


async def send(
    service: Service,
    *,
    method: str = "POST",
    content: bytes | None = None,
    **headers: str | list[str],
) -> httpx2.Response:
    pairs = list(HEADERS.items())
    for name, value in headers.items():
        pairs += [(name, each) for each in ([value] if isinstance(value, str) else value)]
    async with httpx2.AsyncClient(timeout=10) as http:
        body = json.dumps(BODY).encode() if content is None else content
        return await http.request(method, service.url, content=body, headers=pairs)


@pytest.mark.parametrize(
    ("headers", "status", "challenge"),
    [
        pytest.param({}, 401, None, id="no token"),
        pytest.param({"Authorization": "Basic YTpi"}, 401, None, id="another scheme"),
        pytest.param({"Authorization": "Bearer"}, 401, None, id="a scheme without a token"),
        pytest.param({"Authorization": "Bearer wrong"}, 401, "invalid_token", id="an unknown token"),
        pytest.param({"Authorization": "Bearer a b"}, 401, "invalid_token", id="two words"),
        pytest.param({"Authorization": "Bearer a,b"}, 401, "invalid_token", id="no b64token"),
        pytest.param({"Authorization": f"Bearer {'a' * 16385}"}, 401, "invalid_token", id="a token of 16 KiB"),
        pytest.param(
            {"Authorization": ["Bearer alice", "Bearer alice"]}, 400, "invalid_request", id="two Authorization headers"
        ),
    ],
)
async def test_who_is_not_authenticated_is_challenged(
    headers: dict[str, Any], status: int, challenge: str | None
) -> None:
    async with serving() as service:
        response = await send(service, **headers)

    assert response.status_code == status
    offered = response.headers["WWW-Authenticate"]
    assert offered.startswith("Bearer ")
    assert 'resource_metadata="http://127.0.0.1' in offered
    assert "/.well-known/oauth-protected-resource/mcp" in offered
    assert ("error=" in offered) is (challenge is not None)
    assert challenge is None or f'error="{challenge}"' in offered


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_valid_token_is_let_through_whatever_the_case_of_the_scheme(scheme: str) -> None:
    async with serving() as service:
        response = await send(service, Authorization=f"{scheme} alice")

    assert response.status_code == 200


async def test_an_api_server_that_is_down_is_503_and_worth_a_retry() -> None:
    async with serving() as service:
        service.tokens.down = True
        response = await send(service, Authorization="Bearer alice")

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS", "HEAD"])
async def test_only_post_is_served(method: str) -> None:
    async with serving() as service:
        response = await send(service, method=method, Authorization="Bearer alice")

    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert service.tokens.seen == []


@pytest.mark.parametrize(
    "host",
    [
        "k8s-mcp-server",
        "k8s-mcp-server:8080",
        "k8s-mcp-server.k8s-mcp-system",
        "k8s-mcp-server.k8s-mcp-system.svc:8080",
        "k8s-mcp-server.k8s-mcp-system.svc.cluster.local",
        "localhost:8080",
    ],
)
async def test_every_name_of_the_service_is_accepted(host: str) -> None:
    async with serving() as service:
        assert (await send(service, Authorization="Bearer alice", Host=host)).status_code == 200


@pytest.mark.parametrize("host", ["evil.example.com", "10.1.2.3:8080", "k8s-mcp-server.evil.example.com"])
async def test_a_foreign_host_is_421_and_its_token_is_not_looked_at(host: str) -> None:
    async with serving() as service:
        response = await send(service, Authorization="Bearer alice", Host=host)

    assert response.status_code == 421
    assert service.tokens.seen == []


async def test_a_foreign_origin_is_403_and_a_listed_one_is_not() -> None:
    async with serving(origins=("https://console.example.com",)) as service:
        foreign = await send(service, Authorization="Bearer alice", Origin="https://evil.example.com")
        listed = await send(service, Authorization="Bearer alice", Origin="https://console.example.com")

    assert (foreign.status_code, listed.status_code) == (403, 200)


async def test_somebody_else_s_session_gives_nothing() -> None:
    """There are no sessions: no answer names one, and who asks is told by the token of each request alone."""
    async with serving() as service:
        own = await send(service, Authorization="Bearer alice")
        session: dict[str, Any] = {"Mcp-Session-Id": "of-alice"}
        other = await send(service, Authorization="Bearer bob", **session)

    assert "mcp-session-id" not in own.headers
    assert "execute_kubectl" in own.text
    assert "execute_kubectl" not in other.text


async def test_a_body_above_the_limit_is_413() -> None:
    async with serving() as service:
        response = await send(service, Authorization="Bearer alice", content=b" " * (MAX_BODY + 1))

    assert response.status_code == 413


async def test_a_client_cannot_let_many_large_bodies_arrive_at_once() -> None:
    """Each is within the limit of one request; all of a client's together may hold four times that."""
    large, complete = b" " * (MAX_BODY - 2**16), asyncio.Event()

    async def send_slowly(service: Service) -> bytes:
        address = httpx2.URL(service.url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        head = (f"{name}: {value}" for name, value in {**HEADERS, "Authorization": "Bearer alice"}.items())
        lines = ("POST /mcp HTTP/1.1", f"Host: {address.netloc.decode()}", f"Content-Length: {len(large) + 1}", *head)
        writer.write("\r\n".join((*lines, "", "")).encode() + large)
        answer = asyncio.create_task(reader.readline())
        await asyncio.wait({answer, asyncio.create_task(complete.wait())}, return_when=asyncio.FIRST_COMPLETED)
        writer.write(b" ")
        status = await answer
        writer.transport.abort()
        return status

    async with serving() as service, asyncio.timeout(30):
        sending = {asyncio.create_task(send_slowly(service)) for _ in range(5)}
        refused, arriving = await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
        small = await send(service, Authorization="Bearer alice")
        other = await send(service, content=large, Authorization="Bearer bob")
        complete.set()
        await asyncio.wait(arriving)
        again = await send(service, content=large, Authorization="Bearer alice")

    assert [task.result()[:12] for task in refused] == [b"HTTP/1.1 429"]
    assert [task.result()[:12] for task in arriving] == [b"HTTP/1.1 400"] * 4
    assert (small.status_code, other.status_code, again.status_code) == (200, 400, 400)


async def test_a_token_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving() as service:
        await send(service, Authorization="Bearer s3cr3t-unknown")
        await send(service, Authorization="Bearer alice")
        service.tokens.down = True
        await send(service, Authorization="Bearer s3cr3t-down")

    assert "s3cr3t" not in caplog.text
    assert "alice" not in caplog.text


@pytest.mark.parametrize("path", ["", "/mcp"])
async def test_the_resource_metadata_needs_no_token(path: str) -> None:
    async with serving() as service, httpx2.AsyncClient() as http:
        base = service.url.removesuffix("/mcp")
        response = await http.get(f"{base}/.well-known/oauth-protected-resource{path}")

    assert response.status_code == 200
    assert response.json()["resource"] == service.url
    assert response.json()["bearer_methods_supported"] == ["header"]


async def test_the_metadata_and_the_challenge_give_the_public_url_when_it_is_set() -> None:
    async with serving(public_url="https://mcp.example.com/k8s/mcp") as service, httpx2.AsyncClient() as http:
        base = service.url.removesuffix("/mcp")
        metadata = await http.get(f"{base}/.well-known/oauth-protected-resource/k8s/mcp")
        challenge = (await send(service)).headers["WWW-Authenticate"]

    assert metadata.json()["resource"] == "https://mcp.example.com/k8s/mcp"
    assert "https://mcp.example.com/.well-known/oauth-protected-resource/k8s/mcp" in challenge


async def test_the_metadata_is_for_our_hosts_only() -> None:
    async with serving() as service, httpx2.AsyncClient() as http:
        url = f"{service.url.removesuffix('/mcp')}/.well-known/oauth-protected-resource"
        response = await http.get(url, headers={"Host": "evil.example.com"})

    assert response.status_code == 421
